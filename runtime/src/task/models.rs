//! Handles on tasks of other cores: they are answered, whatever they meet.

use crate::sync::{AtomicBool, AtomicUsize, model, thread};
use crate::turn::models::{Gate, runtime, spawned};
use crate::{Remote, spawn};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// A thread with a core that runs `main`, and how to reach it.
fn other_core<F>(main: impl FnOnce() -> F + Send + 'static) -> (Remote, thread::JoinHandle<()>)
where
    F: Future<Output = ()> + 'static,
{
    let place = Arc::new(crate::sync::Mutex::new(None));
    let (started, left) = (Arc::new(crate::sync::Condvar::new()), place.clone());
    let start = started.clone();
    let thread = thread::spawn(move || {
        let runtime = runtime();
        *left.lock().unwrap() = Some(runtime.remote());
        start.notify_one();
        runtime.block_on(main());
    });
    let mut remote = place.lock().unwrap();
    while remote.is_none() {
        remote = started.wait(remote).unwrap();
    }
    (remote.take().expect("just seen"), thread)
}

#[test]
fn a_remote_task_answers() {
    model("a remote task answers", || {
        let gate = Gate::new();
        let (remote, thread) = other_core({
            let gate = gate.clone();
            move || gate.opened()
        });
        let value = runtime().block_on(async move {
            let value = remote.spawn(|| async { 6 * 7 }).await.unwrap();
            gate.open();
            value
        });
        assert_eq!(value, 42);
        thread.join().unwrap();
    });
}

#[test]
fn a_core_that_ends_answers_what_it_was_asked() {
    model("a core that ends answers what it was asked", || {
        let (remote, thread) = other_core(async || {});
        let ran = Arc::new(AtomicBool::new(false));
        let runs = ran.clone();
        let answer = runtime().block_on(async move {
            remote.spawn(move || async move { runs.store(true, SeqCst) }).await
        });
        assert!(answer.is_err() || ran.load(SeqCst), "answered before it ran");
        thread.join().unwrap();
    });
}

#[test]
fn an_abort_is_final() {
    model("an abort is final", || {
        let runtime = runtime();
        let (remote, ran) = (runtime.remote(), Arc::new(AtomicBool::new(false)));
        let runs = ran.clone();
        let thread = thread::spawn(move || {
            let mut handle = remote.spawn(move || async move {
                runs.store(true, SeqCst);
            });
            handle.abort();
            (handle, ran.load(SeqCst))
        });
        // Runs what was left here, if it is in time.
        runtime.block_on(crate::yield_now());
        let (handle, began) = thread.join().unwrap();
        let answer = runtime.block_on(handle);
        assert!(began || answer.unwrap_err().is_aborted(), "a value after the abort");
    });
}

#[test]
fn an_aborted_task_that_has_not_begun_never_does() {
    model("an aborted task that has not begun never does", || {
        let runtime = runtime();
        let (remote, ran) = (runtime.remote(), Arc::new(AtomicUsize::new(0)));
        let aborted = Arc::new(AtomicBool::new(false));
        let (runs, told) = (ran.clone(), aborted.clone());
        let thread = thread::spawn(move || {
            let runs = [runs.clone(), runs];
            let [mut first, second] = runs.map(|runs| {
                remote.spawn(move || async move {
                    runs.fetch_add(1, SeqCst);
                })
            });
            first.abort();
            told.store(true, SeqCst);
            second
        });
        while !aborted.load(SeqCst) {
            thread::yield_now();
        }
        runtime.block_on(async {
            crate::yield_now().await;
            thread.join().unwrap().await.unwrap();
        });
        assert_eq!(ran.load(SeqCst), 1, "only the second one runs");
    });
}

#[test]
fn a_task_runs_though_its_handle_is_dropped() {
    model("a task runs though its handle is dropped", || {
        let (runtime, gate) = (runtime(), Gate::new());
        let (remote, done) = (runtime.remote(), gate.clone());
        let thread = thread::spawn(move || drop(remote.spawn(move || async move { done.open() })));
        runtime.block_on(gate.opened());
        thread.join().unwrap();
    });
}

#[test]
fn a_handle_that_moved_to_another_core_gets_the_value() {
    model("a handle that moved to another core gets the value", || {
        let (runtime, gate) = (runtime(), Gate::new());
        let home = thread::current().id();
        let opened = gate.opened();
        let handle = spawned(&runtime, async move {
            opened.await;
            assert_eq!(thread::current().id(), home, "it ran on the core that woke it");
            7
        });
        let done = Gate::new();
        let (end, open) = (done.clone(), gate.clone());
        let thread = thread::spawn(move || {
            let there = crate::turn::models::runtime();
            there.block_on(async move {
                open.open();
                assert_eq!(handle.await.unwrap(), 7);
                end.open();
            });
        });
        runtime.block_on(done.opened());
        thread.join().unwrap();
    });
}

#[test]
fn an_abort_from_another_core_meets_its_own_task() {
    model("an abort from another core meets its own task", || {
        let (runtime, gate) = (runtime(), Gate::new());
        let mut handle = spawned(&runtime, std::future::pending::<()>());
        let end = gate.clone();
        let thread = thread::spawn(move || {
            let there = crate::turn::models::runtime();
            there.block_on(async move {
                // It has the same place in its core's list as the one to be aborted has in its own.
                let innocent = spawn(async { 1 });
                handle.abort();
                assert!(handle.await.unwrap_err().is_aborted());
                assert_eq!(innocent.await.unwrap(), 1);
            });
            end.open();
        });
        runtime.block_on(gate.opened());
        thread.join().unwrap();
        drop(runtime);
    });
}
