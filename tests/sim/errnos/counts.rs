//! Results that count more bytes than were asked for, which only a broken kernel yields.

use super::{Position, begin, faults, rows, settled};
use crate::scale::figure;
use crate::watched::Watched;
use ringbolt::sim;
use ringbolt::{Builder, timeout};
use ringbolt_runtime::sqe::opcode;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Bytes that the operations here ask for; `None` for those that count none.
fn asked(code: u8) -> Option<i32> {
    match code {
        opcode::READ | opcode::WRITE | opcode::READV | opcode::WRITEV => Some(19),
        opcode::RECV | opcode::SEND | opcode::SENDMSG => Some(8),
        opcode::RECVMSG => Some(12),
        _ => None,
    }
}

/// What a future that panics said; `None` if it does not panic.
async fn panic_of<F: Future>(future: F) -> Option<String> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(_)) => Poll::Ready(None),
        Err(payload) => Poll::Ready(Some(payload.downcast_ref().cloned().unwrap_or_default())),
    })
    .await
}

#[test]
fn a_count_that_is_too_large_reaches_nobody() {
    let mut cells = 0;
    let lent = |name: &str| name == "multishot recv" || name == "TcpStream::recv";
    for row in rows().iter().filter(|row| row.before == 0 && !lent(row.name)) {
        let Some(asked) = asked(row.opcode) else { continue };
        for count in [asked + 1, i32::MAX] {
            for position in [Position::First, Position::Dropped, Position::TimedOut] {
                let watch = Watched::watch();
                let runtime = sim::runtime(1, faults(0.0), &Builder::new()).expect("a small pool");
                runtime.block_on(async {
                    let mut subject = (row.make)(watch.clone()).await;
                    settled().await;
                    sim::set_faults(faults(1.0));
                    sim::force(row.opcode, 0, count);
                    subject.prepare().await;
                    let panic = match position {
                        Position::First => panic_of(subject.run()).await,
                        Position::TimedOut => panic_of(timeout(row.time(), subject.run())).await,
                        _ => {
                            begin(&mut subject.run(), row.time()).await;
                            Some(format!("reported {count} bytes of {asked}"))
                        }
                    };
                    let panic = panic.unwrap_or_else(|| panic!("{} took {count} bytes", row.name));
                    assert!(panic.contains(&format!("{count} bytes of {asked}")), "{panic}");
                    settled().await;
                    assert_eq!(sim::forced_left(), 0, "the request was not made");
                    sim::set_faults(faults(0.0));
                    // A stream that keeps such a result refuses it when it lets go of it.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(subject)));
                });
                assert_eq!(runtime.shutdown(Duration::from_secs(5)).operations_leaked, 0);
                assert_eq!(watch.alive(), 0, "{}: buffers were lost", row.name);
                assert!(watch.untouched(), "{}: a late write", row.name);
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 21 * 2 * 3);
    figure("results that count too much, simulator", cells, "cells");
}
