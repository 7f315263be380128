//! Spawning, joining, aborting and panicking.

use crate::support::*;
use ringbolt::{JoinError, metrics, spawn, yield_now};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::rc::Rc;

/// Calls a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn tasks_return_what_they_make() {
    on_every_driver(async |_| {
        let handles: Vec<_> = (0..1000).map(|i| spawn(async move { i * 2 })).collect();
        for (i, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.await.unwrap(), i * 2);
        }
        // What is not `Send`, and has no size to speak of.
        let shared = Rc::new(Cell::new(1));
        let theirs = shared.clone();
        spawn(async move { theirs.set(2) }).await.unwrap();
        assert_eq!(shared.get(), 2);
        let before = metrics();
        assert_eq!((before.spawned, before.tasks, before.panics), (1001, 0, 0));
    });
}

#[test]
fn a_task_begins_after_its_parent_waits() {
    on_every_driver(async |_| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let note = |what: &'static str| {
            let log = log.clone();
            async move { log.borrow_mut().push(what) }
        };
        let (first, second) = (spawn(note("first")), spawn(note("second")));
        log.borrow_mut().push("parent");
        second.await.unwrap();
        first.await.unwrap();
        assert_eq!(*log.borrow(), ["parent", "first", "second"]);
    });
}

#[test]
fn yielding_tasks_take_turns() {
    on_every_driver(async |_| {
        let log = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..4)
            .map(|id| {
                let log = log.clone();
                spawn(async move {
                    for round in 0..5 {
                        log.borrow_mut().push((round, id));
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let wanted: Vec<_> = (0..5).flat_map(|round| (0..4).map(move |id| (round, id))).collect();
        assert_eq!(*log.borrow(), wanted);
    });
}

#[test]
fn tasks_spawn_tasks() {
    fn tree(depth: u32) -> Pin<Box<dyn Future<Output = u32>>> {
        Box::pin(async move {
            if depth == 0 {
                return 1;
            }
            let (left, right) = (spawn(tree(depth - 1)), spawn(tree(depth - 1)));
            left.await.unwrap() + right.await.unwrap()
        })
    }
    on_every_driver(async |_| assert_eq!(tree(9).await, 512));
}

#[test]
fn a_task_runs_on_without_its_handle() {
    on_every_driver(async |_| {
        let done = Rc::new(Cell::new(0));
        for _ in 0..10 {
            let done = done.clone();
            drop(spawn(async move {
                turns(3).await;
                done.set(done.get() + 1);
            }));
        }
        until("all are done", || done.get() == 10).await;
    });
}

#[test]
fn an_aborted_task_is_dropped_at_its_next_turn() {
    on_every_driver(async |_| {
        let dropped = Rc::new(Cell::new(0));
        let guard = || {
            let dropped = dropped.clone();
            OnDrop(move || dropped.set(dropped.get() + 1))
        };
        // Before its first turn, and while it waits.
        for waits in [0, 3] {
            let held = guard();
            let mut task = spawn(async move {
                let _held = held;
                pending::<()>().await;
            });
            turns(waits).await;
            assert!(!task.is_finished());
            task.abort();
            task.abort();
            assert!(matches!(task.await, Err(JoinError::Aborted)));
        }
        assert_eq!(dropped.get(), 2);
        // One that has finished keeps its result.
        let mut task = spawn(async { 7 });
        until("it has finished", || task.is_finished()).await;
        task.abort();
        assert_eq!(task.await.unwrap(), 7);
        // One that aborts itself ends when it waits.
        let mine = Rc::new(RefCell::new(None::<ringbolt::JoinHandle<()>>));
        let (theirs, held) = (mine.clone(), guard());
        *mine.borrow_mut() = Some(spawn(async move {
            let _held = held;
            theirs.borrow_mut().as_mut().expect("stored").abort();
            pending().await
        }));
        until("it is dropped", || dropped.get() == 3).await;
        let handle = mine.borrow_mut().take().expect("stored");
        assert!(handle.await.unwrap_err().is_aborted());
    });
}

#[test]
fn a_panic_ends_its_task_only() {
    on_every_driver(async |_| {
        let text = spawn(async { panic!("{} went wrong", "something") });
        let error: JoinError = text.await.unwrap_err();
        assert!(error.is_panic() && !error.is_aborted());
        assert_eq!(error.to_string(), "the task panicked: something went wrong");
        let error = spawn(async { std::panic::panic_any(5_u8) }).await.unwrap_err();
        assert_eq!(error.to_string(), "the task panicked");
        let error = io::Error::from(spawn(async { panic!("late") }).await.unwrap_err());
        assert_eq!(error.to_string(), "the task panicked: late");
        match spawn(async { std::panic::panic_any(5_u8) }).await {
            Err(JoinError::Panicked(payload)) => assert_eq!(*payload.downcast::<u8>().unwrap(), 5),
            other => panic!("{other:?}"),
        }
        // Between two waits, with an operation in flight.
        let watch = Watched::watch();
        let (fd, _peer) = fd_pair();
        let buf = watch.buffer(8);
        let task = spawn(async move {
            let mut recv = ringbolt::op::Submit::new(ringbolt::op::Recv::new(fd, buf));
            assert!(poll_once(&mut recv).await.is_pending());
            panic!("with a receive in flight");
        });
        assert!(task.await.unwrap_err().is_panic());
        no_operation().await;
        assert_eq!((watch.alive(), metrics().panics), (0, 5));
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn a_panic_in_a_destructor_ends_its_task_only() {
    on_every_driver(async |_| {
        let bomb = || OnDrop(|| panic!("in a destructor"));
        // Of what an aborted task holds.
        let held = bomb();
        let mut task = spawn(async move {
            let _held = held;
            pending::<()>().await;
        });
        turns(2).await;
        task.abort();
        drop(task);
        until("the task is gone", || metrics().tasks == 0).await;
        // Of what a finished task holds.
        let held = bomb();
        assert!(spawn(async move { drop(held) }).await.unwrap_err().is_panic());
        // Of an output that nobody takes.
        let output = bomb();
        drop(spawn(async move { output }));
        turns(5).await;
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        assert!(metrics().panics >= 2, "{:?}", metrics().panics);
    });
}

#[test]
fn a_long_chain_of_tasks_is_dropped() {
    let runtime = ringbolt::Runtime::new().unwrap();
    let dropped = Rc::new(Cell::new(0));
    let count = dropped.clone();
    runtime.block_on(async {
        // Each holds the handle of the one before, and waits for it.
        let mut last = spawn(pending::<()>());
        for _ in 0..20_000 {
            let count = count.clone();
            let guard = OnDrop(move || count.set(count.get() + 1));
            last = spawn(async move {
                let _guard = guard;
                drop(last.await);
            });
        }
        turns(100).await;
        drop(last);
    });
    drop(runtime);
    assert_eq!(dropped.get(), 20_000);
}

#[test]
fn outside_of_a_runtime_nothing_is_spawned() {
    let payload = std::thread::spawn(|| drop(spawn(async {}))).join().unwrap_err();
    let text = panic_text(&*payload);
    assert!(text.contains("no ringbolt runtime runs on this thread"), "{text}");
}

#[test]
fn destructors_may_spawn_and_wait_for_nothing() {
    let ran = Rc::new(Cell::new(false));
    let runtime = ringbolt::Runtime::new().unwrap();
    let inner = ran.clone();
    runtime.block_on(async {
        let guard = OnDrop(move || {
            let ran = inner.clone();
            // The runtime ends: the new task is dropped at once.
            drop(spawn(async move { ran.set(true) }));
        });
        drop(spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        }));
        turns(2).await;
    });
    let report = runtime.shutdown(std::time::Duration::from_secs(5));
    assert_eq!(report.operations_leaked, 0);
    assert!(!ran.get());
}
