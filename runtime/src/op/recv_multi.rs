//! Multishot receive: bytes belong to the connection, never to a future.
//!
//! The kernel is asked once and fills buffers of the core's pool as data comes
//! (io_uring_multishot(7), 6.0). What it yields waits in the connection as leased [`Chunk`]s. A
//! byte limit goes with the request, so that a connection whose reader is slow holds no more than
//! [`HELD_MAX`]; then the data waits in the socket and the peer is slowed down. Where the pool is
//! empty and may not grow, one receive into memory of its own takes over, so that no connection
//! waits for another one's leases.

use super::recv::{META, Recv};
use super::submit::start_multi;
use super::verdict::{self, Family, Verdict};
use super::{Cqe, Lane, MultiOp, OpMeta, Sqe, flag};
use crate::core::Core;
use crate::error;
use crate::fd::Fd;
use crate::sqe::Key;
use crate::sys::errno;
use ringbolt_buffers::{BufResult, Chunk, Pool};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes that wait in one connection before its peer is slowed down.
const HELD_MAX: usize = 256 * 1024;
/// Bytes of a receive that does without the pool.
const ALONE_LEN: usize = 4096;
/// Receives without the pool after it was found empty, before it is tried again.
const ALONE_RUN: u32 = 16;

/// Receives for a connection.
pub struct RecvMulti {
    fd: Fd,
    shared: Rc<Shared>,
    armed: Option<(Rc<Core>, Key)>,
    at_end: bool,
    /// Receives to come that do without the pool.
    alone: u32,
}

#[derive(Default)]
struct Shared {
    queue: RefCell<VecDeque<Chunk>>,
    held: Cell<usize>,
    /// The final result of the request, once it has ended.
    ended: Cell<Option<i32>>,
    paused: Cell<bool>,
    /// Bytes were reported without the buffer that they are in.
    broken: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

struct Request {
    fd: Fd,
    core: Rc<Core>,
    pool: Pool,
    shared: Rc<Shared>,
}

/// Why there is no chunk.
enum Empty {
    /// The request is in flight.
    Waiting,
    /// The pool has nothing to lend.
    Starved,
}

impl RecvMulti {
    /// Receives from the socket `fd`; nothing happens before the first poll.
    pub fn new(fd: Fd) -> RecvMulti {
        RecvMulti { fd, shared: Rc::default(), armed: None, at_end: false, alone: 0 }
    }

    /// Whether something was received that has not been handed out, or a request is in flight.
    pub fn is_active(&self) -> bool {
        self.armed.is_some() || self.at_end || !self.shared.queue.borrow().is_empty()
    }

    /// The next bytes, in a buffer that is lent until the chunk is dropped; `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of recv(2). What was received before the error is handed out first.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self, lane: &mut Lane) -> io::Result<Option<Chunk>> {
        match poll_fn(|cx| self.poll_chunk(cx)).await? {
            Ok(chunk) => Ok(chunk),
            Err(Empty::Starved) => self.recv_alone(lane).await,
            Err(Empty::Waiting) => unreachable!("waiting is pending"),
        }
    }

    /// The request, for who plays the driver.
    #[cfg(any(all(test, not(ringbolt_loom)), fuzzing))]
    pub(crate) fn armed_key(&self) -> Option<Key> {
        self.armed.as_ref().map(|(_, key)| *key)
    }

    /// What was received already, without waiting.
    fn take(&mut self) -> Option<Chunk> {
        let chunk = self.shared.queue.borrow_mut().pop_front()?;
        self.shared.held.set(self.shared.held.get() - chunk.len());
        Some(self.lend(chunk))
    }

    /// Hands `chunk` out; when few buffers are left, as a copy, so that nobody can hoard the pool.
    fn lend(&self, chunk: Chunk) -> Chunk {
        if !chunk.is_pooled() {
            return chunk;
        }
        Core::with(|core| {
            if !core.pool().is_low() {
                return chunk;
            }
            core.counters().copied_out.add(1);
            Chunk::copied(&chunk)
        })
    }

    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Result<Option<Chunk>, Empty>>> {
        loop {
            if let Some(chunk) = self.take() {
                return Poll::Ready(Ok(Ok(Some(chunk))));
            }
            if self.at_end {
                return Poll::Ready(Ok(Ok(None)));
            }
            match self.check_end() {
                Some(Ok(Empty::Starved)) => return Poll::Ready(Ok(Err(Empty::Starved))),
                Some(Ok(Empty::Waiting)) | None => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
            }
            if self.at_end {
                continue;
            }
            let keep = match self.shared.waker.take() {
                Some(old) if old.will_wake(cx.waker()) => old,
                _ => cx.waker().clone(),
            };
            self.shared.waker.set(Some(keep));
            if self.armed.is_some() {
                return Poll::Pending;
            }
            match self.arm() {
                Some(true) => {}
                Some(false) => return Poll::Ready(Ok(Err(Empty::Starved))),
                None => return Poll::Ready(Err(error::cancelled())),
            }
        }
    }

    /// Looks at how the request ended, if it has.
    fn check_end(&mut self) -> Option<io::Result<Empty>> {
        let res = self.shared.ended.take()?;
        self.armed = None;
        if res == 0 {
            self.at_end = true;
        }
        let paused = self.shared.paused.replace(false) && res == -errno::CANCELED;
        if res >= 0 || paused {
            return Some(Ok(Empty::Waiting));
        }
        match verdict::of(Family::ReceiveMany, res.saturating_neg()) {
            Verdict::Retry => Some(Ok(Empty::Waiting)),
            Verdict::Refill => {
                let core = Core::current();
                core.counters().pool_empty.add(1);
                if core.grow_pool() {
                    return Some(Ok(Empty::Waiting));
                }
                self.alone = ALONE_RUN;
                Some(Ok(Empty::Starved))
            }
            _ => Some(Err(error::from_res(res))),
        }
    }

    /// Puts the request in flight. `Some(false)` if there is nothing to lend.
    fn arm(&mut self) -> Option<bool> {
        let core = Core::current();
        if core.is_closed() {
            return None;
        }
        if !core.facts().lends_buffers {
            return Some(false);
        }
        if self.alone > 0 {
            self.alone -= 1;
            return Some(false);
        }
        self.shared.paused.set(false);
        self.shared.broken.set(false);
        let request = Request {
            fd: self.fd.clone(),
            pool: core.pool().clone(),
            core: core.clone(),
            shared: self.shared.clone(),
        };
        let key = start_multi(&core, request)?;
        self.armed = Some((core, key));
        Some(true)
    }

    /// One receive without the pool.
    async fn recv_alone(&mut self, lane: &mut Lane) -> io::Result<Option<Chunk>> {
        let BufResult(result, buf) =
            lane.run(Recv::new(self.fd.clone(), Vec::with_capacity(ALONE_LEN))).await;
        Core::current().counters().received_alone.add(1);
        match result? {
            0 => {
                self.at_end = true;
                Ok(None)
            }
            _ => Ok(Some(Chunk::from(buf))),
        }
    }

    /// Puts bytes that were not used back to the front.
    pub fn put_back(&mut self, chunk: Chunk) {
        self.shared.held.set(self.shared.held.get() + chunk.len());
        self.shared.queue.borrow_mut().push_front(chunk);
    }
}

impl Drop for RecvMulti {
    fn drop(&mut self) {
        if let Some((core, key)) = self.armed.take() {
            core.slots.cancel(key);
        }
    }
}

impl fmt::Debug for RecvMulti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMulti")
            .field("fd", &self.fd)
            .field("held", &self.shared.held.get())
            .finish()
    }
}

// SAFETY: 1. the request names no memory: the driver picks buffers of the pool, which outlives it
// (SAFETY.md, S6). 2. recv(2) writes at most the length of such a buffer.
unsafe impl MultiOp for Request {
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.raw();
        sqe.flags = flag::BUFFER_SELECT;
        sqe.ioprio = flag::RECV_MULTISHOT;
        sqe.limit = HELD_MAX as u32;
    }

    fn item(&mut self, cqe: Cqe) {
        if let Some(bid) = cqe.buffer_id() {
            // The id is looked at whatever the result is, or the buffer would be lost.
            let len = usize::try_from(cqe.res).unwrap_or(0);
            // SAFETY: the driver took the buffer from this pool and wrote `len` bytes to it.
            let chunk = unsafe { self.pool.lease(bid, len) };
            if len > 0 {
                let held = self.shared.held.get() + len;
                self.shared.held.set(held);
                self.shared.queue.borrow_mut().push_back(chunk);
                if held > HELD_MAX && !cqe.is_final() && !self.shared.paused.replace(true) {
                    self.core.slots.cancel(cqe.key);
                }
            }
        }
        if cqe.buffer_id().is_none() && cqe.res > 0 {
            // A defect of the kernel. What follows must not pass for a stream without a hole.
            self.shared.broken.set(true);
            self.core.slots.cancel(cqe.key);
        }
        if cqe.is_final() {
            let res = if self.shared.broken.get() { -errno::IO } else { cqe.res };
            self.shared.ended.set(Some(res));
        }
        if let Some(waker) = self.shared.waker.take() {
            waker.wake();
        }
    }
}
