//! Tasks and handles against a model, on one thread: what is polled, dropped, finished and joined,
//! whatever is done in whichever order.

use super::{JoinError, JoinHandle, spawn, yield_now};
use crate::{Builder, Runtime, metrics};
use proptest::prelude::*;
use ringbolt_buffers::PoolConfig;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What can happen to one of the tasks.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A task that ends after so many pokes.
    Spawn(u8),
    Poke(usize),
    /// Its next poll panics.
    Poison(usize),
    Abort(usize),
    DropHandle(usize),
    Join(usize),
    /// All ready tasks run once.
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    let task = 0usize..8;
    prop_oneof![
        3 => (0u8..3).prop_map(Step::Spawn),
        3 => task.clone().prop_map(Step::Poke),
        1 => task.clone().prop_map(Step::Poison),
        2 => task.clone().prop_map(Step::Abort),
        1 => task.clone().prop_map(Step::DropHandle),
        3 => task.prop_map(Step::Join),
        3 => Just(Step::Turn),
    ]
}

/// What a task and the test share.
#[derive(Default)]
struct Inside {
    left: Cell<u8>,
    poisoned: Cell<bool>,
    polls: Cell<u32>,
    drops: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

impl Inside {
    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }
}

struct Body(Rc<Inside>);

impl Future for Body {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        let inside = &self.0;
        inside.polls.set(inside.polls.get() + 1);
        if inside.poisoned.get() {
            // As a panic, but without a message.
            resume_unwind(Box::new("poisoned"));
        }
        if inside.left.get() == 0 {
            return Poll::Ready(inside.polls.get());
        }
        *inside.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.0.drops.set(self.0.drops.get() + 1);
    }
}

/// How a task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Value(u32),
    Panic,
    Aborted,
}

struct Task {
    inside: Rc<Inside>,
    handle: Option<JoinHandle<u32>>,
    // The model of it.
    left: u8,
    poisoned: bool,
    polls: u32,
    ready: bool,
    aborted: bool,
    end: Option<End>,
}

impl Task {
    fn new(pokes: u8) -> Task {
        let inside = Rc::new(Inside::default());
        inside.left.set(pokes);
        Task {
            handle: Some(spawn(Body(inside.clone()))),
            inside,
            left: pokes,
            poisoned: false,
            polls: 0,
            ready: true,
            aborted: false,
            end: None,
        }
    }

    fn poke(&mut self) {
        if self.left > 0 {
            self.left -= 1;
            self.inside.left.set(self.left);
        }
        self.wake();
    }

    fn wake(&mut self) {
        // Before its first poll it is ready anyhow, and nobody has its waker.
        self.inside.wake();
        self.ready |= self.end.is_none();
    }

    fn abort(&mut self) {
        if let Some(handle) = &mut self.handle {
            handle.abort();
            if self.end.is_none() {
                (self.aborted, self.ready) = (true, true);
            }
        }
    }

    /// What a turn does to it.
    fn turn(&mut self) {
        if !std::mem::take(&mut self.ready) {
            return;
        }
        if self.aborted {
            self.end = Some(End::Aborted);
            return;
        }
        self.polls += 1;
        if self.poisoned {
            self.end = Some(End::Panic);
        } else if self.left == 0 {
            self.end = Some(End::Value(self.polls));
        }
    }

    async fn join(&mut self) {
        let Some(handle) = &mut self.handle else { return };
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *handle).poll(cx))).await;
        let end = match polled {
            Poll::Pending => None,
            Poll::Ready(Ok(value)) => Some(End::Value(value)),
            Poll::Ready(Err(JoinError::Aborted)) => Some(End::Aborted),
            Poll::Ready(Err(JoinError::Panicked(_))) => Some(End::Panic),
        };
        assert_eq!(end, self.end, "what the handle says");
        if end.is_some() {
            self.handle = None;
        }
    }

    fn check(&self) {
        assert_eq!(self.inside.polls.get(), self.polls, "polls");
        assert_eq!(self.inside.drops.get(), u32::from(self.end.is_some()), "drops");
        if let Some(handle) = &self.handle {
            assert_eq!(handle.is_finished(), self.end.is_some(), "finished");
        }
    }
}

fn pick(tasks: &mut [Task], at: usize) -> Option<&mut Task> {
    let count = tasks.len();
    tasks.get_mut(at % count.max(1))
}

async fn run(steps: &[Step]) -> Vec<Rc<Inside>> {
    let mut tasks: Vec<Task> = Vec::new();
    let (panics, spawned) = (metrics().panics, metrics().spawned);
    for step in steps {
        match *step {
            Step::Spawn(pokes) => tasks.push(Task::new(pokes)),
            Step::Poke(at) => pick(&mut tasks, at).into_iter().for_each(Task::poke),
            Step::Poison(at) => pick(&mut tasks, at).into_iter().for_each(|task| {
                task.poisoned = true;
                task.inside.poisoned.set(true);
                task.wake();
            }),
            Step::Abort(at) => pick(&mut tasks, at).into_iter().for_each(Task::abort),
            Step::DropHandle(at) => {
                pick(&mut tasks, at).into_iter().for_each(|task| task.handle = None)
            }
            Step::Join(at) => {
                if let Some(task) = pick(&mut tasks, at) {
                    task.join().await;
                }
            }
            Step::Turn => {
                yield_now().await;
                tasks.iter_mut().for_each(Task::turn);
            }
        }
        tasks.iter().for_each(Task::check);
        let alive = tasks.iter().filter(|task| task.end.is_none()).count();
        assert_eq!(metrics().tasks, alive as u64, "tasks");
    }
    let broken = tasks.iter().filter(|task| task.end == Some(End::Panic)).count();
    assert_eq!(metrics().panics - panics, broken as u64, "panics");
    assert_eq!(metrics().spawned - spawned, tasks.len() as u64, "spawned");
    tasks.into_iter().map(|task| task.inside).collect()
}

fn runtime() -> Runtime {
    let pool = PoolConfig { buffer_len: 64, buffers: 1, buffers_max: 1, ..PoolConfig::default() };
    Builder::new().pool(pool).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    /// Each case has a runtime of its own, which ends with tasks in any state.
    #[test]
    fn tasks_and_handles_follow_their_model(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let runtime = runtime();
        let insides = runtime.block_on(run(&steps));
        drop(runtime);
        assert!(insides.iter().all(|inside| inside.drops.get() == 1));
    }
}
