//! The beginning and the end of a runtime.

use crate::support::*;
use ringbolt::op::{Accept, Fd, Readable, Recv, Send, Submit};
use ringbolt::{Builder, Runtime, sleep, spawn};
use std::future::pending;
use std::io::{ErrorKind, Write as _};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

#[test]
fn a_thousand_operations_of_each_kind_end_at_once() {
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        let runtime = case.builder.build().unwrap();
        let watch = Watched::watch();
        let _peers = runtime.block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let listener = Fd::socket(listener.into()).unwrap();
            let (empty, a) = fd_pair();
            let (full, b) = full_pair();
            for _ in 0..1000 {
                drop(spawn(Submit::new(Recv::new(empty.clone(), watch.buffer(16)))));
                drop(spawn(Submit::new(Send::new(full.clone(), watch.holding(b"text")))));
                drop(spawn(Submit::new(Accept::new(listener.clone()))));
                drop(spawn(Submit::new(Readable::new(empty.clone()))));
                drop(spawn(sleep(Duration::from_secs(3600))));
                drop(spawn(pending::<()>()));
            }
            until("all wait", || {
                let now = ringbolt::metrics();
                now.in_flight == 4000 && now.timers >= 1000
            })
            .await;
            [a, b]
        });
        assert_eq!(watch.alive(), 2000);
        let start = Instant::now();
        let report = runtime.shutdown(Duration::from_secs(20));
        let took = start.elapsed();
        assert_eq!((report.operations_leaked, watch.alive()), (0, 0), "{}", case.name);
        assert!(took < Duration::from_secs(10), "{took:?} on {}", case.name);
        assert!(watch.untouched());
    }
}

#[test]
fn runtimes_come_and_go_without_a_trace() {
    if !alone(module_path!(), "runtimes_come_and_go_without_a_trace") {
        return;
    }
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).map(|all| all.count());
    let once = |case: &Case| {
        let runtime = case.builder.build().unwrap();
        runtime.block_on(async {
            let (mut stream, mut peer) = pair_with_std().await;
            peer.write_all(b"x").unwrap();
            let dir = std::env::temp_dir();
            ringbolt::fs::metadata(dir).await.unwrap();
            assert!(stream.recv().await.unwrap().is_some());
            drop(spawn(async move { stream.recv().await }));
            ringbolt::yield_now().await;
        });
    };
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        // What is kept for ever is made by the first.
        (0..3).for_each(|_| once(&case));
        let Ok(threads) = count("task") else {
            return skipped("a list of this process's descriptors and threads");
        };
        // A helper thread may still hold the bell of the last runtime, for a moment.
        let fewest = || (0..1000).map(|_| count("fd").unwrap()).min().unwrap();
        let fds = fewest();
        (0..200).for_each(|_| once(&case));
        assert!(fewest() <= fds, "{}: {} descriptors were {fds}", case.name, fewest());
        // Threads that help with files are shared, at most sixteen.
        let more = count("task").unwrap().saturating_sub(threads);
        assert!(more <= 16, "{}: {more} more threads", case.name);
    }
}

#[test]
fn one_runtime_at_a_time_on_a_thread() {
    on_every_driver(async |case| {
        let inner = case.builder.build().unwrap();
        let nested = catch_unwind(AssertUnwindSafe(|| inner.block_on(async {})));
        let payload = nested.unwrap_err();
        let text = panic_text(&*payload);
        assert!(text.contains("already runs on this thread: await instead of blocking"), "{text}");
        // The outer one is as it was.
        assert_eq!(spawn(async { 3 }).await.unwrap(), 3);
    });
    // One after the other is fine, and also several that are not running.
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    assert_eq!(first.block_on(async { 1 }) + second.block_on(async { 2 }), 3);
    assert_eq!(first.block_on(async { spawn(async { 4 }).await.unwrap() }), 4);
}

#[test]
fn a_panic_goes_through_block_on() {
    for case in cases() {
        let runtime = case.builder.build().unwrap();
        let mut waits = None;
        runtime.block_on(async { waits = Some(spawn(pending::<()>())) });
        let waits = waits.expect("spawned");
        let result = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let (fd, _peer) = fd_pair();
                let mut recv = Submit::new(Recv::new(fd, Vec::with_capacity(8)));
                assert!(poll_once(&mut recv).await.is_pending());
                panic!("in the main future")
            })
        }));
        let payload = result.unwrap_err();
        assert_eq!(panic_text(&*payload), "in the main future");
        // The runtime can still be used.
        assert_eq!(runtime.block_on(async { spawn(async { 1 }).await.unwrap() }), 1);
        assert!(!waits.is_finished());
        drop(runtime);
        let next = case.builder.build().unwrap();
        assert!(next.block_on(waits).unwrap_err().is_aborted());
    }
}

#[test]
fn tasks_are_dropped_with_their_runtime() {
    for case in cases() {
        let runtime = case.builder.build().unwrap();
        let shared = Rc::new(());
        runtime.block_on(async {
            for _ in 0..50 {
                let held = shared.clone();
                drop(spawn(async move {
                    let _held = held;
                    sleep(Duration::MAX).await;
                }));
            }
            turns(2).await;
            // These have never run.
            for _ in 0..50 {
                let held = shared.clone();
                drop(spawn(async move { drop(held) }));
            }
        });
        assert!(Rc::strong_count(&shared) > 50);
        drop(runtime);
        assert_eq!(Rc::strong_count(&shared), 1, "{}", case.name);
    }
}

#[test]
fn streams_and_files_outlive_their_runtime() {
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = case.builder.build().unwrap();
        let (mut stream, file, peer, chunk) = runtime.block_on(async {
            let (mut stream, mut peer) = pair_with_std().await;
            let file = ringbolt::fs::File::create(dir.path().join("f")).await.unwrap();
            peer.write_all(b"kept").unwrap();
            let chunk = stream.recv().await.unwrap().expect("bytes");
            (stream, file, peer, chunk)
        });
        drop(runtime);
        assert_eq!(&*chunk, b"kept");
        let next = case.builder.build().unwrap();
        next.block_on(async {
            // Their runtime has gone: they say so, or work on the new one; they never hang or
            // crash.
            let limit = Duration::from_secs(5);
            let task = spawn(async move {
                drop(ringbolt::timeout(limit, stream.write_all("x")).await);
                drop(file);
                drop(stream);
            });
            drop(task.await);
        });
        drop((peer, chunk));
    }
}

#[test]
fn the_environment_picks_the_driver() {
    if !alone(module_path!(), "the_environment_picks_the_driver") {
        return;
    }
    let build = |value: &str| {
        // SAFETY: this process runs no other thread that reads the environment.
        unsafe { std::env::set_var("RINGBOLT_DRIVER", value) };
        Builder::new().build()
    };
    let error = build("io-uring").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("RINGBOLT_DRIVER") && text.contains("io-uring"), "{text}");
    assert_ne!(build("readiness").unwrap().facts().driver, "io_uring");
    let auto = build("auto").unwrap().facts().driver;
    assert_eq!(auto == "io_uring", uring_refused().is_none());
    assert_eq!(build("").unwrap().facts().driver, auto);
    match build("uring") {
        Ok(runtime) => assert_eq!(runtime.facts().driver, "io_uring"),
        Err(error) => assert!(uring_refused().is_some(), "{error}"),
    }
    // What the program says counts more.
    build("nonsense").unwrap_err();
    Builder::new().driver(ringbolt::DriverKind::Readiness).build().unwrap();
}

#[test]
fn handles_in_a_thread_local_are_dropped_late() {
    thread_local! {
        static KEPT: std::cell::RefCell<Vec<Box<dyn std::any::Any>>> = const {
            std::cell::RefCell::new(Vec::new())
        };
    }
    for case in cases() {
        std::thread::spawn(move || {
            // First in, so that it is destroyed after the runtime's own.
            KEPT.with(|kept| kept.borrow_mut().push(Box::new(())));
            let runtime = case.builder.build().unwrap();
            runtime.block_on(async {
                let (mut stream, mut peer) = pair_with_std().await;
                peer.write_all(b"x").unwrap();
                let chunk = stream.recv().await.unwrap().expect("a byte");
                let (fd, other) = fd_pair();
                let mut recv = Submit::new(Recv::new(fd, Vec::with_capacity(8)));
                assert!(poll_once(&mut recv).await.is_pending());
                let mut timer = sleep(Duration::MAX);
                assert!(poll_once(&mut timer).await.is_pending());
                let task = spawn(pending::<()>());
                let (listener, _) = listen().await;
                KEPT.with(|kept| {
                    let mut kept = kept.borrow_mut();
                    kept.push(Box::new((stream, peer, chunk, recv, other, timer)));
                    kept.push(Box::new((task, listener)));
                });
            });
            KEPT.with(|kept| kept.borrow_mut().push(Box::new(runtime)));
        })
        .join()
        .expect("the thread ends in peace");
    }
}

#[test]
fn a_runtime_that_is_dropped_inside_of_another_takes_no_more_calls() {
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        let outer = case.builder.build().unwrap();
        let inner = case.builder.build().unwrap();
        let remote = inner.remote();
        let answer = outer.block_on(async move {
            drop(inner);
            remote.spawn(|| async { 1 }).await
        });
        assert!(answer.unwrap_err().is_aborted());
    }
}
