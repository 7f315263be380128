//! Helper threads for calls that may block: bounded, started when needed, gone when idle.
//!
//! The readiness driver executes file requests here; `spawn_blocking` and name resolution have
//! pools of their own, so that a resolver that hangs never delays a file.

use crate::driver::Bell;
use crate::sqe::{Cqe, Key, OpMeta, Sqe};
use crate::sync::{Condvar, Mutex, MutexGuard, const_fn, statics, thread, wait_while};
use crate::sys::Origin;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long an idle helper stays.
const IDLE: Duration = Duration::from_secs(10);

statics! {
    /// Helpers for file requests of all cores.
    pub(crate) static FILES: Helpers = Helpers::new("ringbolt-file", 16);
    /// Helpers for `spawn_blocking`.
    pub(crate) static BLOCKING: Helpers = Helpers::new("ringbolt-block", 256);
    /// Helpers for name resolution.
    pub(crate) static RESOLVER: Helpers = Helpers::new("ringbolt-dns", 8);
}

/// A bounded pool of threads.
pub(crate) struct Helpers {
    name: &'static str,
    threads_max: usize,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    /// Whose threads these are: a child of fork(2) has none of them.
    origin: Option<Origin>,
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

enum Job {
    Request(Sqe, &'static OpMeta, Arc<Outbox>),
    Run(Box<dyn FnOnce() + Send>),
}

/// Where the results of a core's file requests arrive.
pub(crate) struct Outbox {
    results: Mutex<Vec<Cqe>>,
    bell: Arc<dyn Bell>,
}

impl Outbox {
    pub(crate) fn new(bell: Arc<dyn Bell>) -> Arc<Outbox> {
        Arc::new(Outbox { results: Mutex::new(Vec::with_capacity(64)), bell })
    }

    /// Moves what has arrived to the end of `results`.
    pub(crate) fn drain(&self, results: &mut Vec<Cqe>) -> usize {
        let mut arrived = lock(&self.results);
        let count = arrived.len();
        results.append(&mut arrived);
        count
    }

    fn push(&self, cqe: Cqe) {
        lock(&self.results).push(cqe);
        self.bell.ring();
    }
}

impl State {
    const fn new(origin: Option<Origin>) -> State {
        State { origin, jobs: VecDeque::new(), threads: 0, idle: 0 }
    }
}

impl Helpers {
    const_fn! {
        fn new(name: &'static str, threads_max: usize) -> Helpers {
            let state = State::new(None);
            Helpers { name, threads_max, state: Mutex::new(state), work: Condvar::new() }
        }
    }

    /// Executes a request; its result arrives in `outbox`.
    pub(crate) fn execute(&'static self, sqe: Sqe, meta: &'static OpMeta, outbox: &Arc<Outbox>) {
        if let Err(error) = self.push(Job::Request(sqe, meta, outbox.clone())) {
            let res = crate::error::to_res(&error);
            outbox.push(Cqe { key: Key(sqe.user_data), res, flags: 0 });
        }
    }

    /// Runs `job`, which must not unwind, on a helper.
    ///
    /// # Errors
    ///
    /// When no thread runs and none can be started; the job is dropped.
    pub(crate) fn run(&'static self, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.push(Job::Run(job))
    }

    /// Takes a request back that no helper has begun. True if it was found.
    pub(crate) fn take_back(&self, key: Key, outbox: &Arc<Outbox>) -> bool {
        let mut state = lock(&self.state);
        let place = state.jobs.iter().position(|job| match job {
            Job::Request(sqe, _, to) => sqe.user_data == key.0 && Arc::ptr_eq(to, outbox),
            Job::Run(_) => false,
        });
        place.map(|at| state.jobs.remove(at)).is_some()
    }

    fn push(&'static self, job: Job) -> io::Result<()> {
        let mut state = lock(&self.state);
        if !state.origin.is_some_and(Origin::is_here) {
            // What waited is the parent's, and not even dropped here.
            std::mem::forget(std::mem::replace(&mut *state, State::new(Some(Origin::here()))));
        }
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.work.notify_one();
        } else if state.threads < self.threads_max {
            state.threads += 1;
            let spawned = thread::Builder::new().name(self.name.into()).spawn(move || self.help());
            if let Err(error) = spawned {
                state.threads -= 1;
                if state.threads == 0 {
                    state.jobs.pop_back();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn help(&self) {
        let mut state = lock(&self.state);
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                job.finish();
                state = lock(&self.state);
            }
            state.idle += 1;
            let (guard, in_vain) = wait_while(&self.work, state, IDLE, |s| s.jobs.is_empty());
            state = guard;
            state.idle -= 1;
            if in_vain {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl Job {
    fn finish(self) {
        match self {
            Job::Request(mut sqe, meta, outbox) => {
                // SAFETY: 1. and 2. the slot keeps the operation's memory and descriptor until the
                // result that is pushed below.
                let res = unsafe { (meta.call)(&mut sqe) };
                outbox.push(Cqe { key: Key(sqe.user_data), res, flags: 0 });
            }
            // A job that unwinds all the same must not take the helper with it.
            Job::Run(job) => drop(catch_unwind(AssertUnwindSafe(job))),
        }
    }
}

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helpers").field("name", &self.name).finish()
    }
}

/// Locks also after a panic: no code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, ringbolt_loom))]
mod models;
