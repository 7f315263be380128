//! The future of one operation.
//!
//! Down: [`Submit::poll`] puts the operation into a slot, fills the request there and hands it to
//! the driver. Up: the driver's completion wakes the task, and the next poll moves the operation
//! out of the slot and decodes it. The future itself only holds a key, so it may be dropped or
//! forgotten at any time.

use super::slot::{Owner, Payload, Vtable};
use super::verdict::{self, Family, Verdict};
use super::{Cqe, MultiOp, Op, Sqe, scope};
use crate::core::Core;
use crate::sqe::Key;
use crate::sys::errno;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The future of an operation. It starts at the first poll.
///
/// # Cancellation
///
/// Dropping it asks the driver to cancel the operation and returns at once; the operation may
/// still happen. Its buffers are freed, and a descriptor that it yields is closed, when it has
/// ended.
#[must_use = "an operation does nothing before it is awaited"]
pub struct Submit<O: Op> {
    state: State<O>,
    /// How often it was asked for again where there is a limit to that.
    tries: u8,
}

enum State<O> {
    Unstarted(O),
    InFlight(Rc<Core>, Key),
    Finished,
}

impl<O: Op> Submit<O> {
    /// The future of `op`.
    pub fn new(op: O) -> Submit<O> {
        Submit { state: State::Unstarted(op), tries: 0 }
    }

    /// Puts an operation that has not started in flight for `owner`, or answers if that is not
    /// possible.
    fn start(&mut self, owner: Owner) -> Option<O::Output> {
        if !matches!(self.state, State::Unstarted(_)) {
            return None;
        }
        let State::Unstarted(op) = std::mem::replace(&mut self.state, State::Finished) else {
            unreachable!("checked above")
        };
        let core = Core::current();
        match start(&core, op, owner) {
            Ok(key) => {
                self.state = State::InFlight(core, key);
                None
            }
            Err((op, res)) => Some(op.decode(Cqe { key: Key(0), res, flags: 0 })),
        }
    }

    /// Polls the operation on behalf of `owner`.
    pub(super) fn poll_for(&mut self, owner: Owner, cx: &mut Context<'_>) -> Poll<O::Output> {
        loop {
            if let Some(output) = self.start(owner) {
                return Poll::Ready(output);
            }
            let State::InFlight(core, key) = &self.state else {
                panic!("an operation was polled after it had finished")
            };
            let Some((cqe, place)) = core.slots.poll(*key, cx.waker()) else {
                if scope::note_waiting(core) {
                    core.slots.cancel(*key);
                }
                return Poll::Pending;
            };
            // SAFETY: the key came from `start` with this type, and the operation has ended, so
            // that nobody else uses it.
            let op = unsafe { Store::<O>::take(place) };
            core.slots.free(*key);
            if cqe.res < 0 && self.has_to_ask_again(cqe.res.saturating_neg()) {
                self.state = State::Unstarted(op);
                continue;
            }
            self.state = State::Finished;
            return Poll::Ready(op.decode(cqe));
        }
    }

    /// Whether an operation that failed is put in flight once more, unseen by the caller.
    #[cold]
    fn has_to_ask_again(&mut self, error: i32) -> bool {
        match verdict::of(Family::of(O::META.opcode), error) {
            Verdict::Retry => true,
            Verdict::RetryFew => {
                self.tries += 1;
                self.tries <= verdict::TRIES_MAX
            }
            _ => false,
        }
    }

    /// The key, once the operation is in flight and until its result has been taken.
    pub(super) fn in_flight(&self) -> Option<(&Rc<Core>, Key)> {
        match &self.state {
            State::InFlight(core, key) => Some((core, *key)),
            _ => None,
        }
    }

    /// Gives up the key without releasing the slot: somebody else owns it.
    pub(super) fn disown(&mut self) {
        self.state = State::Finished;
    }
}

impl<O: Op> Future for Submit<O> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        self.get_mut().poll_for(Owner::Future, cx)
    }
}

impl<O: Op> Drop for Submit<O> {
    fn drop(&mut self) {
        if let State::InFlight(core, key) = &self.state {
            core.slots.release(*key);
        }
    }
}

impl<O: Op> fmt::Debug for Submit<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Unstarted(_) => "unstarted",
            State::InFlight(..) => "in flight",
            State::Finished => "finished",
        };
        f.debug_struct("Submit").field("op", &O::META.name).field("state", &state).finish()
    }
}

/// Puts `op` into a slot and hands its request to the driver.
pub(super) fn start<O: Op>(core: &Rc<Core>, op: O, owner: Owner) -> Result<Key, (O, i32)> {
    // What nobody waits for, or nothing ends, is not under anybody's time limit.
    let limited = owner != Owner::Orphan && O::META.cancellable;
    if core.is_closed() || (limited && scope::is_expired(core)) {
        return Err((op, -errno::CANCELED));
    }
    let Some((key, place)) = core.slots.insert(Store::<O>::VTABLE, owner) else {
        return Err((op, -errno::NOBUFS));
    };
    // SAFETY: the slot is new, so nothing is stored in it.
    unsafe { Store::<O>::put(place, op) };
    // SAFETY: `put` just stored an operation of this type.
    let stored = unsafe { Store::<O>::at(place) };
    let mut sqe = Sqe::new(O::META.opcode, -1);
    // SAFETY: no request names the operation yet, so this reference is the only one.
    unsafe { &mut *stored }.fill(&mut sqe);
    sqe.user_data = key.0;
    core.submit(&sqe, O::META);
    Ok(key)
}

/// Starts an operation whose result nobody wants.
pub(crate) fn detach<O: Op>(core: &Rc<Core>, op: O) -> Result<(), O> {
    if core.is_copy() {
        return Err(op);
    }
    start(core, op, Owner::Orphan).map(|_| ()).map_err(|(op, _)| op)
}

/// Starts a multishot operation; its results go to [`MultiOp::item`].
pub(crate) fn start_multi<M: MultiOp>(core: &Rc<Core>, op: M) -> Option<Key> {
    if core.is_closed() {
        return None;
    }
    let (key, place) = core.slots.insert(Store::<M>::MULTI_VTABLE, Owner::Multi)?;
    // SAFETY: the slot is new, so nothing is stored in it.
    unsafe { Store::<M>::put(place, op) };
    // SAFETY: `put` just stored an operation of this type.
    let stored = unsafe { Store::<M>::at(place) };
    let mut sqe = Sqe::new(M::META.opcode, -1);
    // SAFETY: no request names the operation yet, so this reference is the only one.
    unsafe { &mut *stored }.fill(&mut sqe);
    sqe.user_data = key.0;
    core.submit(&sqe, M::META);
    Some(key)
}

/// How a `T` is kept in a slot: inside it where it fits, else in a box.
struct Store<T>(PhantomData<T>);

impl<T> Store<T> {
    const INLINE: bool =
        size_of::<T>() <= size_of::<Payload>() && align_of::<T>() <= align_of::<Payload>();

    /// # Safety
    ///
    /// `place` is valid for writes and holds nothing.
    unsafe fn put(place: *mut Payload, value: T) {
        if Self::INLINE {
            // SAFETY: the value fits, and the caller's obligation is the call's.
            unsafe { place.cast::<T>().write(value) };
        } else {
            let boxed = Box::into_raw(Box::new(value));
            // SAFETY: a pointer fits, and the caller's obligation is the call's.
            unsafe { place.cast::<*mut T>().write(boxed) };
        }
    }

    /// # Safety
    ///
    /// `place` holds a `T`.
    unsafe fn at(place: *mut Payload) -> *mut T {
        if Self::INLINE {
            place.cast()
        } else {
            // SAFETY: `put` stored a pointer.
            unsafe { place.cast::<*mut T>().read() }
        }
    }

    /// # Safety
    ///
    /// `place` holds a `T` that is not used afterwards.
    unsafe fn take(place: *mut Payload) -> T {
        // SAFETY: the caller's obligation is the call's.
        let at = unsafe { Self::at(place) };
        if Self::INLINE {
            // SAFETY: the caller's obligation is the call's.
            unsafe { at.read() }
        } else {
            // SAFETY: `put` made this pointer from a box.
            *unsafe { Box::from_raw(at) }
        }
    }
}

impl<O: Op> Store<O> {
    const VTABLE: &'static Vtable = &Vtable {
        meta: O::META,
        abandon: |place, cqe| {
            // SAFETY: the slot calls this once, with the finished operation of this type.
            let op = unsafe { Store::<O>::take(place) };
            drop(op.decode(cqe));
        },
        residue: |place, cqe, part| {
            // SAFETY: the slot calls this with a finished operation of this type.
            let op = unsafe { Store::<O>::at(place) };
            // SAFETY: the operation is finished, so that only its owner, who asks, refers to it.
            unsafe { &mut *op }.residue(cqe, part);
        },
        ended: if O::ENDS {
            Some(|place, cqe| {
                // SAFETY: the slot calls this with a finished operation of this type.
                let op = unsafe { Store::<O>::at(place) };
                // SAFETY: the operation is finished, and nobody has been told yet, so that nobody
                // else refers to it.
                unsafe { &mut *op }.ended(cqe);
            })
        } else {
            None
        },
        item: |_, _| unreachable!("an operation with one result has no items"),
    };
}

impl<M: MultiOp> Store<M> {
    const MULTI_VTABLE: &'static Vtable = &Vtable {
        meta: M::META,
        abandon: |place, _| {
            // SAFETY: the slot calls this once, with the finished operation of this type.
            drop(unsafe { Store::<M>::take(place) });
        },
        residue: |_, _, _| {},
        ended: None,
        item: |place, cqe| {
            // SAFETY: the slot calls this with an operation of this type.
            let op = unsafe { Store::<M>::at(place) };
            // SAFETY: multishot operations have no memory that a driver writes, and the slot
            // calls this for one result at a time.
            unsafe { &mut *op }.item(cqe);
        },
    };
}
