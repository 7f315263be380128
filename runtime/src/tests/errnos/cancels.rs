//! A cancel that is refused, for whatever reason, is repeated until its operation has ended; and
//! one that comes too late leaves nothing behind.

use super::bench::*;
use super::numbers::{name, numbers};
use crate::driver::uring::inject;
use crate::fuzzing::replay::scale::figure;
use crate::op::{AcceptMulti, Recv, Submit};
use crate::sqe::opcode;
use crate::{Fd, metrics, timeout, yield_now};
use socket2::Socket;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

#[test]
fn every_error_of_a_cancel() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    let mut cells = 0;
    for number in numbers(false) {
        for times in [1, 3] {
            println!("{}, {times} times", name(number));
            inject::clear();
            force(opcode::ASYNC_CANCEL, 0, times, -number);
            runtime.block_on(async {
                let (fd, _peer) = pair();
                {
                    let recv = Submit::new(Recv::new(fd.clone(), bench.buffer(b"", 8)));
                    assert!(poll_once(pin!(recv)).await.is_pending());
                }
                let sent = metrics().cancels;
                until("the receive has ended", || bench.alive() == 0).await;
                assert_eq!(metrics().cancels - sent, u64::from(times) + 1);
                drop(fd);
                at_rest(&bench).await;
            });
            assert_eq!(inject::replaced(), times);
            cells += 1;
        }
    }
    inject::clear();
    figure("errno cells, cancels", cells, "cells");
}

/// The queue of a listener is full when its request ends by itself, with a connection and not by
/// the cancel that was sent. The next request is bounded all the same.
#[test]
fn a_listener_that_was_full_is_bounded_again() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    let path = bench.dir.path().join("listener");
    runtime.block_on(async {
        let listener = OwnedFd::from(UnixListener::bind(&path).unwrap());
        let mut accept = AcceptMulti::new(Fd::socket(Socket::from(listener)).unwrap());
        let mut clients = Vec::new();
        let mut connect = |count: usize| {
            for _ in 0..count {
                clients.push(UnixStream::connect(&path).unwrap());
            }
        };
        let arm = async |accept: &mut AcceptMulti| {
            let polled = poll_fn(|cx| Poll::Ready(accept.poll_accept(cx))).await;
            assert!(polled.is_pending());
            yield_now().await;
        };
        arm(&mut accept).await;
        while accept.queued() < 252 {
            connect(4);
            let wanted = accept.queued() + 4;
            until("they are accepted", || accept.queued() == wanted).await;
        }
        // More than the completion queue has room for, so that the request ends.
        connect(40);
        until("the request has ended", || metrics().in_flight == 0).await;
        let queued = accept.queued();
        assert!((256..292).contains(&queued), "{queued}");
        for _ in 0..292 {
            drop(poll_fn(|cx| accept.poll_accept(cx)).await.unwrap());
        }
        arm(&mut accept).await;
        for _ in 0..80 {
            connect(4);
            yield_now().await;
            yield_now().await;
        }
        until("the request has ended", || metrics().in_flight == 0).await;
        assert!((256..272).contains(&accept.queued()), "{}", accept.queued());
        drop(accept);
        at_rest(&bench).await;
    });
}

#[test]
fn a_limit_and_an_end_repeat_their_cancels_too() {
    let Some(first) = runtime() else { return };
    let bench = Bench::new();
    force(opcode::ASYNC_CANCEL, 0, 1, -libc::ENOMEM);
    first.block_on(async {
        let (fd, _peer) = pair();
        let recv = Submit::new(Recv::new(fd, bench.buffer(b"", 8)));
        let limited = timeout(Duration::from_millis(1), recv).await.expect("it was awaited");
        assert!(crate::is_cancelled(&limited.0.unwrap_err()));
    });
    force(opcode::ASYNC_CANCEL, 0, 1, -libc::EACCES);
    let (fd, recv, _peer) = first.block_on(async {
        let (fd, peer) = pair();
        let mut recv = Box::pin(Submit::new(Recv::new(fd.clone(), bench.buffer(b"", 8))));
        assert!(poll_once(recv.as_mut()).await.is_pending());
        (fd, recv, peer)
    });
    assert_eq!(first.shutdown(LIMIT).operations_leaked, 0);
    assert_eq!((inject::replaced(), bench.alive()), (2, 0));
    drop((fd, recv));
    inject::clear();
}
