//! Buffers that show when somebody writes beside them, or into them after they were freed.
//!
//! Each buffer has a page of its own between pages that nobody may touch. When it is freed, its
//! page is filled with a pattern and closed, so that a copy which comes too late fails with EFAULT,
//! and it waits in a queue behind the other freed ones before it is used again. A write through a
//! pinned page does not mind that the page is closed; it shows when the pattern is looked at.

use crate::ledger;
use ringbolt::{IoBuf, IoBufMut};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;

pub(crate) const PAGE: usize = 4096;
/// From one buffer to the next: its page, and one that is always closed.
const STRIDE: usize = 2 * PAGE;
/// The most buffers, alive or waiting. Each costs two areas of memory, and the arenas of two
/// threads stay below what `vm.max_map_count` usually allows, 65,530.
const CELLS: usize = 12 * 1024;
const SPAN: usize = CELLS * STRIDE;
/// Freed buffers that wait before the oldest of them is used again.
const WAITING: usize = 512;

static BESIDE: [u8; PAGE] = [0xC5; PAGE];
static GONE: [u8; PAGE] = [0xEE; PAGE];

/// What is behind the pages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backing {
    /// Memory of this process; the pattern is looked at when the page is opened again.
    Private,
    /// A memfd that is mapped twice; the pattern is looked at through the other mapping.
    Twice,
}

/// Where buffers come from and go to.
#[derive(Debug)]
pub(crate) struct Arena {
    base: NonNull<u8>,
    /// The memfd, and its other mapping, which stays open.
    twice: Option<(OwnedFd, NonNull<u8>)>,
    fresh: Cell<usize>,
    waiting: RefCell<VecDeque<usize>>,
    alive: Cell<usize>,
}

impl Arena {
    pub(crate) fn new(backing: Backing) -> Rc<Arena> {
        let (closed, open) = (libc::PROT_NONE, libc::PROT_READ | libc::PROT_WRITE);
        let anonymous = libc::MAP_ANONYMOUS;
        // What lies between the pages is of another kind than they are, so that the kernel need
        // not join and part its areas with each change of protection.
        let (base, twice) = match backing {
            Backing::Private => {
                (map(None, SPAN, closed, libc::MAP_SHARED | anonymous, -1, 0), None)
            }
            Backing::Twice => {
                // SAFETY: the name is a string that ends with zero.
                let fd = unsafe { libc::memfd_create(c"guard".as_ptr(), libc::MFD_CLOEXEC) };
                assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
                // SAFETY: `fd` is new.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                // SAFETY: the call names no memory.
                let n = unsafe { libc::ftruncate(fd.as_raw_fd(), SPAN as i64) };
                assert_eq!(n, 0, "ftruncate: {}", std::io::Error::last_os_error());
                let view = map(None, SPAN, open, libc::MAP_SHARED, fd.as_raw_fd(), 0);
                let base = map(None, SPAN, closed, libc::MAP_PRIVATE | anonymous, -1, 0);
                (base, Some((fd, view)))
            }
        };
        Rc::new(Arena {
            base,
            twice,
            fresh: Cell::new(0),
            waiting: RefCell::default(),
            alive: Cell::new(0),
        })
    }

    /// A buffer for at most one page, which begins at its page's beginning, ends at its end, or
    /// lies between.
    pub(crate) fn room(self: &Rc<Arena>, capacity: usize) -> Guard {
        assert!(capacity <= PAGE);
        let start = match fastrand::u8(..4) {
            0 => 0,
            1 => (PAGE - capacity) / 2,
            _ => PAGE - capacity,
        };
        let cell = self.take();
        self.alive.set(self.alive.get() + 1);
        Guard { arena: self.clone(), cell, start, capacity, len: 0 }
    }

    /// A buffer that holds `content`.
    pub(crate) fn holding(self: &Rc<Arena>, content: &[u8]) -> Guard {
        let mut guard = self.room(content.len());
        guard.memory()[..].copy_from_slice(content);
        guard.len = content.len();
        guard
    }

    /// Buffers that have not been freed.
    pub(crate) fn alive(&self) -> usize {
        self.alive.get()
    }

    /// Looks at the pattern of every freed buffer.
    pub(crate) fn inspect(&self) {
        for cell in &*self.waiting.borrow() {
            if self.twice.is_none() {
                self.protect(*cell, libc::PROT_READ);
            }
            self.check_gone(*cell);
            self.protect(*cell, libc::PROT_NONE);
        }
    }

    fn take(&self) -> usize {
        let mut waiting = self.waiting.borrow_mut();
        let fresh = self.fresh.get();
        let cell = if waiting.len() >= WAITING || fresh == CELLS {
            let cell = waiting.pop_front().expect("fewer buffers are in use at a time");
            self.protect(cell, libc::PROT_READ | libc::PROT_WRITE);
            self.check_gone(cell);
            cell
        } else {
            self.fresh.set(fresh + 1);
            self.open_first(fresh);
            fresh
        };
        // SAFETY: the cell is in nobody's hands, and its page is open.
        unsafe { self.page(cell).copy_from_nonoverlapping(NonNull::from(&BESIDE).cast(), PAGE) };
        cell
    }

    fn open_first(&self, cell: usize) {
        let place = Some(self.page(cell));
        let (open, fixed) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_FIXED);
        match &self.twice {
            None => map(place, PAGE, open, fixed | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
            Some((fd, _)) => {
                let at = (cell * STRIDE) as i64;
                map(place, PAGE, open, fixed | libc::MAP_SHARED, fd.as_raw_fd(), at)
            }
        };
    }

    fn give_back(&self, cell: usize) {
        // SAFETY: the buffer that had the cell is being dropped, and its page is open.
        unsafe { self.page(cell).copy_from_nonoverlapping(NonNull::from(&GONE).cast(), PAGE) };
        self.protect(cell, libc::PROT_NONE);
        self.waiting.borrow_mut().push_back(cell);
        self.alive.set(self.alive.get() - 1);
    }

    fn check_gone(&self, cell: usize) {
        let base = self.twice.as_ref().map_or(self.base, |(_, view)| *view);
        // SAFETY: the cell is inside of the mapping.
        let page = unsafe { base.add(cell * STRIDE) };
        // SAFETY: its page can be read here, and nobody should be writing to it.
        let page = unsafe { std::slice::from_raw_parts(page.as_ptr(), PAGE) };
        if page != GONE {
            ledger::note(|counts| counts.late_writes += 1);
        }
    }

    fn page(&self, cell: usize) -> NonNull<u8> {
        // SAFETY: the cell is inside of the mapping.
        unsafe { self.base.add(cell * STRIDE) }
    }

    fn protect(&self, cell: usize, protection: i32) {
        // SAFETY: the page is part of this arena, and who uses it expects the change.
        let n = unsafe { libc::mprotect(self.page(cell).as_ptr().cast(), PAGE, protection) };
        assert_eq!(n, 0, "mprotect: {}", std::io::Error::last_os_error());
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let view = self.twice.as_ref().map(|(_, view)| *view);
        for mapping in [Some(self.base), view].into_iter().flatten() {
            // SAFETY: the mapping is this arena's, and no buffer is left, since they hold it.
            unsafe { libc::munmap(mapping.as_ptr().cast(), SPAN) };
        }
    }
}

/// Maps memory anywhere, or in the place of an arena that has not been used.
fn map(
    place: Option<NonNull<u8>>,
    len: usize,
    protection: i32,
    flags: i32,
    fd: i32,
    offset: i64,
) -> NonNull<u8> {
    let place = place.map_or(null_mut(), |place| place.as_ptr().cast());
    let flags = flags | libc::MAP_NORESERVE;
    // SAFETY: nothing refers to the place, if one is given.
    let base = unsafe { libc::mmap(place, len, protection, flags, fd, offset) };
    assert_ne!(base, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    NonNull::new(base.cast()).expect("a mapping is not at zero")
}

/// One buffer.
#[derive(Debug)]
pub(crate) struct Guard {
    arena: Rc<Arena>,
    cell: usize,
    start: usize,
    capacity: usize,
    len: usize,
}

impl Guard {
    /// The bytes of the last result.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.page()[self.start..self.start + self.len]
    }

    fn page(&self) -> &[u8] {
        // SAFETY: the page is this buffer's and open, and a buffer that is with the kernel is not
        // looked at.
        unsafe { std::slice::from_raw_parts(self.arena.page(self.cell).as_ptr(), PAGE) }
    }

    fn memory(&mut self) -> &mut [u8] {
        // SAFETY: the range is inside of the buffer's page.
        let start = unsafe { self.arena.page(self.cell).add(self.start) };
        // SAFETY: as in `page`; the buffer is exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.capacity) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (before, rest) = self.page().split_at(self.start);
        let after = &rest[self.capacity..];
        if before != &BESIDE[..before.len()] || after != &BESIDE[..after.len()] {
            ledger::note(|counts| counts.writes_beside += 1);
        }
        self.arena.give_back(self.cell);
    }
}

// SAFETY: the page is mapped until the arena goes, which the buffer holds, and is nobody else's
// before the buffer is dropped; pointer and length do not change.
unsafe impl IoBuf for Guard {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        (NonNull::from(&self.page()[self.start..]).cast(), self.len)
    }
}

// SAFETY: as above, and all of the range is initialised.
unsafe impl IoBufMut for Guard {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        (NonNull::from(self.memory()).cast(), self.capacity)
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.len = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// What a read into `at` finds when it comes after the buffer was freed.
    fn read_into(at: *mut u8) -> std::io::Error {
        let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        theirs.write_all(b"late").expect("room for four bytes");
        // SAFETY: the kernel checks the address, which is what this is about.
        let n = unsafe { libc::read(ours.as_raw_fd(), at.cast(), 4) };
        let error = std::io::Error::last_os_error();
        assert_eq!(n, -1, "a closed page was written to");
        ours.read_exact(&mut [0; 4]).expect("what was not copied stays");
        error
    }

    #[test]
    fn a_copy_into_a_freed_buffer_fails() {
        let _alone = crate::alone();
        for backing in [Backing::Private, Backing::Twice] {
            let arena = Arena::new(backing);
            let mut guard = arena.room(100);
            let at = guard.io_parts_mut().0.as_ptr();
            drop(guard);
            assert_eq!(read_into(at).raw_os_error(), Some(libc::EFAULT), "{backing:?}");
            arena.inspect();
            assert_eq!(ledger::take().late_writes, 0);
        }
    }

    #[test]
    fn a_late_write_through_a_pinned_page_is_seen() {
        let _alone = crate::alone();
        for backing in [Backing::Private, Backing::Twice] {
            let arena = Arena::new(backing);
            let guard = arena.room(100);
            let (cell, _) = (guard.cell, drop(guard));
            // A pinned page is written to whatever its protection is.
            let at = match &arena.twice {
                // SAFETY: the cell is inside of the mapping.
                Some((_, view)) => unsafe { view.add(cell * STRIDE + 7) },
                None => {
                    arena.protect(cell, libc::PROT_READ | libc::PROT_WRITE);
                    // SAFETY: as above.
                    unsafe { arena.page(cell).add(7) }
                }
            };
            // SAFETY: the page is open here, and nobody else uses it.
            unsafe { at.write_volatile(1) };
            arena.inspect();
            assert_eq!(ledger::take().late_writes, 1, "{backing:?}");
        }
    }

    fn poke(guard: &Guard, offset: usize) {
        assert!(offset < PAGE);
        // SAFETY: the byte is inside of the buffer's page.
        let at = unsafe { guard.arena.page(guard.cell).add(offset) };
        // SAFETY: the page is open, and its buffer is not in use.
        unsafe { at.write_volatile(0) };
    }

    #[test]
    fn a_write_beside_a_buffer_is_seen() {
        let _alone = crate::alone();
        let arena = Arena::new(Backing::Private);
        for start in [1, PAGE - 101] {
            let mut guard = arena.room(100);
            guard.start = start;
            poke(&guard, start - 1);
            drop(guard);
            let mut guard = arena.room(100);
            guard.start = start;
            poke(&guard, start + 100);
            drop(guard);
            assert_eq!(ledger::take().writes_beside, 2);
        }
    }
}
