//! One direction of a stream: at most one operation in flight, and nothing of it is ever lost.
//!
//! A future that is dropped, or even forgotten, leaves its operation to the lane. The lane cancels
//! it, waits for its end before it starts the next one, and hands on what it had received. This is
//! what makes a receive safe in `select` and under a timeout on every driver.

use super::Op;
use super::slot::Owner;
use super::submit::Submit;
use crate::core::Core;
use crate::sqe::{Cqe, Key};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// One direction of a stream.
#[derive(Default)]
pub struct Lane {
    left: Option<Left>,
}

/// An operation that was started through a lane and whose result has not been taken.
struct Left {
    core: Rc<Core>,
    key: Key,
}

/// How an operation ended whose future had gone.
pub struct Residue<'a> {
    lane: &'a mut Lane,
    cqe: Cqe,
}

impl Lane {
    /// A lane without an operation.
    pub fn new() -> Lane {
        Lane::default()
    }

    /// Whether an earlier operation has to be looked at first, see [`Lane::settle`].
    pub fn is_busy(&self) -> bool {
        self.left.is_some()
    }

    /// The earlier operation, for who plays the driver.
    #[cfg(any(all(test, not(ringbolt_loom)), fuzzing))]
    pub(crate) fn left_key(&self) -> Option<Key> {
        self.left.as_ref().map(|left| left.key)
    }

    /// Runs `op` in this lane.
    ///
    /// # Panics
    ///
    /// If an earlier operation has not been settled.
    pub fn run<O: Op>(&mut self, op: O) -> LaneRun<'_, O> {
        assert!(self.left.is_none(), "an earlier operation of this lane has not been settled");
        LaneRun { submit: Submit::new(op), lane: self }
    }

    /// Waits for the end of an operation whose future was dropped or forgotten, cancelling it.
    /// `None` if there is none.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost if this future is dropped; the next call goes on.
    pub async fn settle(&mut self) -> Option<Residue<'_>> {
        let cqe = poll_fn(|cx| self.poll_left(cx)).await?;
        Some(Residue { lane: self, cqe })
    }

    /// Leaves the operation to its slot, which frees it once it has ended.
    fn release(&mut self) {
        if let Some(left) = self.left.take() {
            left.core.slots.release(left.key);
        }
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Option<Cqe>> {
        let Some(left) = &self.left else { return Poll::Ready(None) };
        match left.core.slots.poll(left.key, cx.waker()) {
            Some((cqe, _)) => Poll::Ready(Some(cqe)),
            None => {
                left.core.slots.cancel(left.key);
                Poll::Pending
            }
        }
    }
}

impl Residue<'_> {
    /// What the operation returned: its count, or minus an error number.
    pub fn result(&self) -> std::io::Result<u32> {
        self.cqe.result()
    }

    /// Whether it was cancelled before it did anything.
    pub fn is_cancelled(&self) -> bool {
        self.cqe.res == -crate::sys::errno::CANCELED || self.cqe.res == -crate::sys::errno::INTR
    }

    /// Hands to `part`, in order, what the operation left: received bytes that nobody got, or bytes
    /// that were not sent.
    pub fn for_each_part(&mut self, part: &mut dyn FnMut(&[u8])) {
        let Some(left) = &self.lane.left else { return };
        // SAFETY: `settle` saw the end of the operation, and the slot is freed only through the
        // lane, which is exclusively borrowed.
        unsafe { left.core.slots.residue(left.key, self.cqe, part) }
    }

    /// Says that the residue has been taken care of, and frees the operation.
    pub fn finish(self) {
        self.lane.release();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("busy", &self.is_busy()).finish()
    }
}

impl fmt::Debug for Residue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Residue").field("result", &self.result()).finish()
    }
}

/// The future of an operation in a [`Lane`].
///
/// # Cancellation
///
/// Dropping it cancels the operation; the lane keeps it until [`Lane::settle`].
#[must_use = "an operation does nothing before it is awaited"]
pub struct LaneRun<'a, O: Op> {
    submit: Submit<O>,
    lane: &'a mut Lane,
}

impl<O: Op> Future for LaneRun<'_, O> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = self.get_mut();
        let polled = this.submit.poll_for(Owner::Lane, cx);
        if polled.is_ready() {
            // The result has been taken, and the slot is free.
            this.lane.left = None;
            return polled;
        }
        let (core, key) = this.submit.in_flight().expect("a pending operation is in flight");
        match &mut this.lane.left {
            // The key changes when the operation had to be asked for again.
            Some(left) => left.key = key,
            None => this.lane.left = Some(Left { core: core.clone(), key }),
        }
        polled
    }
}

impl<O: Op> Drop for LaneRun<'_, O> {
    fn drop(&mut self) {
        self.submit.disown();
        if let Some(left) = &self.lane.left {
            left.core.slots.cancel(left.key);
        }
    }
}

impl<O: Op> fmt::Debug for LaneRun<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneRun").field("submit", &self.submit).finish()
    }
}
