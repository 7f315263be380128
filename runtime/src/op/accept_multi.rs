//! Multishot accept: connections belong to the listener, never to a future.
//!
//! The kernel is asked once and answers for every connection (io_uring_multishot(7), 5.19). What it
//! yields waits in a bounded queue of the listener. When the queue is full the request is cancelled
//! and made again once there is room; connections then wait in the kernel's backlog.

use super::accept::META;
use super::submit::start_multi;
use super::verdict::{self, Family, Verdict};
use super::{Cqe, MultiOp, OpMeta, Sqe, flag};
use crate::core::Core;
use crate::error;
use crate::fd::Fd;
use crate::sqe::Key;
use crate::sys::errno;
use crate::timer::Sleep;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Connections that wait in a listener before the kernel's backlog takes over.
const QUEUE_MAX: usize = 256;
/// Pauses while the process has no free descriptor; the longest is how late a release is noticed.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// Accepts connections for a listener.
pub struct AcceptMulti {
    fd: Fd,
    shared: Rc<Shared>,
    armed: Option<(Rc<Core>, Key)>,
    pause: Option<Sleep>,
    pause_next: Duration,
}

struct Shared {
    queue: RefCell<VecDeque<Fd>>,
    /// The final result of the request, once it has ended.
    ended: Cell<Option<i32>>,
    full: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

struct Request {
    fd: Fd,
    core: Rc<Core>,
    shared: Rc<Shared>,
}

impl AcceptMulti {
    /// Accepts from the listening socket `fd`; nothing happens before the first poll.
    pub fn new(fd: Fd) -> AcceptMulti {
        let shared = Shared {
            queue: RefCell::new(VecDeque::with_capacity(QUEUE_MAX)),
            ended: Cell::new(None),
            full: Cell::new(false),
            waker: Cell::new(None),
        };
        AcceptMulti { fd, shared: Rc::new(shared), armed: None, pause: None, pause_next: PAUSE_MIN }
    }

    /// The listening socket.
    pub fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Connections that have been accepted and wait for [`AcceptMulti::poll_accept`].
    pub fn queued(&self) -> usize {
        self.shared.queue.borrow().len()
    }

    /// The request, for who plays the driver.
    #[cfg(any(all(test, not(ringbolt_loom)), fuzzing))]
    pub(crate) fn armed_key(&self) -> Option<Key> {
        self.armed.as_ref().map(|(_, key)| *key)
    }

    /// The next connection. While the process has no free descriptor it pauses and tries again.
    ///
    /// # Errors
    ///
    /// Those of accept(2) that concern the listener itself.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Fd>> {
        loop {
            let next = self.shared.queue.borrow_mut().pop_front();
            if let Some(fd) = next {
                self.pause_next = PAUSE_MIN;
                return Poll::Ready(Ok(fd));
            }
            if let Some(pause) = &mut self.pause {
                if Pin::new(pause).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match self.check_end() {
                Ok(Verdict::Pause) => {
                    Core::current().counters().accept_pauses.add(1);
                    self.pause = Some(Sleep::new(self.pause_next));
                    self.pause_next = (self.pause_next * 2).min(PAUSE_MAX);
                    continue;
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            self.set_waker(cx.waker());
            if self.armed.is_some() {
                return Poll::Pending;
            }
            if !self.arm() {
                return Poll::Ready(Err(error::cancelled()));
            }
        }
    }

    /// Looks at how the request ended, if it has: what comes before it is made again.
    fn check_end(&mut self) -> io::Result<Verdict> {
        let Some(res) = self.shared.ended.take() else { return Ok(Verdict::Retry) };
        self.armed = None;
        // However the request ended, the next one may fill the queue again.
        let full = self.shared.full.replace(false);
        if res >= 0 || full && res == -errno::CANCELED {
            return Ok(Verdict::Retry);
        }
        match verdict::of(Family::AcceptMany, res.saturating_neg()) {
            verdict @ (Verdict::Retry | Verdict::Pause) => Ok(verdict),
            _ => Err(error::from_res(res)),
        }
    }

    fn arm(&mut self) -> bool {
        let core = Core::current();
        let request =
            Request { fd: self.fd.clone(), core: core.clone(), shared: self.shared.clone() };
        let Some(key) = start_multi(&core, request) else { return false };
        self.armed = Some((core, key));
        true
    }

    fn set_waker(&self, waker: &Waker) {
        let keep = match self.shared.waker.take() {
            Some(old) if old.will_wake(waker) => old,
            _ => waker.clone(),
        };
        self.shared.waker.set(Some(keep));
    }
}

impl Drop for AcceptMulti {
    fn drop(&mut self) {
        if let Some((core, key)) = self.armed.take() {
            core.slots.cancel(key);
        }
    }
}

impl fmt::Debug for AcceptMulti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptMulti").field("fd", &self.fd).field("queued", &self.queued()).finish()
    }
}

// SAFETY: the request names no memory.
unsafe impl MultiOp for Request {
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.raw();
        sqe.ioprio = flag::ACCEPT_MULTISHOT;
        sqe.op_flags = crate::sys::ACCEPT_FLAGS;
    }

    fn item(&mut self, cqe: Cqe) {
        if cqe.res >= 0 {
            // SAFETY: a successful accept yields a new descriptor, and its completion comes once.
            let fd = unsafe { Fd::accepted(cqe.res) };
            let mut queue = self.shared.queue.borrow_mut();
            queue.push_back(fd);
            if queue.len() >= QUEUE_MAX && !self.shared.full.replace(true) {
                self.core.slots.cancel(cqe.key);
            }
        }
        if cqe.is_final() {
            // A final completion may carry a connection; it is no failure then.
            self.shared.ended.set(Some(cqe.res));
        }
        if let Some(waker) = self.shared.waker.take() {
            waker.wake();
        }
    }
}
