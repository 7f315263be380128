//! A fence behind writes whose futures have gone: such a write may still land, and must not land on
//! top of a later one.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Counts the writes of one file that nobody waits for any more.
#[derive(Clone, Default)]
pub struct Fence(Rc<Counts>);

#[derive(Default)]
struct Counts {
    in_slots: Cell<usize>,
    awaited: Cell<usize>,
    waker: Cell<Option<Waker>>,
}

/// Held by a write operation until it has ended.
pub(crate) struct Token(Fence);

/// Held by the caller of a write while it waits.
#[derive(Debug)]
pub struct Awaiting(Fence);

impl Fence {
    /// A fence without writes.
    pub fn new() -> Fence {
        Fence::default()
    }

    pub(crate) fn token(&self) -> Token {
        self.0.in_slots.set(self.0.in_slots.get() + 1);
        Token(self.clone())
    }

    /// Says that the caller waits for a write until the guard is dropped.
    pub fn awaiting(&self) -> Awaiting {
        self.0.awaited.set(self.0.awaited.get() + 1);
        Awaiting(self.clone())
    }

    /// Writes in flight that nobody waits for.
    pub fn orphans(&self) -> usize {
        self.0.in_slots.get().saturating_sub(self.0.awaited.get())
    }

    /// Waits for the end of every write that nobody waits for.
    pub async fn pass(&self) {
        poll_fn(|cx| {
            if self.orphans() == 0 {
                return Poll::Ready(());
            }
            self.0.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let counts = &self.0.0;
        counts.in_slots.set(counts.in_slots.get() - 1);
        if let Some(waker) = counts.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        let counts = &self.0.0;
        counts.awaited.set(counts.awaited.get() - 1);
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("orphans", &self.orphans()).finish()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
