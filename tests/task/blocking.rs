//! Calls that block, on threads of their own.

use crate::support::*;
use ringbolt::{metrics, spawn_blocking, timeout, yield_now};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

#[test]
fn results_and_panics_come_back() {
    on_every_driver(async |_| {
        let here = std::thread::current().id();
        let calls: Vec<_> =
            (0..64).map(|i| spawn_blocking(move || (i * i, std::thread::current().id()))).collect();
        for (i, call) in calls.into_iter().enumerate() {
            let (square, thread) = call.await.unwrap();
            assert_eq!(square, i * i);
            assert_ne!(thread, here);
        }
        let error = spawn_blocking(|| panic!("on a helper")).await.unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: on a helper");
        // The helper is still there.
        assert_eq!(spawn_blocking(|| 5).await.unwrap(), 5);
    });
}

#[test]
fn calls_run_at_the_same_time_and_the_core_goes_on() {
    on_every_driver(async |_| {
        let barrier = Arc::new(Barrier::new(8));
        let calls: Vec<_> = (0..7)
            .map(|_| {
                let barrier = barrier.clone();
                spawn_blocking(move || barrier.wait().is_leader())
            })
            .collect();
        let turns = metrics().turns;
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(metrics().turns > turns);
        let last = spawn_blocking(move || barrier.wait().is_leader());
        let mut leaders = usize::from(last.await.unwrap());
        for call in calls {
            leaders += usize::from(call.await.unwrap());
        }
        assert_eq!(leaders, 1);
    });
}

#[test]
fn a_call_that_is_aborted_or_dropped_runs_on() {
    on_every_driver(async |_| {
        let ran = Arc::new(AtomicUsize::new(0));
        let (go, wait) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let theirs = ran.clone();
        let mut call = spawn_blocking(move || {
            begun.send(()).unwrap();
            wait.recv().unwrap_err();
            theirs.fetch_add(1, Ordering::SeqCst);
        });
        until("it has begun", || begins.try_recv().is_ok()).await;
        assert!(timeout(SHORT, &mut call).await.is_err());
        call.abort();
        assert!(call.await.unwrap_err().is_aborted());
        let theirs = ran.clone();
        drop(spawn_blocking(move || theirs.fetch_add(1, Ordering::SeqCst)));
        drop(go);
        until("the first has ended", || ran.load(Ordering::SeqCst) >= 1).await;
    });
}

#[test]
fn a_runtime_does_not_wait_for_blocking_calls() {
    let (go, wait) = mpsc::channel::<()>();
    for case in cases() {
        let runtime = case.builder.build().unwrap();
        let (send, handle) = mpsc::channel();
        runtime.block_on(async { send.send(spawn_blocking(|| ())).unwrap() });
        drop(runtime);
        // Its result, if there is one, can be had from another runtime.
        let next = case.builder.build().unwrap();
        next.block_on(handle.recv().unwrap()).unwrap();
    }
    let runtime = ringbolt::Runtime::new().unwrap();
    let start = std::time::Instant::now();
    runtime.block_on(async { drop(spawn_blocking(move || wait.recv())) });
    drop(runtime);
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
    drop(go);
}
