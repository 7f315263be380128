//! Long chains on a small stack, and tasks that never rest beside a connection.

use crate::{alone, drivers, figure, on_every_driver, quantile, scaled, watchdog};
use futures_channel::oneshot;
use ringbolt::net::TcpListener;
use ringbolt::op::{Nop, Submit};
use ringbolt::{Builder, DriverKind, sleep, spawn, yield_now};
use std::cell::Cell;
use std::io::{Read, Write};
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Without optimisation the frames of the runtime's own start are several times as large.
const STACK: usize = if cfg!(debug_assertions) { 256 << 10 } else { 64 << 10 };

/// Runs `test` on a thread with little stack.
fn on_a_small_stack(driver: DriverKind, test: fn(DriverKind)) {
    let _deadline = watchdog::deadline(&format!("{driver:?}"), Location::caller());
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || test(driver));
    thread.unwrap().join().unwrap();
}

#[test]
fn a_million_completions_in_a_row_need_no_stack() {
    if !alone(module_path!(), "a_million_completions_in_a_row_need_no_stack") {
        return;
    }
    for driver in drivers() {
        on_a_small_stack(driver, |driver| {
            let runtime = Builder::new().driver(driver).build().unwrap();
            let count = scaled(50_000, 1_000_000, 10_000_000);
            let name = runtime.facts().driver;
            runtime.block_on(async {
                let task = spawn(async move {
                    for n in 0..count {
                        match n % 4 {
                            0 => yield_now().await,
                            1 => Submit::new(Nop).await.unwrap(),
                            2 => sleep(Duration::ZERO).await,
                            _ => spawn(async {}).await.unwrap(),
                        }
                    }
                    count
                });
                assert_eq!(task.await.unwrap(), count);
            });
            figure(&format!("completions in a row on {name}"), count, "");
        });
    }
}

/// Each task ends the next one: by its end, and by its destructor at the end of the runtime.
#[test]
fn a_chain_of_a_million_tasks_needs_no_stack() {
    if !alone(module_path!(), "a_chain_of_a_million_tasks_needs_no_stack") {
        return;
    }
    for driver in drivers() {
        on_a_small_stack(driver, |driver| {
            let count = scaled(20_000, 1_000_000, 1_000_000);
            for by_drop in [false, true] {
                let runtime = Builder::new().driver(driver).build().unwrap();
                let name = runtime.facts().driver;
                let ended = Rc::new(Cell::new(0u64));
                let first = runtime.block_on(async {
                    let (first, mut before) = oneshot::channel::<()>();
                    for _ in 0..count {
                        let (next, after) = oneshot::channel::<()>();
                        let mine = std::mem::replace(&mut before, after);
                        let end = End(ended.clone());
                        drop(spawn(async move {
                            let _held = (next, end);
                            let _ = mine.await;
                        }));
                    }
                    while ringbolt::metrics().polls < count {
                        yield_now().await;
                    }
                    first
                });
                let start = Instant::now();
                if by_drop {
                    drop(runtime);
                    drop(first);
                } else {
                    drop(first);
                    runtime.block_on(async {
                        while ringbolt::metrics().tasks > 0 {
                            yield_now().await;
                        }
                    });
                }
                assert_eq!(ended.get(), count);
                let how = if by_drop { "dropped" } else { "ended" };
                figure(&format!("chain of tasks {how} on {name}"), count, "");
                figure(&format!("it {how} on {name} in"), start.elapsed().as_millis(), "ms");
            }
        });
    }
}

/// Counts how many have gone.
struct End(Rc<Cell<u64>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn tasks_that_never_rest_leave_an_echo_its_share() {
    if !alone(module_path!(), "tasks_that_never_rest_leave_an_echo_its_share") {
        return;
    }
    let trips = scaled(500, 20_000, 200_000) as usize;
    on_every_driver(&Builder::new(), |runtime, name| {
        for busy in [1, 100] {
            let mut times = runtime.block_on(async {
                let stop = Rc::new(Cell::new(false));
                let tasks: Vec<_> = (0..busy)
                    .map(|_| {
                        let stop = stop.clone();
                        spawn(async move {
                            while !stop.get() {
                                yield_now().await;
                            }
                        })
                    })
                    .collect();
                let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let client = std::thread::spawn(move || {
                    let mut stream = std::net::TcpStream::connect(address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let trip = |n| {
                        let (start, sent) = (Instant::now(), [n as u8; 32]);
                        stream.write_all(&sent).unwrap();
                        let mut got = [0; 32];
                        stream.read_exact(&mut got).unwrap();
                        assert_eq!(got, sent);
                        start.elapsed()
                    };
                    (0..trips).map(trip).collect::<Vec<_>>()
                });
                let (mut stream, _) = listener.accept().await.unwrap();
                while let Some(chunk) = stream.recv().await.unwrap() {
                    stream.write_all(chunk).await.unwrap();
                }
                stop.set(true);
                for task in tasks {
                    task.await.unwrap();
                }
                client.join().unwrap()
            });
            times.sort_unstable();
            let most = quantile(&times, 990);
            let what = format!("99 of 100 echoes beside {busy} busy tasks on {name}");
            figure(&what, most.as_micros(), "us at most");
            // The figure to reach is 5 ms; a machine with other work to do may need more.
            assert!(most < Duration::from_millis(50), "{most:?}");
        }
    });
}
