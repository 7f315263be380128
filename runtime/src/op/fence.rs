//! A fence behind writes and syncs whose futures have gone: such a write may still land, and must
//! not land on top of a later one; such a sync may still fail, and its error must not be lost.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Knows the writes and syncs of one file that are in flight.
#[derive(Clone, Default)]
pub struct Fence(Rc<Inner>);

#[derive(Default)]
struct Inner {
    in_flight: RefCell<Vec<Entry>>,
    next: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
    failed: Cell<bool>,
}

/// One operation, from its beginning to its end, whether or not anybody takes its result.
struct Entry {
    id: u64,
    awaited: bool,
}

/// Held by an operation until it has ended.
pub struct Token {
    fence: Fence,
    id: u64,
}

/// Held by the caller of an operation while it waits.
#[derive(Debug)]
pub struct Awaiting {
    fence: Fence,
    id: u64,
}

impl Fence {
    /// A fence without operations.
    pub fn new() -> Fence {
        Fence::default()
    }

    /// Begins an operation: the first part goes with it, the second stays with who waits for it.
    pub fn begin(&self) -> (Token, Awaiting) {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        self.0.in_flight.borrow_mut().push(Entry { id, awaited: true });
        (Token { fence: self.clone(), id }, Awaiting { fence: self.clone(), id })
    }

    /// Operations in flight that nobody waits for.
    pub fn orphans(&self) -> usize {
        self.0.in_flight.borrow().iter().filter(|entry| !entry.awaited).count()
    }

    /// Whether a sync has failed, also one that nobody waited for.
    pub fn has_failed(&self) -> bool {
        self.0.failed.get()
    }

    /// Waits for the end of every operation that nobody waits for.
    pub async fn pass(&self) {
        poll_fn(|cx| {
            if self.orphans() == 0 {
                return Poll::Ready(());
            }
            let mut wakers = self.0.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Token {
    /// The sync that holds this has failed.
    pub(crate) fn fail(&self) {
        self.fence.0.failed.set(true);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let inner = &self.fence.0;
        let mut in_flight = inner.in_flight.borrow_mut();
        if let Some(at) = in_flight.iter().position(|entry| entry.id == self.id) {
            in_flight.swap_remove(at);
        }
        drop(in_flight);
        inner.wakers.take().into_iter().for_each(Waker::wake);
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        let mut in_flight = self.fence.0.in_flight.borrow_mut();
        if let Some(entry) = in_flight.iter_mut().find(|entry| entry.id == self.id) {
            entry.awaited = false;
        }
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("orphans", &self.orphans()).finish()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}
