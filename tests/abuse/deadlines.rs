//! Ten thousand operations whose time is over at the same moment.

use crate::process::allow_descriptors;
use crate::{alone, at_rest, figure, on_every_driver, until};
use ringbolt::op::{Fd, Recv, Submit};
use ringbolt::{BufResult, Builder, is_cancelled, spawn, timeout};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const OPERATIONS: usize = 10_000;
const SOCKETS: usize = 1000;

/// There are many more cancels than the submission queue has entries: none may be lost.
#[test]
fn all_return_when_their_time_is_over() {
    if !alone(module_path!(), "all_return_when_their_time_is_over") {
        return;
    }
    if !allow_descriptors(2 * SOCKETS as u64 + 500) {
        return;
    }
    on_every_driver(&Builder::new().ring_entries(64), |runtime, name| {
        runtime.block_on(async {
            let pairs: Vec<_> = (0..SOCKETS)
                .map(|_| {
                    let (ours, theirs) = UnixStream::pair().unwrap();
                    (Fd::socket(OwnedFd::from(ours).into()).unwrap(), theirs)
                })
                .collect();
            let end = Instant::now() + Duration::from_millis(500);
            let tasks: Vec<_> = (0..OPERATIONS)
                .map(|n| {
                    let fd = pairs[n % SOCKETS].0.clone();
                    spawn(async move {
                        let limit = end.saturating_duration_since(Instant::now());
                        let recv = Submit::new(Recv::new(fd, Vec::with_capacity(16)));
                        // Without a result it was not ended soon enough, and is left to itself.
                        let ended = timeout(limit, recv).await.map(BufResult::into_result);
                        if let Ok(result) = &ended {
                            assert!(is_cancelled(result.as_ref().unwrap_err()));
                        }
                        (Instant::now(), ended.is_err())
                    })
                })
                .collect();
            until("all wait", || {
                let now = ringbolt::metrics();
                now.in_flight as usize == OPERATIONS || Instant::now() > end
            })
            .await;
            assert!(Instant::now() < end, "it took too long to begin: {:?}", ringbolt::metrics());
            let (mut last, mut left) = (end, 0);
            for task in tasks {
                let (returned, given_up) = task.await.unwrap();
                last = last.max(returned);
                left += u64::from(given_up);
            }
            let late = last - end;
            figure(
                &format!("{OPERATIONS} equal deadlines on {name}, the last"),
                late.as_millis(),
                "ms late",
            );
            figure(&format!("of those left to end later on {name}"), left, "");
            assert!(late < Duration::from_secs(1), "{late:?} on {name}");
            // The other ends are still open, so that only the cancels can end them.
            until("all have ended", || ringbolt::metrics().in_flight == 0).await;
            drop(pairs);
            at_rest().await;
        });
    });
}
