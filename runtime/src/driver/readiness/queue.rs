//! Which requests wait for which descriptor, in which order, and what the poller was told.

use crate::sqe::{Key, OpMeta, Sqe};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// A request as this driver keeps it.
pub(super) struct Request {
    pub(super) sqe: Sqe,
    pub(super) meta: &'static OpMeta,
}

impl Request {
    pub(super) fn key(&self) -> Key {
        Key(self.sqe.user_data)
    }
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// One direction of a descriptor.
#[derive(Default)]
pub(super) struct Side {
    pub(super) queue: VecDeque<Request>,
    /// The last send was short, so the next would block until the next event.
    pub(super) drained: bool,
}

impl Side {
    pub(super) fn must_wait(&self) -> bool {
        self.drained || !self.queue.is_empty()
    }
}

#[derive(Default)]
struct Entry {
    read: Side,
    write: Side,
    /// The poller knows the descriptor.
    known: bool,
    /// What the poller was asked for, where it forgets that with each event.
    armed: (bool, bool),
}

/// All descriptors that requests have waited for.
#[derive(Default)]
pub(super) struct Fds {
    entries: HashMap<i32, Entry, BuildHasherDefault<FdHasher>>,
    /// For each slot, the descriptor and direction in whose queue its request waits.
    places: Vec<Option<(i32, Direction)>>,
}

impl Fds {
    pub(super) fn knows(&self, fd: i32) -> bool {
        self.entries.contains_key(&fd)
    }

    pub(super) fn side(&mut self, fd: i32, direction: Direction) -> &mut Side {
        let entry = self.entries.entry(fd).or_default();
        match direction {
            Direction::Read => &mut entry.read,
            Direction::Write => &mut entry.write,
        }
    }

    pub(super) fn enqueue(&mut self, request: Request, direction: Direction) {
        let slot = request.key().slot() as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, None);
        }
        let fd = request.sqe.fd;
        self.places[slot] = Some((fd, direction));
        self.side(fd, direction).queue.push_back(request);
    }

    /// Notes that the request of `key` no longer waits.
    pub(super) fn unplace(&mut self, key: Key) {
        self.places[key.slot() as usize] = None;
    }

    /// Takes the request of `key` out of its queue. True if it was there.
    pub(super) fn remove_request(&mut self, key: Key) -> bool {
        let Some(Some((fd, direction))) = self.places.get(key.slot() as usize).copied() else {
            return false;
        };
        let queue = &mut self.side(fd, direction).queue;
        let Some(at) = queue.iter().position(|r| r.key() == key) else { return false };
        queue.remove(at);
        self.unplace(key);
        true
    }

    /// Drops what is known of a descriptor that is about to be closed. True if the poller knows it.
    pub(super) fn forget(&mut self, fd: i32) -> bool {
        let Some(entry) = self.entries.remove(&fd) else { return false };
        debug_assert!(entry.read.queue.is_empty() && entry.write.queue.is_empty());
        entry.known
    }

    /// What the poller has to be told about `fd`: whether it knows it, and the directions wanted.
    pub(super) fn wanted(&self, fd: i32, edge: bool) -> Option<(bool, (bool, bool))> {
        let entry = self.entries.get(&fd)?;
        if edge {
            // Edges are delivered once per change, so both directions are asked for once.
            return (!entry.known).then_some((false, (true, true)));
        }
        let wanted = (!entry.read.queue.is_empty(), !entry.write.queue.is_empty());
        let missing = (wanted.0 && !entry.armed.0) || (wanted.1 && !entry.armed.1);
        missing.then_some((entry.known, wanted))
    }

    pub(super) fn note_armed(&mut self, fd: i32) {
        if let Some(entry) = self.entries.get_mut(&fd) {
            entry.known = true;
            entry.armed = (!entry.read.queue.is_empty(), !entry.write.queue.is_empty());
        }
    }

    pub(super) fn note_event(&mut self, fd: i32) {
        if let Some(entry) = self.entries.get_mut(&fd) {
            entry.armed = (false, false);
        }
    }
}

/// Descriptors are small numbers chosen by the system, so spreading their bits is enough.
#[derive(Default)]
struct FdHasher(u64);

impl Hasher for FdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte) ^ self.0));
    }

    fn write_i32(&mut self, n: i32) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
