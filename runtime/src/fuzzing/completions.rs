//! Slots under any sequence of submits, polls, cancels, releases and completions, also of those
//! that no driver should send.
//!
//! The oracle is a list of what is in flight. Each operation that goes in has to come out once: to
//! whoever polls for it, or to its own destructor; with its own result, under a key that no other
//! operation ever had.

use crate::op::slot::{Owner, Payload, Slots, Vtable};
use crate::op::{Class, Cqe, OpMeta, flag};
use crate::sqe::Key;
use crate::sys::errno;
use arbitrary::{Result, Unstructured};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

/// A stream of events for the slots of one core.
pub fn completions(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut model = Model::default();
    // Running out of bytes is the end.
    let _ = model.run(&mut input);
    model.finish();
}

/// The slots, and what the operations in them told about themselves.
struct Ledger {
    slots: Slots,
    /// Operations that went in, and how often each was dropped.
    dropped: RefCell<Vec<u32>>,
    /// Results that went to the destructor, by operation.
    abandoned: RefCell<Vec<(usize, i32)>>,
    items: RefCell<Vec<(usize, i32)>>,
    /// Operations that a destructor started.
    started: RefCell<Vec<Entry>>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            slots: Slots::new(),
            dropped: RefCell::default(),
            abandoned: RefCell::default(),
            items: RefCell::default(),
            started: RefCell::default(),
        }
    }
}

/// The operation in a slot.
struct Token {
    id: usize,
    ledger: Rc<Ledger>,
    /// What its destructor or its next item does to the slots.
    comes_back: bool,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.dropped.borrow_mut()[self.id] += 1;
        if self.comes_back {
            let entry = insert(&self.ledger, Owner::Orphan, true, false);
            self.ledger.started.borrow_mut().push(entry);
        }
    }
}

static META: OpMeta =
    OpMeta { name: "token", opcode: 0, class: Class::Instant, cancellable: true, call: |_| 0 };
static FIRM: OpMeta =
    OpMeta { name: "firm", opcode: 0, class: Class::Instant, cancellable: false, call: |_| 0 };
static TOKEN: Vtable = vtable(&META);
static FIRM_TOKEN: Vtable = vtable(&FIRM);

const fn vtable(meta: &'static OpMeta) -> Vtable {
    Vtable {
        meta,
        ended: None,
        abandon: |place, cqe| {
            // SAFETY: the slot calls this once, with the token that `insert` stored.
            let token = unsafe { place.cast::<Token>().read() };
            token.ledger.abandoned.borrow_mut().push((token.id, cqe.res));
        },
        residue: |place, cqe, part| {
            // SAFETY: the slot holds the token that `insert` stored.
            let token = unsafe { &*place.cast::<Token>() };
            part(&[token.id as u8, cqe.res as u8]);
        },
        item: |place, cqe| {
            // SAFETY: as above.
            let token = unsafe { &*place.cast::<Token>() };
            token.ledger.items.borrow_mut().push((token.id, cqe.res));
            if token.comes_back {
                token.ledger.slots.cancel(cqe.key);
            }
        },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    No,
    Listed,
    Sent,
    Refused,
}

/// An operation in flight, or one whose result nobody has taken.
#[derive(Debug)]
struct Entry {
    key: Key,
    id: usize,
    owner: Owner,
    cancellable: bool,
    comes_back: bool,
    wish: Wish,
    done: Option<i32>,
    waker: Option<Arc<Woken>>,
}

#[derive(Debug, Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn insert(ledger: &Rc<Ledger>, owner: Owner, cancellable: bool, comes_back: bool) -> Entry {
    let id = ledger.dropped.borrow().len();
    ledger.dropped.borrow_mut().push(0);
    let vtable = if cancellable { &TOKEN } else { &FIRM_TOKEN };
    let (key, place) = ledger.slots.insert(vtable, owner).expect("there are millions of slots");
    let token = Token { id, ledger: ledger.clone(), comes_back };
    const { assert!(size_of::<Token>() <= size_of::<Payload>()) };
    // SAFETY: the slot is new, and a token fits.
    unsafe { place.cast::<Token>().write(token) };
    Entry { key, id, owner, cancellable, comes_back, wish: Wish::No, done: None, waker: None }
}

#[derive(Default)]
struct Model {
    ledger: Rc<Ledger>,
    entries: Vec<Entry>,
    /// Keys whose cancel has to be sent, the next one last. Also those that ended meanwhile.
    listed: Vec<Key>,
    retired: Vec<Key>,
    keys: HashSet<Key>,
    stale: u64,
    abandoned: Vec<(usize, i32)>,
    items: Vec<(usize, i32)>,
}

impl Model {
    fn run(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        for step in 1.. {
            if input.is_empty() {
                break;
            }
            let what = input.arbitrary::<u8>()?;
            let at = if self.entries.is_empty() {
                None
            } else {
                Some(input.choose_index(self.entries.len())?)
            };
            match (what % 16, at) {
                (0..=2, _) => self.insert(what),
                (3..=5, Some(at)) => self.complete(at, what, result(input)?),
                (6, _) if !self.retired.is_empty() => {
                    let key = self.retired[input.choose_index(self.retired.len())?];
                    self.complete_strange(Cqe { key, res: result(input)?, flags: what.into() });
                }
                (7, _) => {
                    let key = Key(input.arbitrary()?);
                    let flags = input.arbitrary()?;
                    self.complete_strange(Cqe { key, res: result(input)?, flags });
                }
                (8, Some(at)) => self.poll(at),
                (9, Some(at)) => self.take(at),
                (10, Some(at)) => self.release(at),
                (11, Some(at)) => self.cancel(at),
                (12, Some(at)) => self.refuse(at),
                (13, _) => self.send_cancel(),
                (14, Some(at)) => self.residue(at),
                (15, _) if what < 0x40 => self.cancel_all(),
                (15, _) if what < 0x80 => self.abandon_finished(),
                _ => {
                    while !self.listed.is_empty() || self.ledger.slots.next_cancel().is_some() {
                        self.send_cancel();
                    }
                }
            }
            if step % 16 == 0 { self.check_all() } else { self.check() }
        }
        Ok(())
    }

    /// Compares what is cheap to compare, and notes what destructors started in the meantime.
    fn check(&mut self) {
        for entry in self.ledger.started.take() {
            assert!(self.keys.insert(entry.key), "{:?} was used before", entry.key);
            self.entries.push(entry);
        }
        assert_eq!(self.ledger.slots.live() as usize, self.entries.len());
        assert_eq!(self.ledger.slots.stale(), self.stale);
        assert_eq!(self.ledger.abandoned.borrow().last(), self.abandoned.last());
        assert_eq!(self.ledger.items.borrow().last(), self.items.last());
    }

    /// Compares everything.
    fn check_all(&mut self) {
        self.check();
        let pending = self.entries.iter().filter(|entry| entry.done.is_none()).count();
        assert_eq!(self.ledger.slots.pending() as usize, pending);
        assert_eq!(*self.ledger.abandoned.borrow(), self.abandoned);
        assert_eq!(*self.ledger.items.borrow(), self.items);
        let mut drops = vec![1; self.ledger.dropped.borrow().len()];
        self.entries.iter().for_each(|entry| drops[entry.id] = 0);
        assert_eq!(*self.ledger.dropped.borrow(), drops, "drops of each operation");
    }

    fn insert(&mut self, what: u8) {
        let owner = match what >> 4 & 3 {
            0 => Owner::Future,
            1 => Owner::Lane,
            2 => Owner::Orphan,
            _ => Owner::Multi,
        };
        let entry = insert(&self.ledger, owner, what & 0x40 == 0, what & 0x80 != 0);
        assert!(self.keys.insert(entry.key), "{:?} was used before", entry.key);
        self.entries.push(entry);
    }

    fn complete(&mut self, at: usize, what: u8, res: i32) {
        let entry = &mut self.entries[at];
        let cqe = Cqe { key: entry.key, res, flags: u32::from(what >> 4) };
        if entry.done.is_some() {
            return self.complete_strange(cqe);
        }
        let asked = matches!(entry.wish, Wish::Sent | Wish::Refused);
        if entry.owner == Owner::Multi {
            self.items.push((entry.id, res));
            if entry.comes_back {
                self.note_cancel(at);
            }
        }
        self.ledger.slots.complete(cqe);
        if cqe.flags & flag::MORE != 0 {
            return;
        }
        let res = if res == -errno::INTR && asked { -errno::CANCELED } else { res };
        let entry = &mut self.entries[at];
        if matches!(entry.owner, Owner::Orphan | Owner::Multi) {
            return self.end(at, res);
        }
        entry.done = Some(res);
        let key = entry.key;
        if let Some(waker) = entry.waker.take() {
            assert_eq!(waker.0.load(Ordering::Relaxed), 1, "wakes of {key:?}");
        }
        self.listed.retain(|listed| *listed != key);
    }

    /// The operation leaves its slot for its destructor.
    fn end(&mut self, at: usize, res: i32) {
        let entry = self.entries.remove(at);
        self.abandoned.push((entry.id, res));
        self.retire(&entry);
    }

    fn retire(&mut self, entry: &Entry) {
        if let Some(waker) = &entry.waker {
            assert_eq!(waker.0.load(Ordering::Relaxed), 0, "nobody waits any more");
            assert_eq!(Arc::strong_count(waker), 1, "the waker is dropped");
        }
        self.retired.push(entry.key);
    }

    /// A completion for nothing in flight. It may be for an operation all the same if it is random.
    fn complete_strange(&mut self, cqe: Cqe) {
        let same =
            |key: Key| (key.slot(), key.generation()) == (cqe.key.slot(), cqe.key.generation());
        if self.entries.iter().any(|entry| same(entry.key) && entry.done.is_none()) {
            return;
        }
        self.stale += 1;
        self.ledger.slots.complete(cqe);
    }

    fn poll(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        if matches!(entry.owner, Owner::Orphan | Owner::Multi) {
            return;
        }
        let woken = Arc::new(Woken::default());
        let polled = self.ledger.slots.poll(entry.key, &Waker::from(woken.clone()));
        assert_eq!(polled.map(|(cqe, _)| cqe.res), entry.done);
        match entry.done {
            // The waker that was there before is not needed any more.
            None => drop(entry.waker.replace(woken)),
            Some(_) => assert_eq!(Arc::strong_count(&woken), 1),
        }
    }

    /// Takes a result as the future of the operation does.
    fn take(&mut self, at: usize) {
        let entry = &self.entries[at];
        let Some(res) = entry.done else { return };
        let (cqe, place) =
            self.ledger.slots.poll(entry.key, Waker::noop()).expect("the operation has ended");
        assert_eq!((cqe.key, cqe.res), (entry.key, res));
        // SAFETY: a finished slot holds the token that `insert` stored, and is freed next.
        let token = unsafe { place.cast::<Token>().read() };
        assert_eq!(token.id, entry.id);
        self.ledger.slots.free(entry.key);
        let entry = self.entries.remove(at);
        self.retire(&entry);
        drop(token);
    }

    fn release(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        if matches!(entry.owner, Owner::Orphan | Owner::Multi) {
            return;
        }
        self.ledger.slots.release(entry.key);
        if let Some(res) = entry.done {
            return self.end(at, res);
        }
        entry.owner = Owner::Orphan;
        if let Some(waker) = entry.waker.take() {
            assert_eq!(Arc::strong_count(&waker), 1, "the waker is dropped");
        }
        self.note_cancel(at);
    }

    fn cancel(&mut self, at: usize) {
        self.ledger.slots.cancel(self.entries[at].key);
        self.note_cancel(at);
    }

    fn note_cancel(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        let unlisted = matches!(entry.wish, Wish::No | Wish::Refused);
        if entry.done.is_none() && unlisted && entry.cancellable {
            entry.wish = Wish::Listed;
            self.listed.push(entry.key);
        }
    }

    fn cancel_all(&mut self) {
        // Slots are walked in order, and the list is a stack.
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&at| self.entries[at].key.slot());
        self.ledger.slots.cancel_all();
        order.into_iter().for_each(|at| self.note_cancel(at));
    }

    fn send_cancel(&mut self) {
        // Those that ended as orphans are still on the list, to be passed over.
        let expected = loop {
            let Some(key) = self.listed.pop() else { break None };
            if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
                assert_eq!(entry.wish, Wish::Listed);
                entry.wish = Wish::Sent;
                break Some(key);
            }
        };
        assert_eq!(self.ledger.slots.next_cancel(), expected);
    }

    fn refuse(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        let repeat = entry.done.is_none() && entry.wish == Wish::Sent;
        assert_eq!(self.ledger.slots.cancel_refused(entry.key), repeat);
        if repeat {
            entry.wish = Wish::Refused;
        }
    }

    fn residue(&mut self, at: usize) {
        let entry = &self.entries[at];
        let Some(res) = entry.done else { return };
        let cqe = Cqe { key: entry.key, res, flags: 0 };
        let mut left = Vec::new();
        // SAFETY: the operation is finished, and the closure frees nothing.
        unsafe {
            self.ledger.slots.residue(entry.key, cqe, &mut |part| left.extend_from_slice(part))
        };
        assert_eq!(left, [entry.id as u8, res as u8]);
    }

    fn abandon_finished(&mut self) {
        let mut done: Vec<Key> = Vec::new();
        done.extend(self.entries.iter().filter(|entry| entry.done.is_some()).map(|e| e.key));
        done.sort_by_key(|key| key.slot());
        self.ledger.slots.abandon_finished();
        for key in done {
            let at = self.entries.iter().position(|entry| entry.key == key).expect("it was there");
            let res = self.entries[at].done.expect("it was finished");
            self.end(at, res);
        }
    }

    /// Ends everything, as the end of a core does.
    fn finish(&mut self) {
        self.check_all();
        self.cancel_all();
        while self.ledger.slots.next_cancel().is_some() {}
        self.listed.clear();
        while let Some(at) = self.entries.iter().position(|entry| entry.done.is_none()) {
            // Destructors start no more than one operation each, and those start none.
            self.entries[at].wish = Wish::Sent;
            self.complete(at, 0, -errno::CANCELED);
            self.check();
        }
        self.abandon_finished();
        self.check();
        while let Some(at) = self.entries.iter().position(|entry| entry.done.is_none()) {
            self.complete(at, 0, 0);
            self.check();
        }
        self.check_all();
        assert_eq!(self.ledger.slots.live(), 0);
        assert_eq!(Rc::strong_count(&self.ledger), 1, "no operation is left");
    }
}

/// A result; mostly one of those that mean something here.
fn result(input: &mut Unstructured<'_>) -> Result<i32> {
    Ok(match input.arbitrary::<u8>()? {
        0..=63 => -errno::INTR,
        64..=127 => -errno::CANCELED,
        128..=250 => input.arbitrary::<u8>()?.into(),
        _ => input.arbitrary()?,
    })
}
