//! What the scheduler, the timers and the wakes between threads cost.

use crate::arguments::Arguments;
use crate::mail::Mail;
use crate::meter::Meter;
use crate::{Stop, builder, runtime};
use ringbolt::{Sleep, sleep, spawn, yield_now};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

const BATCH: u64 = 1000;
const YIELDERS: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn run(arguments: &Arguments) -> Result<(), Stop> {
    match arguments.workload() {
        "xthread" => across_threads(arguments, arguments.count("n", 100_000)?),
        workload => {
            let n = arguments.count("n", 1_000_000)?;
            Ok(runtime(arguments)?.block_on(async {
                let meter = Meter::start();
                match workload {
                    "spawn" => spawn_each(n).await?,
                    "spawnbatch" => spawn_batches(n).await?,
                    "yield" => yields(n).await?,
                    _ => timers(n).await,
                }
                meter.finish(n)
            })?)
        }
    }
}

async fn spawn_each(n: u64) -> io::Result<()> {
    for number in 0..n {
        check(spawn(async move { number }).await?, number)?;
    }
    Ok(())
}

async fn spawn_batches(n: u64) -> io::Result<()> {
    let mut tasks = Vec::with_capacity(BATCH as usize);
    for _ in 0..n / BATCH {
        tasks.extend((0..BATCH).map(|number| spawn(async move { number })));
        for task in tasks.drain(..) {
            task.await?;
        }
    }
    Ok(())
}

async fn yields(n: u64) -> io::Result<()> {
    let mut tasks = Vec::new();
    for _ in 0..YIELDERS {
        tasks.push(spawn(async move {
            for _ in 0..n / YIELDERS {
                yield_now().await;
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    Ok(())
}

async fn timers(n: u64) {
    let mut set: Vec<Sleep> = Vec::with_capacity(BATCH as usize);
    for _ in 0..n / BATCH {
        set.extend((0..BATCH).map(|ms| sleep(MINUTE + Duration::from_millis(ms))));
        poll_fn(|cx| {
            for timer in &mut set {
                assert!(Pin::new(timer).poll(cx).is_pending(), "no timer is due in a minute");
            }
            Poll::Ready(())
        })
        .await;
        set.clear();
    }
}

/// A number goes back and forth between two runtimes.
fn across_threads(arguments: &Arguments, n: u64) -> Result<(), Stop> {
    let (there, back) = (Mail::default(), Mail::default());
    let (started, wait) = mpsc::channel();
    let settings = builder(arguments);
    let runtime = settings.build()?;
    let other = {
        let (there, back) = (there.clone(), back.clone());
        thread::spawn(move || {
            let runtime = settings.build()?;
            // Nobody listens once the program is on its way out.
            let _ = started.send(());
            runtime.block_on(async {
                for _ in 0..n {
                    back.send(there.receive().await);
                }
            });
            io::Result::Ok(())
        })
    };
    // Without this message there is no other side, and its thread says why.
    if wait.recv().is_ok() {
        let meter = Meter::start();
        runtime.block_on(async {
            for number in 0..n {
                there.send(number);
                check(back.receive().await, number)?;
            }
            io::Result::Ok(())
        })?;
        meter.finish(n)?;
    }
    match other.join() {
        Ok(result) => Ok(result?),
        Err(_) => Err(io::Error::other("the other thread panicked").into()),
    }
}

fn check(got: u64, sent: u64) -> io::Result<()> {
    if got == sent {
        return Ok(());
    }
    Err(io::Error::other(format!("{sent} was sent, and {got} came")))
}
