//! Time limits: data wins, and buffers come back.

use crate::support::*;
use ringbolt::op::{Nop, Recv, Submit};
use ringbolt::{BufResult, Elapsed, is_cancelled, metrics, sleep, spawn, timeout};
use std::future::{pending, ready};
use std::io::{self, ErrorKind, Write as _};
use std::time::{Duration, Instant};

const NONE: Duration = Duration::ZERO;

#[test]
fn what_is_ready_is_in_time() {
    on_every_driver(async |_| {
        assert_eq!(timeout(NONE, ready(5)).await, Ok(5));
        assert_eq!(timeout(Duration::MAX, async { 6 }).await, Ok(6));
        let elapsed: Elapsed = timeout(NONE, pending::<()>()).await.unwrap_err();
        assert_eq!(elapsed.to_string(), "the time limit passed");
        let error = io::Error::from(elapsed);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::TimedOut, elapsed.to_string()));
        let start = Instant::now();
        assert!(timeout(SHORT, pending::<()>()).await.is_err());
        assert!(start.elapsed() >= SHORT);
        assert!(timeout(SHORT, sleep(Duration::MAX)).await.is_err());
        assert_eq!(metrics().timers, 0);
    });
}

#[test]
fn a_cancelled_operation_gives_its_buffer_back() {
    on_every_driver(async |_| {
        let watch = Watched::watch();
        let (mut stream, _peer) = pair_with_std().await;
        let BufResult(result, buf) = timeout(SHORT, stream.read(watch.buffer(77))).await.unwrap();
        assert!(is_cancelled(&result.unwrap_err()));
        assert_eq!((buf.bytes().len(), watch.alive()), (0, 1));
        // A receive through the pool belongs to the stream, so that there is nothing to hand over.
        assert!(matches!(timeout(SHORT, stream.recv()).await, Err(Elapsed { .. })));
    });
}

#[test]
fn an_operation_that_won_hands_its_data_over() {
    on_every_driver(async |_| {
        let (mut stream, mut peer) = pair_with_std().await;
        for _ in 0..20 {
            // The data is there before the limit is looked at, and after the first poll.
            let mut limited = Box::pin(timeout(NONE, stream.read(Vec::with_capacity(8))));
            peer.write_all(b"data").unwrap();
            let BufResult(result, buf) = (&mut limited).await.expect("an operation was awaited");
            drop(limited);
            match result {
                Ok(n) => assert_eq!((n, &buf[..]), (4, &b"data"[..])),
                Err(error) => {
                    assert!(is_cancelled(&error), "{error}");
                    let (_, buf) = stream.read(Vec::with_capacity(8)).await.unwrap();
                    assert_eq!(&buf[..], b"data");
                }
            }
        }
    });
}

#[test]
fn nothing_new_starts_after_the_limit() {
    on_every_driver(async |_| {
        let (fd, mut peer) = fd_pair();
        let mut rounds = 0;
        let result = timeout(SHORT, async {
            loop {
                let recv = Recv::new(fd.clone(), Vec::with_capacity(8));
                if let Err(error) = Submit::new(recv).await.0 {
                    // Another try is refused at once, without a way to the driver.
                    let before = metrics().submitted;
                    let again = Submit::new(Nop).await;
                    assert_eq!(metrics().submitted, before);
                    return (error, again.unwrap_err());
                }
                rounds += 1;
                peer.write_all(b"x").unwrap();
            }
        });
        let (first, second) = result.await.expect("the inner future ended");
        assert!(is_cancelled(&first) && is_cancelled(&second));
        assert_eq!(rounds, 0);
        // Outside of the limit everything goes on.
        Submit::new(Nop).await.unwrap();
    });
}

#[test]
fn limits_within_limits() {
    on_every_driver(async |_| {
        let (fd, _peer) = fd_pair();
        let recv = || Submit::new(Recv::new(fd.clone(), Vec::with_capacity(8)));
        // The inner one is shorter.
        let inner = async {
            let BufResult(result, _) = timeout(SHORT, recv()).await.unwrap();
            assert!(is_cancelled(&result.unwrap_err()));
            Submit::new(Nop).await.expect("the outer limit has not passed");
            7
        };
        assert_eq!(timeout(Duration::from_secs(20), inner).await, Ok(7));
        // The outer one is shorter.
        let outer = timeout(SHORT, timeout(Duration::from_secs(20), recv())).await;
        let BufResult(result, _) = outer.unwrap().unwrap();
        assert!(is_cancelled(&result.unwrap_err()));
        // Other futures of the same task are not under the limit.
        let (limited, free) = join(timeout(SHORT, recv()), async {
            for _ in 0..50 {
                Submit::new(Nop).await.unwrap();
                pause().await;
            }
            1
        })
        .await;
        assert!(limited.unwrap().0.is_err());
        assert_eq!(free, 1);
    });
}

#[test]
fn a_limit_does_not_reach_into_other_tasks() {
    on_every_driver(async |_| {
        let (fd, mut peer) = fd_pair();
        let task = timeout(SHORT, async {
            let theirs = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(8)));
            let _handle = spawn(theirs);
            sleep(Duration::MAX).await;
        });
        assert!(matches!(task.await, Err(Elapsed { .. })));
        // The task lost its handle and runs on: it takes these bytes.
        peer.write_all(b"theirs").unwrap();
        until("they are taken", || metrics().tasks == 0).await;

        let mut handle = spawn(async {
            sleep(4 * SHORT).await;
            9
        });
        assert!(timeout(SHORT, &mut handle).await.is_err());
        assert_eq!(handle.await.unwrap(), 9);
    });
}

#[test]
fn a_future_that_does_not_mind_being_cancelled_gets_its_time() {
    on_every_driver(async |_| {
        // After the limit it waits for another operation, then for a timer: that is the end.
        let (fd, _peer) = fd_pair();
        let dropped = std::rc::Rc::new(());
        let held = dropped.clone();
        let stubborn = async move {
            let _held = held;
            drop(Submit::new(Recv::new(fd, Vec::with_capacity(8))).await);
            sleep(Duration::MAX).await;
        };
        let start = Instant::now();
        assert!(timeout(SHORT, stubborn).await.is_err());
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(std::rc::Rc::strong_count(&dropped), 1);
    });
}

#[test]
fn a_panic_leaves_no_limit_behind() {
    on_every_driver(async |_| {
        let task = spawn(async {
            timeout(NONE, async {
                ringbolt::yield_now().await;
                panic!("under a limit")
            })
            .await
        });
        drop(task.await);
        for _ in 0..10 {
            Submit::new(Nop).await.unwrap();
        }
    });
}
