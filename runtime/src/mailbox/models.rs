//! The mailbox by itself, with a core's side that takes and sleeps as a turn does.

use super::{Call, Mailbox};
use crate::driver::Bell;
use crate::driver::model::ModelBell;
use crate::sync::{AtomicUsize, model, thread};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

struct Side {
    mailbox: Arc<Mailbox>,
    bell: Arc<ModelBell>,
    calls: Vec<Call>,
    sleeps: usize,
}

impl Side {
    fn new() -> Side {
        let bell = ModelBell::new();
        let mailbox = Arc::new(Mailbox::new(bell.clone()));
        Side { mailbox, bell, calls: Vec::new(), sleeps: 0 }
    }

    /// Takes what there is; returns how many calls that were.
    fn take(&mut self) -> usize {
        if !self.mailbox.has_mail() {
            return 0;
        }
        self.mailbox.take(&mut Vec::new(), &mut self.calls);
        self.calls.drain(..).count()
    }

    fn sleep(&mut self) {
        self.mailbox.set_asleep(true);
        if self.mailbox.has_mail() {
            self.mailbox.set_asleep(false);
        } else {
            self.sleeps += 1;
            self.bell.sleep();
        }
        self.mailbox.set_asleep(false);
    }
}

/// A call that is never called, and can be counted.
fn call() -> Call {
    Box::new(|_| {})
}

fn callers<const N: usize>(mailbox: &Arc<Mailbox>) -> [thread::JoinHandle<()>; N] {
    [(); N].map(|()| {
        let mailbox = mailbox.clone();
        thread::spawn(move || assert!(mailbox.call(call()).is_ok()))
    })
}

fn join<const N: usize>(threads: [thread::JoinHandle<()>; N]) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_core_never_sleeps_over_mail() {
    model("a core never sleeps over mail", || {
        let mut side = Side::new();
        let threads = callers::<2>(&side.mailbox);
        let mut taken = 0;
        while taken < 2 {
            taken += side.take();
            if taken < 2 {
                side.sleep();
            }
        }
        join(threads);
        assert_eq!((taken, side.take()), (2, 0));
    });
}

#[test]
fn a_core_is_rung_once_per_sleep() {
    model("a core is rung once per sleep", || {
        let mut side = Side::new();
        let threads = callers::<2>(&side.mailbox);
        side.sleep();
        join(threads);
        assert!(side.bell.rings() <= 1, "{} rings for one sleep", side.bell.rings());
        assert_eq!(side.take(), 2);
    });
}

#[test]
fn a_core_that_is_awake_is_not_rung() {
    model("a core that is awake is not rung", || {
        let mut side = Side::new();
        let threads = callers::<2>(&side.mailbox);
        let mut taken = 0;
        while taken < 2 {
            taken += side.take();
            thread::yield_now();
        }
        join(threads);
        assert_eq!(side.bell.rings(), 0);
    });
}

#[test]
fn a_nudge_ends_a_sleep() {
    model("a nudge ends a sleep", || {
        let side = Side::new();
        let flag = Arc::new(AtomicUsize::new(0));
        let (mailbox, set) = (side.mailbox.clone(), flag.clone());
        let thread = thread::spawn(move || {
            set.store(1, SeqCst);
            mailbox.nudge();
        });
        // As a turn looks at the flag of the main future.
        side.mailbox.set_asleep(true);
        if flag.load(SeqCst) == 0 {
            side.bell.sleep();
        }
        side.mailbox.set_asleep(false);
        assert_eq!(flag.load(SeqCst), 1);
        thread.join().unwrap();
    });
}

#[test]
fn a_call_is_accepted_and_taken_or_given_back() {
    model("a call is accepted and taken, or given back", || {
        let mut side = Side::new();
        let threads = [(); 2].map(|()| {
            let mailbox = side.mailbox.clone();
            thread::spawn(move || usize::from(mailbox.call(call()).is_ok()))
        });
        let mut taken = side.take();
        side.mailbox.close();
        side.mailbox.take(&mut Vec::new(), &mut side.calls);
        taken += side.calls.drain(..).count();
        let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(taken, accepted);
    });
}

#[test]
fn a_bell_is_not_rung_after_the_mailbox_was_closed() {
    model("a bell is not rung after the mailbox was closed", || {
        let mut side = Side::new();
        let threads = callers_that_may_fail(&side.mailbox);
        // Goes on because of what it sees, while whoever left it may be about to ring.
        side.mailbox.set_asleep(true);
        while !side.mailbox.has_mail() {
            thread::yield_now();
        }
        side.mailbox.close();
        let rings = side.bell.rings();
        join(threads);
        assert_eq!(side.bell.rings(), rings, "rung after the end");
        assert!(side.take() >= 1);
        assert_eq!(Arc::strong_count(&side.bell), 1, "the bell is kept");
        // Nor does anybody ring it later.
        side.mailbox.set_asleep(true);
        side.mailbox.nudge();
        assert_eq!(side.bell.rings(), rings);
        let _: &dyn Bell = &*side.bell;
    });
}

fn callers_that_may_fail(mailbox: &Arc<Mailbox>) -> [thread::JoinHandle<()>; 2] {
    [(); 2].map(|()| {
        let mailbox = mailbox.clone();
        thread::spawn(move || drop(mailbox.call(call())))
    })
}
