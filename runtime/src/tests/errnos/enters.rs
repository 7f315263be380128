//! Calls into the kernel that fail, are cut short or are left out, at every point of a workload.

use super::bench::*;
use super::files::File;
use super::halves::{read_half, write_half};
use crate::buffers::PoolConfig;
use crate::driver::uring::inject::{self, Call, Calls};
use crate::fuzzing::replay::scale::figure;
use crate::op::{Recv, Submit};
use crate::{Builder, metrics, sleep, spawn, timeout};
use std::os::fd::{FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Sizes of the submission queue; the kernel makes four of three.
const SIZES: [u32; 4] = [1, 2, 3, 64];

/// What may happen to a call, so that the workload has to go on as if nothing had.
const PASSING: [Call; 12] = [
    Call::LeftOut(Err(libc::EINTR)),
    Call::LeftOut(Err(libc::EAGAIN)),
    Call::LeftOut(Err(libc::EBUSY)),
    Call::LeftOut(Err(libc::ETIME)),
    Call::LeftOut(Ok(0)),
    Call::Denied(libc::EINTR),
    Call::Denied(libc::EAGAIN),
    Call::Denied(libc::EBUSY),
    Call::Denied(libc::ETIME),
    Call::Short(0),
    Call::Short(1),
    Call::Short(2),
];

/// What ends a runtime.
const FATAL: [i32; 3] = [libc::EBADR, libc::EFAULT, libc::EINVAL];

fn small(entries: u32) -> Builder {
    let pool = PoolConfig { buffer_len: 1024, buffers: 4, buffers_max: 8, zeroize: false };
    builder().ring_entries(entries).pool(pool)
}

/// An echo over a pair of sockets, a file that is written, synced and read, a limit that passes and
/// a future that is dropped. Returns all that was read.
async fn workload(bench: Bench) -> Vec<u8> {
    let (client, peer) = pair();
    let server = crate::Fd::socket(socket2::Socket::from(OwnedFd::from(peer)));
    let server = server.expect("a socket in any mode");
    let echo = spawn(async move {
        let (mut read, mut write) = (read_half(server.clone()), write_half(server));
        while let Some(chunk) = read.recv().await.expect("the client is there") {
            write.write_all(chunk).await.unwrap();
        }
    });
    let (mut read, mut write) = (read_half(client.clone()), write_half(client.clone()));
    let mut all = Vec::new();
    for round in 0..3_u8 {
        write.write_all(bench.buffer(&[round; 10], 10)).await.unwrap();
        let mut got = 0;
        while got < 10 {
            let (n, buf) = read.read(bench.buffer(b"", 10 - got)).await.unwrap();
            all.extend_from_slice(buf.bytes());
            got += n;
        }
    }
    // Nothing more comes, so the limit passes, and a dropped receive is settled by the next.
    let limited = timeout(Duration::from_micros(300), read.read(bench.buffer(b"", 4))).await;
    assert!(limited.is_ok_and(|result| crate::is_cancelled(&result.0.unwrap_err())));
    assert!(poll_once(pin!(read.read(bench.buffer(b"", 4)))).await.is_pending());
    let file = File::from_std(tempfile::tempfile_in(bench.dir.path()).expect("a file"));
    file.write_all_at(bench.buffer(b"content", 7), 0).await.unwrap();
    file.sync_all().await.unwrap();
    let (_, content) = file.read_at(bench.buffer(b"", 20), 0).await.unwrap();
    all.extend_from_slice(content.bytes());
    drop(content);
    sleep(Duration::from_micros(100)).await;
    file.close().await.unwrap();
    write.shutdown().await.unwrap();
    echo.await.unwrap();
    assert_eq!(read.read(bench.buffer(b"", 4)).await.unwrap().0, 0);
    drop((read, write, client));
    at_rest(&bench).await;
    all
}

/// Runs the workload, and its set-up, with `calls` in force.
fn run(entries: u32, calls: Option<Calls>) -> Vec<u8> {
    inject::clear();
    if let Some(calls) = calls {
        inject::rule_calls(calls);
    }
    let bench = Bench::new();
    let runtime = small(entries).build().expect("a call that passes is no reason to give up");
    // A feature that takes too long when it is tried is not used.
    let late = calls.is_some_and(|calls| {
        matches!(calls.call, Call::LeftOut(Err(libc::ETIME)) | Call::Denied(libc::ETIME))
    });
    let facts = runtime.facts();
    assert!(facts.lends_buffers || late, "a call that passes cost a feature: {facts}");
    let all = runtime.block_on(workload(bench.clone()));
    assert_eq!(runtime.shutdown(LIMIT).operations_leaked, 0);
    assert_eq!(bench.alive(), 0, "buffers");
    all
}

#[test]
fn a_call_that_passes_changes_nothing() {
    let Some(runtime) = runtime() else { return };
    drop(runtime);
    let mut cells = 0;
    for entries in SIZES {
        let wanted = run(entries, None);
        assert_eq!(wanted.len(), 37);
        let count = inject::calls();
        for call in PASSING {
            let at = (0..count).map(|first| Calls { first, step: 1, times: 1, call });
            // Many in a row, and again and again.
            let many = [1, 2, 3].map(|step| Calls { first: 0, step, times: 50, call });
            for calls in at.chain(many) {
                println!("{entries} entries, {calls:?}");
                assert!(run(entries, Some(calls)) == wanted, "another result");
                cells += 1;
            }
        }
    }
    inject::clear();
    figure("enter cells, passing errors", cells, "cells");
}

#[test]
fn a_call_that_fails_for_good_ends_its_runtime_only() {
    let Some(runtime) = runtime() else { return };
    drop(runtime);
    let over = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    let mut cells = 0;
    std::thread::scope(|scope| {
        // Another runtime of the process goes on meanwhile.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(run(8, None).len(), 37);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        let guard = Over(&over);
        for entries in SIZES {
            // The first calls are those of the set-up, where such an error is an error.
            inject::clear();
            let start = small(entries).build().map(|runtime| (inject::calls(), runtime));
            let (setup, runtime) = start.expect("as before");
            drop(runtime);
            for errno in FATAL {
                for at in 0..8 {
                    println!("{entries} entries, {errno}, call {at}");
                    break_down(entries, setup + at, errno);
                    cells += 1;
                }
            }
        }
        drop(guard);
    });
    inject::clear();
    assert!(rounds.load(Ordering::Relaxed) > 0);
    figure("enter cells, fatal errors", cells, "cells");
}

/// Ends the loop of the other thread, also when this one panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Call number `at` fails with `errno` while a receive is in flight; what was in flight is kept.
fn break_down(entries: u32, at: u64, errno: i32) {
    inject::clear();
    inject::rule_calls(Calls { first: at, step: 1, times: 1, call: Call::LeftOut(Err(errno)) });
    let bench = Bench::new();
    let runtime = small(entries).build().expect("the error comes later");
    let (waiting, work) = (bench.clone(), bench.clone());
    let (recv, fd, peer) = runtime.block_on(async {
        let (fd, peer) = pair();
        let recv = Box::pin(Submit::new(Recv::new(fd.clone(), waiting.buffer(b"", 64))));
        (recv, fd, peer)
    });
    let mut recv = recv;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            assert!(poll_once(recv.as_mut()).await.is_pending());
            workload_beside(work).await;
        });
    }));
    let payload = ended.expect_err("the call failed for good");
    let text = payload.downcast_ref::<String>().expect("a text");
    let wanted = format!("the io_uring driver broke down: {}", crate::error::from_errno(errno));
    assert!(text.starts_with(&wanted), "{text}");
    assert!(text.contains("operations are left to the system"), "{text}");
    let kept = bench.alive();
    assert!(kept > 0, "what the kernel may write to was freed");
    // Nothing starts on it any more.
    let refused = runtime.block_on(async {
        let mut late = Box::pin(Submit::new(Recv::new(fd.clone(), bench.buffer(b"", 8))));
        let std::task::Poll::Ready(result) = poll_once(late.as_mut()).await else {
            panic!("it started")
        };
        result.0.unwrap_err()
    });
    assert!(crate::is_cancelled(&refused));
    let raw = fd.raw();
    drop((recv, fd));
    drop(runtime);
    drop(peer);
    // The operation keeps its descriptor as well, of which a process has not many.
    // SAFETY: the reference that is left was leaked, so that nobody uses it any more.
    drop(unsafe { OwnedFd::from_raw_fd(raw) });
    assert_eq!(bench.alive(), kept, "what the kernel may write to was freed");
}

/// The workload, while one operation of somebody else is in flight.
async fn workload_beside(bench: Bench) {
    loop {
        let (fd, _peer) = pair();
        let mut write = write_half(fd);
        write.write_all(bench.buffer(b"text", 4)).await.unwrap();
        assert!(metrics().in_flight > 0);
        sleep(Duration::from_micros(50)).await;
    }
}

#[test]
fn an_end_that_meets_a_fatal_error_reports_what_it_left() {
    let Some(runtime) = runtime() else { return };
    drop(runtime);
    inject::clear();
    let bench = Bench::new();
    let runtime = small(8).build().unwrap();
    let held = runtime.block_on(async {
        let (fd, peer) = pair();
        let mut recv = Box::pin(Submit::new(Recv::new(fd, bench.buffer(b"", 64))));
        assert!(poll_once(recv.as_mut()).await.is_pending());
        crate::yield_now().await;
        (recv, peer)
    });
    let call = Call::LeftOut(Err(libc::EBADR));
    inject::rule_calls(Calls { first: 0, step: 1, times: 1, call });
    assert_eq!(runtime.shutdown(LIMIT).operations_leaked, 1);
    drop(held);
    assert_eq!(bench.alive(), 1, "what the kernel may write to was freed");
    inject::clear();
}
