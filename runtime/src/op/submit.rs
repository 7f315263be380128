//! The future of one operation.
//!
//! Down: [`Submit::poll`] puts the operation into a slot, fills the request there and hands it to
//! the driver. Up: the driver's completion wakes the task, and the next poll moves the operation out
//! of the slot and decodes it. The future itself only holds a key, so it may be dropped or
//! forgotten at any time.

use super::slot::{Owner, Payload, Slots, Vtable};
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
/// still happen. Its buffers are freed, and a descriptor that it yields is closed, when it has ended.
#[must_use = "an operation does nothing before it is awaited"]
pub struct Submit<O: Op> {
    state: State<O>,
}

enum State<O> {
    Unstarted(O),
    InFlight(Rc<Core>, Key),
    Finished,
}

impl<O: Op> Submit<O> {
    /// The future of `op`.
    pub fn new(op: O) -> Submit<O> {
        Submit { state: State::Unstarted(op) }
    }

    /// Puts the operation in flight for `owner`, or answers at once if that is not possible.
    pub(super) fn start(&mut self, owner: Owner) -> Result<(Rc<Core>, Key), O::Output> {
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Unstarted(op) => {
                let core = Core::current();
                match start(&core, op, owner) {
                    Ok(key) => {
                        self.state = State::InFlight(core.clone(), key);
                        Ok((core, key))
                    }
                    Err((op, res)) => Err(op.decode(Cqe { key: Key(0), res, flags: 0 })),
                }
            }
            State::InFlight(core, key) => {
                self.state = State::InFlight(core.clone(), key);
                Ok((core, key))
            }
            State::Finished => panic!("an operation was polled after it had finished"),
        }
    }

    /// Polls the operation on behalf of `owner`.
    pub(super) fn poll_for(&mut self, owner: Owner, cx: &mut Context<'_>) -> Poll<O::Output> {
        let (core, key) = match self.start(owner) {
            Ok(started) => started,
            Err(output) => return Poll::Ready(output),
        };
        match core.slots.poll(key, cx.waker()) {
            Some(cqe) => {
                self.state = State::Finished;
                // SAFETY: the key came from `start` with this type, and the slot is finished.
                let op = unsafe { take::<O>(&core.slots, key) };
                Poll::Ready(op.decode(cqe))
            }
            None => {
                if scope::note_waiting(&core) {
                    core.slots.cancel(key);
                }
                Poll::Pending
            }
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
    // What nobody waits for is not under anybody's time limit.
    if core.is_closed() || (owner != Owner::Orphan && scope::is_expired(core)) {
        return Err((op, -errno::CANCELED));
    }
    let Some(key) = core.slots.insert(Store::<O>::VTABLE, owner) else {
        return Err((op, -errno::NOBUFS));
    };
    let place = core.slots.payload(key);
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
    start(core, op, Owner::Orphan).map(|_| ()).map_err(|(op, _)| op)
}

/// Starts a multishot operation; its results go to [`MultiOp::item`].
pub(crate) fn start_multi<M: MultiOp>(core: &Rc<Core>, op: M) -> Option<Key> {
    if core.is_closed() {
        return None;
    }
    let key = core.slots.insert(Store::<M>::MULTI_VTABLE, Owner::Multi)?;
    let place = core.slots.payload(key);
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

/// Moves the finished operation of `key` out of its slot.
///
/// # Safety
///
/// 1. The operation was started with type `O`. 2. It is finished.
unsafe fn take<O: Op>(slots: &Slots, key: Key) -> O {
    // SAFETY: by 1 and 2 the slot holds an `O` that nobody else uses.
    let op = unsafe { Store::<O>::take(slots.payload(key)) };
    slots.free(key);
    op
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
        residue: |place, cqe| {
            // SAFETY: the slot calls this with a finished operation of this type.
            let op = unsafe { Store::<O>::at(place.cast_mut()) };
            // SAFETY: the operation is finished, so only shared references exist.
            std::ptr::from_ref(unsafe { &*op }.residue(cqe))
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
        residue: |_, _| std::ptr::from_ref(&[]),
        item: |place, cqe| {
            // SAFETY: the slot calls this with an operation of this type.
            let op = unsafe { Store::<M>::at(place) };
            // SAFETY: multishot operations have no memory that a driver writes, and the slot
            // calls this for one result at a time.
            unsafe { &mut *op }.item(cqe);
        },
    };
}
