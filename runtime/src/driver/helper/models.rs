//! Helpers: jobs are done whatever the helpers are about to do, and each exactly once.

use super::{Helpers, Outbox, lock};
use crate::driver::model::ModelBell;
use crate::sqe::{Class, Cqe, Key, OpMeta, Sqe, opcode};
use crate::sync::{AtomicUsize, Condvar, Mutex, let_time_pass, model, statics, thread};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

statics! {
    static ONE: Helpers = Helpers::new("one", 1);
    static TWO: Helpers = Helpers::new("two", 2);
    static CALLS: AtomicUsize = AtomicUsize::new(0);
}

static META: OpMeta = OpMeta {
    name: "model",
    opcode: opcode::NOP,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        CALLS.fetch_add(1, SeqCst);
        sqe.user_data as i32
    },
};

fn request(key: u64) -> Sqe {
    let mut sqe = Sqe::new(opcode::NOP, -1);
    sqe.user_data = key;
    sqe
}

impl Helpers {
    /// Lets all helpers leave, and waits until they have. A job may still come before they do.
    fn retire(&self) {
        let_time_pass();
        loop {
            // Under the lock: nobody is between the look at the time and the sleep.
            let state = lock(&self.state);
            self.work.notify_all();
            if state.threads == 0 {
                assert_eq!((state.jobs.len(), state.idle), (0, 0));
                return;
            }
            drop(state);
            thread::yield_now();
        }
    }
}

/// Something to wait for outside of a core.
#[derive(Clone)]
struct Flag(Arc<(Mutex<usize>, Condvar)>);

impl Flag {
    fn new() -> Flag {
        Flag(Arc::new((Mutex::new(0), Condvar::new())))
    }

    fn raise(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_all();
    }

    fn wait(&self, count: usize) {
        let mut raised = self.0.0.lock().unwrap();
        while *raised < count {
            raised = self.0.1.wait(raised).unwrap();
        }
    }
}

#[test]
fn two_jobs_run_at_the_same_time() {
    model("two jobs run at the same time", || {
        let flags = [Flag::new(), Flag::new()];
        for (mine, other) in [(0, 1), (1, 0)] {
            let (mine, other) = (flags[mine].clone(), flags[other].clone());
            let job = move || {
                mine.raise();
                other.wait(1);
                mine.raise();
            };
            TWO.run(Box::new(job)).unwrap();
        }
        flags.iter().for_each(|flag| flag.wait(2));
        TWO.retire();
    });
}

#[test]
fn an_idle_helper_hears_of_a_job() {
    model("an idle helper hears of a job", || {
        let done = Flag::new();
        for count in 1..=2 {
            let raise = done.clone();
            ONE.run(Box::new(move || raise.raise())).unwrap();
            done.wait(count);
        }
        ONE.retire();
    });
}

#[test]
fn a_job_that_comes_when_its_helper_leaves_is_done() {
    model("a job that comes when its helper leaves is done", || {
        let done = Flag::new();
        let raise = done.clone();
        ONE.run(Box::new(move || raise.raise())).unwrap();
        done.wait(1);
        let raise = done.clone();
        let thread = thread::spawn(move || ONE.run(Box::new(move || raise.raise())).unwrap());
        let_time_pass();
        // Nobody is between the look at the time and the sleep.
        drop(lock(&ONE.state));
        ONE.work.notify_all();
        done.wait(2);
        thread.join().unwrap();
        ONE.retire();
    });
}

#[test]
fn a_request_is_taken_back_or_executed() {
    model("a request is taken back or executed", || {
        let bell = ModelBell::new();
        let outbox = Outbox::new(bell.clone());
        let (first, second) = (request(1), request(2));
        ONE.execute(first, &META, &outbox);
        ONE.execute(second, &META, &outbox);
        let expected = if ONE.take_back(Key(2), &outbox) { vec![1] } else { vec![1, 2] };
        let mut results: Vec<Cqe> = Vec::new();
        while results.len() < expected.len() {
            if outbox.drain(&mut results) == 0 {
                bell.sleep();
            }
        }
        ONE.retire();
        outbox.drain(&mut results);
        assert_eq!(results.iter().map(|cqe| cqe.res).collect::<Vec<_>>(), expected);
        assert_eq!(CALLS.load(SeqCst), expected.len());
        assert!(!ONE.take_back(Key(1), &outbox));
    });
}

#[test]
fn a_result_rings_the_core_that_waits_for_it() {
    model("a result rings the core that waits for it", || {
        let bell = ModelBell::new();
        let outbox = Outbox::new(bell.clone());
        ONE.execute(request(3), &META, &outbox);
        ONE.execute(request(4), &META, &outbox);
        let mut results = Vec::new();
        while results.len() < 2 {
            if outbox.drain(&mut results) == 0 {
                bell.sleep();
            }
        }
        ONE.retire();
        assert_eq!(results.iter().map(|cqe| cqe.key.0).collect::<Vec<_>>(), [3, 4]);
    });
}

#[test]
fn results_go_to_the_core_that_asked() {
    model("results go to the core that asked", || {
        let ask = |key| {
            let bell = ModelBell::new();
            let outbox = Outbox::new(bell.clone());
            ONE.execute(request(key), &META, &outbox);
            let mut results = Vec::new();
            while outbox.drain(&mut results) == 0 {
                bell.sleep();
            }
            assert_eq!(results.iter().map(|cqe| cqe.key.0).collect::<Vec<_>>(), [key]);
        };
        let other = thread::spawn(move || ask(4));
        ask(3);
        other.join().unwrap();
        ONE.retire();
    });
}

#[test]
fn a_blocking_call_wakes_its_core() {
    model("a blocking call wakes its core", || {
        let runtime = crate::turn::models::runtime();
        let value = runtime.block_on(crate::spawn_blocking(|| 5)).unwrap();
        assert_eq!(value, 5);
        super::BLOCKING.retire();
    });
}
