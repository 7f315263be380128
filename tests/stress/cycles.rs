//! Random drops, cancels and forgets: what was open or lent before is what is open or lent after.

use crate::{Random, alone, on_every_driver, setting};
use ringbolt::Builder;
use ringbolt::net::{TcpListener, TcpStream};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Polls `future` once and leaves it as it is.
async fn poll_once<F: Future>(future: F, forget: bool) {
    let mut future = Box::pin(future);
    poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    if forget {
        // The memory of the future itself is lost by intent; what it started must not be.
        std::mem::forget(future);
    }
}

async fn pair(listener: &mut TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// One random thing is begun on the streams and left in a random way.
async fn one(
    random: &mut Random,
    listener: &mut TcpListener,
    a: &mut TcpStream,
    path: &std::path::Path,
) {
    let forget = random.below(8) == 0;
    let limit = Duration::from_nanos(random.below(50_000));
    match random.below(10) {
        0 => poll_once(a.recv(), forget).await,
        1 => poll_once(a.read(Vec::with_capacity(512)), forget).await,
        2 => drop(ringbolt::timeout(limit, a.recv()).await),
        3 => drop(ringbolt::timeout(limit, a.read(vec![0; 100])).await),
        4 => poll_once(listener.accept(), forget).await,
        5 => drop(ringbolt::timeout(limit, listener.accept()).await),
        6 => poll_once(ringbolt::fs::File::open(path), forget && random.below(8) == 0).await,
        7 => drop(ringbolt::timeout(limit, ringbolt::fs::read(path)).await),
        8 => poll_once(ringbolt::sleep(limit), false).await,
        _ => drop(ringbolt::timeout(limit, a.write_all("12345678")).await),
    }
}

async fn drain(stream: &mut TcpStream) {
    let mut ended = pin!(async { while let Ok(Some(_)) = stream.recv().await {} });
    let _ = ringbolt::timeout(Duration::from_millis(1), ended.as_mut()).await;
}

#[cfg(target_os = "linux")]
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[cfg(not(target_os = "linux"))]
fn open_descriptors() -> usize {
    0
}

#[test]
fn descriptors_and_leases_are_what_they_were() {
    let _alone = alone();
    let cycles = setting("RINGBOLT_STRESS_CYCLES", 100_000);
    let mut random = Random::new("cycles");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, [7; 3000]).unwrap();
    let outside = open_descriptors();
    on_every_driver(&Builder::new().ring_entries(16), |runtime| {
        runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // Everything that is made once is there before the count.
            ringbolt::fs::read(&path).await.unwrap();
            drop(pair(&mut listener).await);
            settle().await;
            let before = (open_descriptors(), ringbolt::metrics());
            let mut streams = pair(&mut listener).await;
            for cycle in 0..cycles {
                if cycle % 64 == 0 {
                    streams = pair(&mut listener).await;
                }
                if random.below(3) == 0 {
                    let _ = streams.1.write_all("some bytes").await.0;
                }
                one(&mut random, &mut listener, &mut streams.0, &path).await;
                if cycle % 16 == 0 {
                    drain(&mut streams.1).await;
                }
            }
            drop(streams);
            // Accepted connections whose futures were dropped wait in the listener.
            while listener.queued() > 0 {
                listener.accept().await.unwrap();
            }
            settle().await;
            let after = (open_descriptors(), ringbolt::metrics());
            eprintln!(
                "cycles on {}: {cycles}, {} cancels, {} open before and {} after, {} forgotten",
                ringbolt::facts().driver,
                after.1.cancels,
                before.0,
                after.0,
                after.1.in_flight.saturating_sub(before.1.in_flight),
            );
            assert_eq!(after.1.buffers_leased, before.1.buffers_leased);
            // What a forgotten future opened stays in its slot: it is owned, not lost.
            let forgotten = after.1.in_flight - before.1.in_flight;
            assert!(after.0 as u64 <= before.0 as u64 + forgotten);
        });
    });
    // The end of a runtime closes what forgotten futures had opened.
    assert_eq!(open_descriptors(), outside);
}

/// Waits until the cancels that are on their way have ended.
async fn settle() {
    let mut last = u64::MAX;
    for _ in 0..1000 {
        ringbolt::sleep(Duration::from_millis(1)).await;
        let now = ringbolt::metrics();
        if now.in_flight == last && now.completions > 0 {
            return;
        }
        last = now.in_flight;
    }
}
