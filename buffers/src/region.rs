//! The memory of a pool, and the way back for buffers that were lent to other threads.
//!
//! Owned by the pool, by its chunks, and by every [`Shared`] piece, so that the memory outlives
//! them all. Only the pool's own thread collects; any thread gives back, without allocation, and
//! without a lock except to wake:
//!
//! 1. `returned[bid]` counts the references given back (release).
//! 2. The bit of `bid` is set in `marked` (release).
//! 3. `pending` is set. Who finds it clear, and the owner starving, wakes the owner.
//!
//! The owner walks the same way in reverse. What it takes from `returned` with acquire happened
//! after the last read of these bytes, so the buffer may be written again.

use std::fmt;
use std::ptr::NonNull;
use std::slice::from_raw_parts;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::task::Waker;

use crate::memory::PoolMemory;
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicUsize, Mutex};

/// The memory of a pool, for all threads.
pub(crate) struct Region {
    start: NonNull<u8>,
    memory: Box<dyn PoolMemory>,
    buffer_len: usize,
    returned: Box<[AtomicU32]>,
    marked: Box<[AtomicUsize]>,
    pending: AtomicBool,
    starving: AtomicBool,
    waker: Mutex<Option<Arc<Waker>>>,
}

// SAFETY: the memory has no affinity to a thread, and is freed with the last owner only. Who may
// access which bytes is settled by leases: a pool's buffer is lent, or written, but never both.
unsafe impl Send for Region {}
// SAFETY: as above; the other fields are atomics, a lock, and memory for all threads.
unsafe impl Sync for Region {}

impl Region {
    /// Buffers in `memory`, which has room for them.
    pub(crate) fn new(memory: Box<dyn PoolMemory>, buffer_len: usize, count: usize) -> Region {
        let (start, len) = memory.parts();
        assert!(len / buffer_len >= count, "{len} bytes for {count} buffers of {buffer_len}");
        Region {
            start,
            memory,
            buffer_len,
            returned: (0..count).map(|_| AtomicU32::new(0)).collect(),
            marked: (0..count.div_ceil(BITS)).map(|_| AtomicUsize::new(0)).collect(),
            pending: AtomicBool::new(false),
            starving: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// The first byte of buffer `bid`.
    pub(crate) fn ptr(&self, bid: u16) -> NonNull<u8> {
        let bid = usize::from(bid);
        assert!(bid < self.returned.len(), "the pool has no buffer {bid}");
        // SAFETY: the region has `buffer_len` bytes for each `bid` below the count, as checked
        // in `new`.
        unsafe { self.start.add(bid * self.buffer_len) }
    }

    /// Overwrites buffer `bid` with zeros.
    ///
    /// # Safety
    ///
    /// Nobody else uses the buffer.
    pub(crate) unsafe fn wipe(&self, bid: u16) {
        let start = self.ptr(bid);
        // A child of fork(2) has nothing to wipe.
        if self.memory.is_present() {
            // SAFETY: the buffer has this length, and by the caller's obligation nobody uses it.
            unsafe { start.write_bytes(0, self.buffer_len) };
        }
    }

    /// Takes back one reference on buffer `bid`, from any thread.
    fn give_back(&self, bid: u16) {
        let bid = usize::from(bid);
        self.returned[bid].fetch_add(1, Release);
        self.marked[bid / BITS].fetch_or(1 << (bid % BITS), Release);
        // The owner stores `starving` before it loads `pending`, and this is the other order: with
        // both sequentially consistent, at least one of them sees the other.
        if !self.pending.swap(true, SeqCst) && self.starving.load(SeqCst) {
            self.wake();
        }
    }

    /// Calls `f` with each buffer that was given back since, and the number of references.
    ///
    /// Called by the owner only.
    pub(crate) fn collect(&self, mut f: impl FnMut(u16, u32)) {
        if !self.pending.load(SeqCst) {
            return;
        }
        // Cleared first: what comes back during the walk is seen by it, or sets this again.
        self.pending.swap(false, SeqCst);
        for (word, marked) in self.marked.iter().enumerate() {
            if marked.load(Relaxed) == 0 {
                continue;
            }
            let mut bits = marked.swap(0, Acquire);
            while bits != 0 {
                let bid = word * BITS + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                // Zero where a later reference was counted by an earlier walk already.
                let count = self.returned[bid].swap(0, Acquire);
                if count > 0 {
                    f(bid as u16, count);
                }
            }
        }
    }

    pub(crate) fn set_starving(&self, starving: bool) {
        self.starving.store(starving, SeqCst);
    }

    pub(crate) fn set_waker(&self, waker: Option<Waker>) {
        let waker = waker.map(Arc::new);
        let old = {
            let mut place = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, waker)
        };
        // Dropped without the lock, as that may run anybody's code; `wake` does the same.
        drop(old);
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake_by_ref();
        }
    }
}

/// Bits in a word of the map of returned buffers.
const BITS: usize = usize::BITS as usize;

/// A lease that left its thread: the owner behind a `Bytes`. Stands for one reference on a buffer.
pub(crate) struct Shared {
    region: Arc<Region>,
    start: NonNull<u8>,
    len: usize,
    bid: u16,
}

// SAFETY: it gives read access to bytes that nobody writes until it is dropped, and dropping it
// works from any thread.
unsafe impl Send for Shared {}

impl Shared {
    /// # Safety
    ///
    /// 1. The caller passes on one counted reference on buffer `bid` of `region`.
    /// 2. The `len` bytes from `start` are inside that buffer and initialised.
    pub(crate) unsafe fn new(
        region: Arc<Region>,
        bid: u16,
        start: NonNull<u8>,
        len: usize,
    ) -> Shared {
        Shared { region, start, len, bid }
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: by obligation 2 of `new`. The bytes stay as they are while the reference on the
        // buffer is held, and the memory stays while the region is.
        unsafe { from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.region.give_back(self.bid);
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("memory", &self.memory).finish_non_exhaustive()
    }
}

#[cfg(all(test, ringbolt_loom))]
mod models;
