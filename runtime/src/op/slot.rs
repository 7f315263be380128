//! Where operations live while a driver works on them.
//!
//! A slot owns the operation with its buffers, side structures and descriptor from the moment the
//! request is handed to the driver until its final completion. Futures and lanes hold a [`Key`].
//! Slots sit in chunks that never move, and are only ever reached through shared references, since
//! the kernel may write into the payload at any time (SAFETY.md, S1).
//!
//! ```text
//!   Free --insert--> Pending(owner) --complete--> Done(owner) --take / release--> Free
//!                        |   ^                        (owner is a future or a lane)
//!         release: owner becomes Orphan
//!                        |
//!                        +--complete, owner Orphan or Multi--> payload dropped --> Free
//! ```
//!
//! A slot whose cancel request still waits on the list when it ends becomes a `Zombie` until the
//! list is walked, so that a link never leads to a slot of the next generation.

use super::{OpMeta, verdict};
use crate::sqe::{Cqe, Key, Kind};
use crate::sys::errno;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::task::Waker;

const CHUNK: usize = 64;
const NONE: u32 = u32::MAX;

/// Room for an operation inside its slot; larger ones are boxed.
#[repr(C, align(16))]
pub(crate) struct Payload(MaybeUninit<[u8; 208]>);

/// Hands the parts of a residue to a closure.
type HandOn = unsafe fn(*mut Payload, Cqe, &mut dyn FnMut(&[u8]));

/// What a slot can do with the operation in it without knowing its type.
pub(crate) struct Vtable {
    pub(crate) meta: &'static OpMeta,
    /// Takes the operation out, decodes the result and drops it.
    pub(crate) abandon: unsafe fn(*mut Payload, Cqe),
    /// Hands on what the finished operation left for a caller that went before.
    pub(crate) residue: HandOn,
    /// Tells the operation that it has ended, if it wants to know.
    pub(crate) ended: Option<unsafe fn(*mut Payload, Cqe)>,
    /// Hands one result to a multishot operation.
    pub(crate) item: unsafe fn(*mut Payload, Cqe),
}

/// Who takes the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A `Submit` future.
    Future,
    /// One direction of a stream, which outlives the futures on it.
    Lane,
    /// Nobody: the result is dropped in the proper way.
    Orphan,
    /// The operation itself, which is multishot.
    Multi,
}

/// How far a wish to cancel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    No,
    Listed,
    Sent,
    /// The driver could not find or stop the operation, which goes on.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Pending(Owner, Cancel),
    Done(Owner),
    Zombie,
}

struct Slot {
    generation: Cell<u32>,
    state: Cell<State>,
    /// The next free slot, or the next slot on the cancel list.
    next: Cell<u32>,
    cqe: Cell<Cqe>,
    waker: Cell<Option<Waker>>,
    vtable: Cell<Option<&'static Vtable>>,
    payload: UnsafeCell<Payload>,
}

/// All slots of one core.
pub(crate) struct Slots {
    chunks: RefCell<Vec<NonNull<[Slot; CHUNK]>>>,
    free: Cell<u32>,
    cancels: Cell<u32>,
    live: Cell<u32>,
    pending: Cell<u32>,
    stale: Cell<u64>,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        let slots = Slots {
            chunks: RefCell::new(Vec::new()),
            free: Cell::new(NONE),
            cancels: Cell::new(NONE),
            live: Cell::new(0),
            pending: Cell::new(0),
            stale: Cell::new(0),
        };
        slots.grow();
        slots
    }

    /// Operations in flight, and results that nobody has taken.
    pub(crate) fn live(&self) -> u32 {
        self.live.get()
    }

    /// Operations that the driver still works on.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.get()
    }

    /// Completions that named no operation in flight.
    pub(crate) fn stale(&self) -> u64 {
        self.stale.get()
    }

    /// A slot for an operation with `vtable`, and the place in it where the operation goes; `None`
    /// when all keys are in use.
    pub(crate) fn insert(
        &self,
        vtable: &'static Vtable,
        owner: Owner,
    ) -> Option<(Key, *mut Payload)> {
        if self.free.get() == NONE && !self.grow() {
            return None;
        }
        let index = self.free.get();
        let slot = self.at(index);
        debug_assert_eq!(slot.state.get(), State::Free);
        self.free.set(slot.next.get());
        self.live.set(self.live.get() + 1);
        self.pending.set(self.pending.get() + 1);
        slot.state.set(State::Pending(owner, Cancel::No));
        slot.vtable.set(Some(vtable));
        let key = Key::new(Kind::Op, index, slot.generation.get());
        Some((key, slot.payload.get()))
    }

    /// The result of `key` and the place of its operation, if it has ended; otherwise `waker` is
    /// woken when it does.
    pub(crate) fn poll(&self, key: Key, waker: &Waker) -> Option<(Cqe, *mut Payload)> {
        let slot = self.find(key).expect("the runtime of this operation has shut down");
        if let State::Done(_) = slot.state.get() {
            return Some((slot.cqe.get(), slot.payload.get()));
        }
        let keep = match slot.waker.take() {
            Some(old) if old.will_wake(waker) => old,
            _ => waker.clone(),
        };
        slot.waker.set(Some(keep));
        None
    }

    /// Gives the slot of a finished operation back; its payload has been moved out.
    pub(crate) fn free(&self, key: Key) {
        let slot = self.find(key).expect("the caller owns the slot");
        self.recycle(key.slot(), slot);
    }

    /// The owner of `key` goes: a pending operation is cancelled and becomes an orphan, a finished
    /// one is dropped in the proper way.
    pub(crate) fn release(&self, key: Key) {
        let Some(slot) = self.find(key) else { return };
        match slot.state.get() {
            State::Pending(_, cancel) => {
                slot.state.set(State::Pending(Owner::Orphan, cancel));
                drop(slot.waker.take());
                self.cancel(key);
            }
            State::Done(_) => self.abandon(key.slot(), slot, slot.cqe.get()),
            State::Free | State::Zombie => unreachable!("the caller owns the slot"),
        }
    }

    /// Asks for an end of `key`. It cannot fail: the wish is on a list until it has been sent.
    pub(crate) fn cancel(&self, key: Key) {
        let Some(slot) = self.find(key) else { return };
        let State::Pending(owner, Cancel::No | Cancel::Refused) = slot.state.get() else { return };
        if !self.vtable(slot).meta.cancellable {
            return;
        }
        slot.state.set(State::Pending(owner, Cancel::Listed));
        slot.next.set(self.cancels.get());
        self.cancels.set(key.slot());
    }

    /// Asks for an end of every operation in flight.
    pub(crate) fn cancel_all(&self) {
        self.for_each(|index, slot| {
            self.cancel(Key::new(Kind::Op, index, slot.generation.get()));
        });
    }

    /// The next operation whose cancel request has to be sent.
    pub(crate) fn next_cancel(&self) -> Option<Key> {
        loop {
            let index = self.cancels.get();
            if index == NONE {
                return None;
            }
            let slot = self.at(index);
            self.cancels.set(slot.next.get());
            match slot.state.get() {
                State::Pending(owner, Cancel::Listed) => {
                    slot.state.set(State::Pending(owner, Cancel::Sent));
                    return Some(Key::new(Kind::Op, index, slot.generation.get()));
                }
                State::Zombie => self.push_free(index, slot),
                // A finished operation that its owner has not taken yet was unlisted here.
                State::Done(_) => {}
                state => unreachable!("{state:?} on the cancel list"),
            }
        }
    }

    /// The driver could not find or stop `key`. True if the operation is still in flight, so that
    /// the request has to be made again after a while (io_uring_cancelation(7)).
    pub(crate) fn cancel_refused(&self, key: Key) -> bool {
        let Some(slot) = self.find(key) else { return false };
        let State::Pending(owner, Cancel::Sent) = slot.state.get() else { return false };
        slot.state.set(State::Pending(owner, Cancel::Refused));
        true
    }

    /// Takes in one completion of the driver. Wakes the owner, feeds a multishot operation, or
    /// drops what an orphan got.
    pub(crate) fn complete(&self, cqe: Cqe) {
        let slot = match self.find(cqe.key) {
            Some(slot) if matches!(slot.state.get(), State::Pending(..)) => slot,
            _ => {
                self.stale.set(self.stale.get() + 1);
                return;
            }
        };
        let State::Pending(owner, cancel) = slot.state.get() else { unreachable!() };
        if owner == Owner::Multi {
            // SAFETY: a pending slot holds the operation that its vtable was made for.
            unsafe { (self.vtable(slot).item)(slot.payload.get(), cqe) };
        }
        if !cqe.is_final() {
            return;
        }
        self.pending.set(self.pending.get() - 1);
        // A request that a cancel interrupted, also one that was refused, says so in one way
        // (io_uring_cancelation(7)).
        let asked = matches!(cancel, Cancel::Sent | Cancel::Refused);
        let interrupted = cqe.res == -errno::INTR && asked;
        let cqe = Cqe { res: if interrupted { -errno::CANCELED } else { cqe.res }, ..cqe };
        let vtable = self.vtable(slot);
        if let Some(ended) = vtable.ended
            && !verdict::asks_again(vtable.meta.opcode, cqe.res)
        {
            // SAFETY: the result is final, and the slot still holds the operation.
            unsafe { ended(slot.payload.get(), cqe) };
        }
        // `item` and `ended` may have asked for a cancel, so the state is read again.
        let listed = matches!(slot.state.get(), State::Pending(_, Cancel::Listed));
        match owner {
            Owner::Future | Owner::Lane => {
                slot.cqe.set(cqe);
                if listed {
                    self.unlist(cqe.key.slot());
                }
                slot.state.set(State::Done(owner));
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            }
            Owner::Orphan | Owner::Multi => self.abandon(cqe.key.slot(), slot, cqe),
        }
    }

    /// Hands to `part` what the finished operation of `key` left. It stays in the slot.
    ///
    /// # Safety
    ///
    /// The operation is finished, and the slot is not freed by what `part` does.
    pub(crate) unsafe fn residue(&self, key: Key, cqe: Cqe, part: &mut dyn FnMut(&[u8])) {
        let slot = self.find(key).expect("the caller owns the slot");
        // SAFETY: a finished slot holds the operation that its vtable was made for.
        unsafe { (self.vtable(slot).residue)(slot.payload.get(), cqe, part) }
    }

    /// Drops, in the proper way, every result that nobody has taken.
    pub(crate) fn abandon_finished(&self) {
        self.for_each(|index, slot| {
            if let State::Done(_) = slot.state.get() {
                self.abandon(index, slot, slot.cqe.get());
            }
        });
    }

    /// Forgets all operations in flight: their memory stays as it is for ever.
    pub(crate) fn leak(&self) {
        self.chunks.borrow_mut().clear();
        self.free.set(NONE);
        self.cancels.set(NONE);
        self.pending.set(0);
    }

    fn abandon(&self, index: u32, slot: &Slot, cqe: Cqe) {
        let abandon = self.vtable(slot).abandon;
        let mut payload = Payload(MaybeUninit::uninit());
        // SAFETY: the operation is finished, so that nobody else uses the payload; it is moved out
        // byte by byte before the slot can be used again by what its destructor may do.
        unsafe { std::ptr::copy_nonoverlapping(slot.payload.get(), &mut payload, 1) };
        self.recycle(index, slot);
        // SAFETY: `payload` is the operation that the vtable was made for, and is not used again.
        unsafe { abandon(&mut payload, cqe) };
    }

    fn recycle(&self, index: u32, slot: &Slot) {
        drop(slot.waker.take());
        self.live.set(self.live.get() - 1);
        slot.generation.set(slot.generation.get().wrapping_add(1));
        if let State::Pending(_, Cancel::Listed) = slot.state.get() {
            slot.state.set(State::Zombie);
        } else {
            self.push_free(index, slot);
        }
    }

    fn push_free(&self, index: u32, slot: &Slot) {
        slot.state.set(State::Free);
        slot.next.set(self.free.get());
        self.free.set(index);
    }

    fn unlist(&self, index: u32) {
        let next = self.at(index).next.get();
        if self.cancels.get() == index {
            self.cancels.set(next);
            return;
        }
        let mut at = self.cancels.get();
        while at != NONE {
            let slot = self.at(at);
            if slot.next.get() == index {
                slot.next.set(next);
                return;
            }
            at = slot.next.get();
        }
        unreachable!("a listed slot is on the list");
    }

    fn vtable(&self, slot: &Slot) -> &'static Vtable {
        slot.vtable.get().expect("a slot in use has a vtable")
    }

    fn find(&self, key: Key) -> Option<&Slot> {
        let chunk = self.chunks.borrow().get(key.slot() as usize / CHUNK).copied()?;
        // SAFETY: as in `at`.
        let chunk = unsafe { chunk.as_ref() };
        let slot = &chunk[key.slot() as usize % CHUNK];
        let used = !matches!(slot.state.get(), State::Free | State::Zombie);
        (used && slot.generation.get() == key.generation()).then_some(slot)
    }

    fn at(&self, index: u32) -> &Slot {
        let chunk = self.chunks.borrow()[index as usize / CHUNK];
        // SAFETY: chunks live until the slots are dropped or leaked, and are only shared.
        let chunk = unsafe { chunk.as_ref() };
        &chunk[index as usize % CHUNK]
    }

    fn for_each(&self, mut f: impl FnMut(u32, &Slot)) {
        let count = self.chunks.borrow().len() * CHUNK;
        (0..count as u32).for_each(|index| f(index, self.at(index)));
    }

    fn grow(&self) -> bool {
        let mut chunks = self.chunks.borrow_mut();
        let first = (chunks.len() * CHUNK) as u32;
        if first as usize + CHUNK > Key::SLOTS_MAX as usize {
            return false;
        }
        let chunk: Box<[Slot; CHUNK]> = Box::new(std::array::from_fn(|i| Slot {
            generation: Cell::new(0),
            state: Cell::new(State::Free),
            next: Cell::new(if i + 1 < CHUNK { first + i as u32 + 1 } else { NONE }),
            cqe: Cell::new(Cqe { key: Key(0), res: 0, flags: 0 }),
            waker: Cell::new(None),
            vtable: Cell::new(None),
            payload: UnsafeCell::new(Payload(MaybeUninit::uninit())),
        }));
        debug_assert_eq!(self.free.get(), NONE);
        self.free.set(first);
        chunks.push(NonNull::from(Box::leak(chunk)));
        true
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for chunk in self.chunks.get_mut().drain(..) {
            // SAFETY: `grow` leaked this box, and `leak` was not called, since it clears the list.
            drop(unsafe { Box::from_raw(chunk.as_ptr()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    static DROPPED: AtomicU32 = AtomicU32::new(0);

    unsafe fn abandon(_: *mut Payload, _: Cqe) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
    unsafe fn residue(_: *mut Payload, _: Cqe, _: &mut dyn FnMut(&[u8])) {}
    unsafe fn item(_: *mut Payload, _: Cqe) {}

    static META: OpMeta = OpMeta {
        name: "test",
        opcode: 0,
        class: crate::sqe::Class::Instant,
        cancellable: true,
        call: |_| 0,
    };
    static VTABLE: Vtable = Vtable { meta: &META, abandon, residue, ended: None, item };

    fn done(key: Key) -> Cqe {
        Cqe { key, res: 1, flags: 0 }
    }

    #[test]
    fn a_late_completion_never_meets_the_next_operation() {
        let slots = Slots::new();
        let (first, _) = slots.insert(&VTABLE, Owner::Future).unwrap();
        slots.complete(done(first));
        slots.free(first);
        let (second, _) = slots.insert(&VTABLE, Owner::Future).unwrap();
        assert_eq!(first.slot(), second.slot());
        slots.complete(done(first));
        assert_eq!(slots.stale(), 1);
        assert!(slots.poll(second, Waker::noop()).is_none());
    }

    #[test]
    fn a_listed_slot_is_not_reused_before_the_list_is_walked() {
        let slots = Slots::new();
        let (key, _) = slots.insert(&VTABLE, Owner::Future).unwrap();
        let before = DROPPED.load(Ordering::Relaxed);
        slots.release(key);
        slots.complete(done(key));
        assert_eq!(DROPPED.load(Ordering::Relaxed), before + 1);
        let (next, _) = slots.insert(&VTABLE, Owner::Future).unwrap();
        assert_ne!(next.slot(), key.slot());
        assert!(slots.next_cancel().is_none());
        assert_eq!(slots.insert(&VTABLE, Owner::Future).unwrap().0.slot(), key.slot());
    }

    #[test]
    fn leaked_slots_are_never_given_back() {
        let leaked = Slots::new();
        let (_, place) = leaked.insert(&VTABLE, Owner::Orphan).unwrap();
        leaked.leak();
        drop(leaked);
        // An allocator that got the chunk back would use it again for one of these.
        let others: Vec<Slots> = std::iter::repeat_with(Slots::new).take(100).collect();
        for slots in &others {
            let (_, other) = slots.insert(&VTABLE, Owner::Orphan).unwrap();
            assert!(other.addr().abs_diff(place.addr()) >= size_of::<[Slot; CHUNK]>());
        }
    }

    #[test]
    fn a_finished_slot_leaves_the_cancel_list() {
        let slots = Slots::new();
        let keys: Vec<Key> =
            (0..3).map(|_| slots.insert(&VTABLE, Owner::Lane).unwrap().0).collect();
        keys.iter().for_each(|key| slots.cancel(*key));
        slots.complete(done(keys[1]));
        let listed: Vec<Key> = std::iter::from_fn(|| slots.next_cancel()).collect();
        assert_eq!(listed, [keys[2], keys[0]]);
    }

    #[test]
    fn an_interruption_counts_as_a_cancel_also_after_a_refusal() {
        let slots = Slots::new();
        for (ask, refuse, ends) in [(false, false, errno::INTR), (true, true, errno::CANCELED)] {
            let (key, _) = slots.insert(&VTABLE, Owner::Future).unwrap();
            if ask {
                slots.cancel(key);
                assert_eq!(slots.next_cancel(), Some(key));
            }
            assert_eq!(slots.cancel_refused(key), refuse);
            slots.complete(Cqe { key, res: -errno::INTR, flags: 0 });
            let (cqe, _) = slots.poll(key, Waker::noop()).expect("it has ended");
            assert_eq!(cqe.res, -ends);
            slots.free(key);
        }
    }
}
