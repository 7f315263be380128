//! Results that no kernel should give: counts above what was asked for, and numbers where nothing
//! is counted.

use super::bench::*;
use super::expect::{Position, Seen};
use super::{subjects_file::*, subjects_name::*, subjects_net::*};
use crate::driver::uring::inject;
use crate::fuzzing::replay::scale::figure;
use crate::op::{Accept, Open, OpenWish, Submit};
use crate::sqe::opcode;
use crate::{Fd, Runtime, metrics, spawn};
use socket2::{Domain, Socket, Type};
use std::cell::Cell;
use std::io::Read;
use std::os::fd::IntoRawFd;
use std::pin::pin;

thread_local! {
    static CELLS: Cell<u32> = const { Cell::new(0) };
}

/// An operation that reports more than was asked for fails its task and nothing else: its buffers
/// are dropped, and the next operation on the object works.
async fn too_much<S: Subject>(bench: &Bench, res: i32, position: Position) {
    println!("{}, {res}, {position:?}", S::KIND.name);
    inject::clear();
    force(S::KIND.opcode, 0, 1, res);
    let before = metrics().panics;
    let mut subject = S::new(bench);
    if position == Position::Dropped {
        drop(poll_once(pin!(subject.attempt())).await);
        until("it has ended", || metrics().in_flight == 0 || is_lane::<S>()).await;
    } else {
        let task = spawn(async move {
            // The subject goes down with the task.
            let _ = subject.attempt().await;
        });
        task.await.expect_err("the count was believed");
        subject = S::new(bench);
    }
    if position == Position::Dropped && is_lane::<S>() {
        // The result waits in the lane, and whoever asks for it meets it.
        let task = spawn(async move {
            let _ = subject.attempt().await;
        });
        let _ = task.await;
        subject = S::new(bench);
    }
    assert_eq!(seen(&subject.attempt().await), Seen::Done, "the next one");
    drop(subject);
    until("no operation is in flight", || metrics().in_flight == 0).await;
    let now = metrics();
    assert_eq!(now.panics - before, 1, "one panic");
    assert_eq!((now.descriptors, now.buffers_leased, bench.alive()), (0, 0, 0));
    CELLS.set(CELLS.get() + 1);
}

fn is_lane<S: Subject>() -> bool {
    S::KIND.name.ends_with("in a lane")
}

/// A positive number is success for an operation that counts nothing.
async fn a_number<S: Subject>(bench: &Bench, res: i32) {
    println!("{}, {res}", S::KIND.name);
    inject::clear();
    force(S::KIND.opcode, 0, 1, res);
    let mut subject = S::new(bench);
    // What the attempt looks at afterwards was not done, so only the operation itself is looked at.
    drop(poll_once(pin!(subject.attempt())).await);
    until("it has ended", || metrics().in_flight == 0).await;
    assert_eq!(inject::replaced(), 1);
    assert_eq!(seen(&subject.attempt().await), Seen::Done, "the next one");
    drop(subject);
    at_rest(bench).await;
    CELLS.set(CELLS.get() + 1);
}

macro_rules! each {
    ($check:ident, $runtime:expr, $bench:expr, $argument:tt, [$($subject:ty),+ $(,)?]) => {
        $( $runtime.block_on($check::<$subject> $argument); )+
    };
}

fn all_too_much(runtime: &Runtime, bench: &Bench) {
    for position in [Position::First, Position::Dropped] {
        // One more than there is room for in any of the buffers, and the most there can be.
        for res in [19, 4096, i32::MAX] {
            each!(
                too_much,
                runtime,
                bench,
                (bench, res, position),
                [
                    RecvOnce,
                    RecvMsgOnce,
                    RecvInLane,
                    RecvMsgInLane,
                    SendOnce,
                    SendMsgOnce,
                    ReadAt,
                    ReadParts,
                    WriteAt,
                    WriteParts,
                ]
            );
        }
    }
}

#[test]
fn a_count_above_what_was_asked_for_is_refused() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    all_too_much(&runtime, &bench);
    assert_eq!(runtime.shutdown(LIMIT).operations_leaked, 0);
    // One whose tasks have not panicked.
    let runtime = builder().build().expect("as before");
    for res in [1, 7, i32::MAX] {
        each!(
            a_number,
            runtime,
            bench,
            (&bench, res),
            [
                NopOnce,
                ConnectOnce,
                ShutdownOnce,
                PollReadable,
                PollWritable,
                SyncAll,
                SyncData,
                MakeDir,
                RenameFile,
                RemoveFile,
                RemoveDir,
            ]
        );
    }
    inject::clear();
    figure("errno cells, impossible results", CELLS.get(), "cells");
}

#[test]
fn bytes_without_a_buffer_are_an_error() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    runtime.block_on(async {
        force(opcode::RECV, 0, 1, 5);
        let mut subject = RecvMany::new(&bench);
        assert_eq!(seen(&subject.attempt().await), Seen::Error(libc::EIO));
        assert_eq!(seen(&subject.attempt().await), Seen::Done);
        drop(subject);
        at_rest(&bench).await;
    });
    inject::clear();
}

/// A descriptor that a result names is owned by whoever gets the result, also if that is nobody.
#[test]
fn a_late_descriptor_is_closed() {
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    let descriptor = || {
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("two sockets");
        theirs.set_read_timeout(Some(LIMIT)).expect("a limit above zero");
        (ours.into_raw_fd(), theirs)
    };
    let closed = |mut theirs: Socket| {
        // The end is seen once nobody has the other one any more.
        assert_eq!(theirs.read(&mut [0]).expect("the other end is closed"), 0);
    };
    for kept in [true, false] {
        inject::clear();
        let (raw, theirs) = descriptor();
        force(opcode::ACCEPT, 0, 1, raw);
        runtime.block_on(async {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            let mut accept = Box::pin(Submit::new(Accept::new(Fd::socket(socket).unwrap())));
            assert!(poll_once(accept.as_mut()).await.is_pending());
            if kept {
                assert_eq!(accept.await.unwrap().raw(), raw);
            } else {
                drop(accept);
            }
            at_rest(&bench).await;
        });
        closed(theirs);
        let (raw, theirs) = descriptor();
        force(opcode::OPENAT, 0, 1, raw);
        runtime.block_on(async {
            let wish = OpenWish { read: true, ..OpenWish::default() };
            let mut open = Box::pin(Submit::new(Open::new(bench.dir.path(), &wish).unwrap()));
            assert!(poll_once(open.as_mut()).await.is_pending());
            if kept {
                assert_eq!(open.await.unwrap().raw(), raw);
            } else {
                drop(open);
            }
            at_rest(&bench).await;
        });
        closed(theirs);
    }
    // One that comes while the runtime ends.
    let (raw, theirs) = descriptor();
    force(opcode::ACCEPT, 0, 1, raw);
    let mut kept = None;
    runtime.block_on(async {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let accept = kept.insert(Box::pin(Submit::new(Accept::new(Fd::socket(socket).unwrap()))));
        assert!(poll_once(accept.as_mut()).await.is_pending());
    });
    assert_eq!(runtime.shutdown(LIMIT).operations_leaked, 0);
    closed(theirs);
    drop(kept);
    inject::clear();
}
