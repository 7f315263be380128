//! How other threads reach a core: tasks to run, closures to call, and a bell if it sleeps.
//!
//! A sender pushes first and looks at `asleep` second; the core sets `asleep` first and looks at
//! the queue second. Both are sequentially consistent, so one of them sees the other, and a core
//! that is awake is never rung. All writes are swaps, also where the old value is of no interest:
//! so each comes after what it replaced, on every thread, at the price of a store of this order.

use crate::core::Core;
use crate::driver::Bell;
use crate::sync::{AtomicBool, AtomicUsize, Mutex};
use crate::sys::Origin;
use crate::task::Runnable;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A closure for the core's own thread.
pub(crate) type Call = Box<dyn FnOnce(&Rc<Core>) + Send>;

/// The mailbox of one core.
pub(crate) struct Mailbox {
    origin: Origin,
    inbox: Mutex<Inbox>,
    waiting: AtomicUsize,
    asleep: AtomicBool,
    /// Gone with the core, so that a waker that lives on holds none of its descriptors.
    bell: Mutex<Option<Arc<dyn Bell>>>,
}

#[derive(Default)]
struct Inbox {
    runnables: Vec<Runnable>,
    calls: Vec<Call>,
    closed: bool,
}

impl Mailbox {
    pub(crate) fn new(bell: Arc<dyn Bell>) -> Mailbox {
        let inbox = Inbox { runnables: Vec::with_capacity(64), ..Inbox::default() };
        Mailbox {
            origin: Origin::here(),
            inbox: Mutex::new(inbox),
            waiting: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            bell: Mutex::new(Some(bell)),
        }
    }

    /// Hands a woken task to its core.
    pub(crate) fn push(&self, runnable: Runnable) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.closed {
            drop(inbox);
            // The core dropped all its tasks, so this one holds no future any more; what is left
            // of it may only be freed on the core's thread, which has gone.
            std::mem::forget(runnable);
            return;
        }
        inbox.runnables.push(runnable);
        drop(inbox);
        self.announce();
    }

    /// Hands a closure to the core. It is given back if the core has gone.
    pub(crate) fn call(&self, call: Call) -> Result<(), Call> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.closed {
            return Err(call);
        }
        inbox.calls.push(call);
        drop(inbox);
        self.announce();
        Ok(())
    }

    /// Wakes the core if it sleeps.
    pub(crate) fn nudge(&self) {
        // A child shares the bell with its parent and has nothing to tell it.
        if self.asleep.swap(false, Ordering::SeqCst)
            && self.origin.is_here()
            && let Some(bell) = &*self.bell.lock().unwrap_or_else(PoisonError::into_inner)
        {
            bell.ring();
        }
    }

    /// The core's side: whether something waits.
    pub(crate) fn has_mail(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// The core's side: says that the core is about to sleep. It must look at `has_mail` after.
    pub(crate) fn set_asleep(&self, asleep: bool) {
        self.asleep.swap(asleep, Ordering::SeqCst);
    }

    /// The core's side: takes everything, into vectors that keep their memory.
    pub(crate) fn take(&self, runnables: &mut Vec<Runnable>, calls: &mut Vec<Call>) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.swap(0, Ordering::SeqCst);
        std::mem::swap(&mut inbox.runnables, runnables);
        std::mem::swap(&mut inbox.calls, calls);
    }

    /// The core's side: nothing is accepted from now on. What was accepted before is still to be
    /// taken, whether or not its sender has already said that there is mail.
    pub(crate) fn close(&self) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.closed = true;
        drop(inbox);
        *self.bell.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    #[cfg(all(test, ringbolt_loom))]
    pub(crate) fn bell(&self) -> Option<Arc<dyn Bell>> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn announce(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.nudge();
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("waiting", &self.waiting).finish()
    }
}

#[cfg(all(test, ringbolt_loom))]
mod models;
