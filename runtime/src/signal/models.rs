//! Signals that arrive while somebody begins to wait for them.

use super::{Signal, ctrl_c, lock, notify, termination};
use crate::sync::{model, thread};
use crate::sys::Termination;
use crate::turn::models::runtime;

/// No real handler is installed in a model.
fn listen() {
    lock().listening = true;
}

fn signal(what: Termination) -> thread::JoinHandle<()> {
    thread::spawn(move || notify(what))
}

#[test]
fn a_signal_wakes_who_waits() {
    model("a signal wakes who waits", || {
        listen();
        let (runtime, wait) = (runtime(), ctrl_c().unwrap());
        let thread = signal(Termination::Interrupt);
        runtime.block_on(wait);
        thread.join().unwrap();
    });
}

#[test]
fn a_signal_wakes_all_who_wait() {
    model("a signal wakes all who wait", || {
        listen();
        let waits: [Signal; 2] = [ctrl_c().unwrap(), termination().unwrap()];
        let cores = waits.map(|wait| thread::spawn(move || runtime().block_on(wait)));
        notify(Termination::Interrupt);
        cores.into_iter().for_each(|core| core.join().unwrap());
    });
}

#[test]
fn two_signals_are_told_apart() {
    model("two signals are told apart", || {
        listen();
        let (runtime, interrupt) = (runtime(), ctrl_c().unwrap());
        let threads = [Termination::Terminate, Termination::Interrupt].map(signal);
        runtime.block_on(interrupt);
        assert_eq!(lock().interrupts, 1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let state = lock();
        assert_eq!((state.interrupts, state.terminations), (1, 1));
    });
}
