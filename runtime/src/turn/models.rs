//! Wakes from other threads against the sleep and the end of a core, in every interleaving.
//!
//! The core is a real one but for its driver: `block_on`, turns, tasks, mailbox and shutdown are
//! those that ship. A wake that goes astray leaves the core asleep, which loom calls a deadlock.

use crate::sync::{AtomicBool, AtomicUsize, Mutex, model, thread};
use crate::{Builder, JoinHandle, Remote, Runtime, spawn};
use ringbolt_buffers::PoolConfig;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Poll, Waker};

/// A runtime of the calling thread, small and without a real driver.
pub(crate) fn runtime() -> Runtime {
    let pool = PoolConfig { buffer_len: 64, buffers: 1, buffers_max: 1, zeroize: false };
    Builder::new().driver(crate::DriverKind::Auto).pool(pool).build().unwrap()
}

/// A handle on a task of `runtime`, which has not run yet.
pub(crate) fn spawned<F>(runtime: &Runtime, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let mut future = Some(future);
    runtime.block_on(poll_fn(|_| Poll::Ready(spawn(future.take().expect("polled once")))))
}

/// Something that one thread opens and a task of another waits for.
pub(crate) struct Gate(Mutex<(bool, Option<Waker>)>);

impl Gate {
    pub(crate) fn new() -> Arc<Gate> {
        Arc::new(Gate(Mutex::new((false, None))))
    }

    pub(crate) fn open(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn opened(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.clone();
        poll_fn(move |cx| {
            let mut state = gate.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

fn opener(gate: &Arc<Gate>) -> thread::JoinHandle<()> {
    let gate = gate.clone();
    thread::spawn(move || gate.open())
}

/// Both, polled in turns.
async fn both(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let mut left = (true, true);
    poll_fn(|cx| {
        left.0 = left.0 && a.as_mut().poll(cx).is_pending();
        left.1 = left.1 && b.as_mut().poll(cx).is_pending();
        if left == (false, false) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_thread_wakes_the_main_future() {
    model("a thread wakes the main future", || {
        let (runtime, gate) = (runtime(), Gate::new());
        let thread = opener(&gate);
        runtime.block_on(gate.opened());
        thread.join().unwrap();
    });
}

#[test]
fn two_threads_wake_the_main_future() {
    model("two threads wake the main future", || {
        let (runtime, gates) = (runtime(), [Gate::new(), Gate::new()]);
        let threads = gates.each_ref().map(opener);
        runtime.block_on(both(gates[0].opened(), gates[1].opened()));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_thread_wakes_a_task() {
    model("a thread wakes a task", || {
        let (runtime, gate) = (runtime(), Gate::new());
        let thread = opener(&gate);
        runtime.block_on(async { spawn(gate.opened()).await.unwrap() });
        assert_eq!(runtime.metrics().panics, 0);
        thread.join().unwrap();
    });
}

#[test]
fn two_threads_wake_two_tasks() {
    model("two threads wake two tasks", || {
        let (runtime, gates) = (runtime(), [Gate::new(), Gate::new()]);
        let threads = gates.each_ref().map(opener);
        runtime.block_on(async {
            let tasks = gates.each_ref().map(|gate| spawn(gate.opened()));
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(runtime.metrics().panics, 0);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn the_main_future_and_a_task_are_woken_at_once() {
    model("the main future and a task are woken at once", || {
        let (runtime, gates) = (runtime(), [Gate::new(), Gate::new()]);
        let threads = gates.each_ref().map(opener);
        runtime.block_on(async {
            let task = spawn(gates[0].opened());
            both(gates[1].opened(), async { task.await.unwrap() }).await;
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn mail_that_comes_between_two_runs_is_found() {
    model("mail that comes between two runs is found", || {
        let (runtime, gate) = (runtime(), Gate::new());
        let handle = spawned(&runtime, gate.opened());
        let thread = opener(&gate);
        runtime.block_on(async {});
        runtime.block_on(handle).unwrap();
        thread.join().unwrap();
    });
}

// ---- The end ----

/// Counts the drops of what it is part of, on the thread that it belongs to.
struct Guard {
    home: thread::ThreadId,
    drops: Arc<AtomicUsize>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.home, "dropped on a foreign thread");
        self.drops.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_task_woken_during_shutdown_is_dropped_once_and_at_home() {
    model("a task woken during shutdown is dropped once and at home", || {
        let (runtime, gate, drops) = (runtime(), Gate::new(), Arc::new(AtomicUsize::new(0)));
        let guard = Guard { home: thread::current().id(), drops: drops.clone() };
        let opened = gate.opened();
        let handle = spawned(&runtime, async move {
            opened.await;
            drop(guard);
            pending::<()>().await;
        });
        runtime.block_on(crate::yield_now());
        // Loom does not see into the state of the task, so this tells it that the order matters.
        let order = Arc::new(AtomicUsize::new(0));
        let (open, turn) = (gate.clone(), order.clone());
        let thread = thread::spawn(move || {
            turn.fetch_add(1, SeqCst);
            open.open();
        });
        order.fetch_add(1, SeqCst);
        drop(runtime);
        assert_eq!(drops.load(SeqCst), 1);
        assert!(handle.is_finished());
        thread.join().unwrap();
        assert_eq!(drops.load(SeqCst), 1);
    });
}

#[test]
fn a_call_during_shutdown_is_answered() {
    model("a call during shutdown is answered", || {
        let asks = runtime();
        let (there, remote) = (Gate::new(), Arc::new(Mutex::new(None)));
        let (ready, place) = (there.clone(), remote.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime();
            *place.lock().unwrap() = Some(runtime.remote());
            ready.open();
            drop(runtime);
        });
        asks.block_on(async {
            there.opened().await;
            let remote: Remote = remote.lock().unwrap().take().expect("it was left there");
            let answer = remote.spawn(|| async { 1 }).await;
            assert!(answer.unwrap_err().is_aborted(), "nothing ran there");
        });
        thread.join().unwrap();
    });
}

#[test]
fn calls_of_two_threads_during_shutdown_are_answered() {
    model("calls of two threads during shutdown are answered", || {
        let runtime = runtime();
        let threads = [(); 2].map(|()| {
            let remote = runtime.remote();
            thread::spawn(move || {
                let dropped = Arc::new(AtomicUsize::new(0));
                let token = Token(dropped.clone());
                (remote.spawn(move || async move { drop(token) }), remote, dropped)
            })
        });
        drop(runtime);
        for thread in threads {
            let (handle, _remote, dropped) = thread.join().unwrap();
            // Nobody is left to run it, and it must not wait in the mailbox of a core that is gone.
            assert_eq!(dropped.load(SeqCst), 1);
            drop(handle);
        }
    });
}

struct Token(Arc<AtomicUsize>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_core_that_has_gone_is_not_rung() {
    model("a core that has gone is not rung", || {
        let (runtime, opened) = (runtime(), Arc::new(AtomicBool::new(false)));
        let threads = [(); 2].map(|()| {
            let (remote, opened) = (runtime.remote(), opened.clone());
            thread::spawn(move || {
                drop(remote.spawn(move || async move { opened.store(true, SeqCst) }));
            })
        });
        // The core ends when it has seen either call, while the other thread may be about to ring.
        runtime.block_on(async {
            while !opened.load(SeqCst) {
                thread::yield_now();
                crate::yield_now().await;
            }
        });
        drop(runtime);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_waker_that_lives_on_holds_no_bell() {
    model("a waker that lives on holds no bell", || {
        let runtime = runtime();
        let main = runtime.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
        let bell = Arc::downgrade(&runtime.mailbox().bell().expect("it lives"));
        let other = main.clone();
        let thread = thread::spawn(move || other.wake());
        runtime.block_on(async {
            crate::yield_now().await;
        });
        drop(runtime);
        thread.join().unwrap();
        assert!(bell.upgrade().is_none(), "the bell outlives its core");
        main.wake();
    });
}
