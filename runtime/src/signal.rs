//! Requests to end: Ctrl-C, SIGTERM, a console that is closed.

use crate::sync::{Mutex, MutexGuard, statics};
use crate::sys::{self, Termination};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
struct State {
    listening: bool,
    interrupts: u64,
    terminations: u64,
    wakers: Vec<Waker>,
}

statics! {
    static STATE: Mutex<State> =
        Mutex::new(State { listening: false, interrupts: 0, terminations: 0, wakers: Vec::new() });
}

/// Waits for Ctrl-C (SIGINT on Unix).
///
/// From the first call on, the signal does not end the process any more.
///
/// # Errors
///
/// When the handler cannot be installed.
pub fn ctrl_c() -> io::Result<Signal> {
    Signal::new(|state| state.interrupts)
}

/// Waits for a request to end the process: Ctrl-C or SIGTERM on Unix; Ctrl-C, Ctrl-Break or the end
/// of console or session on Windows.
///
/// From the first call on, these do not end the process any more.
///
/// # Errors
///
/// When the handler cannot be installed.
pub fn termination() -> io::Result<Signal> {
    Signal::new(|state| state.interrupts + state.terminations)
}

/// The future of a signal that comes after this was made.
#[derive(Debug)]
#[must_use = "await it"]
pub struct Signal {
    count: fn(&State) -> u64,
    seen: u64,
}

impl Signal {
    fn new(count: fn(&State) -> u64) -> io::Result<Signal> {
        let mut state = lock();
        if !state.listening {
            sys::on_termination(notify)?;
            state.listening = true;
        }
        Ok(Signal { count, seen: count(&state) })
    }
}

impl Future for Signal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock();
        if (self.count)(&state) != self.seen {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

fn notify(what: Termination) {
    let mut state = lock();
    match what {
        Termination::Interrupt => state.interrupts += 1,
        Termination::Terminate => state.terminations += 1,
    }
    let wakers = std::mem::take(&mut state.wakers);
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, ringbolt_loom))]
mod models;
