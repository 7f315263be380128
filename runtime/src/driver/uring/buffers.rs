//! The ring through which the kernel gets the pool's buffers (io_uring_register_buf_ring(3), 5.19).

use crate::sys::Mapping;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use ringbolt_buffers::Pool;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// The pool's number in requests.
const GROUP: u16 = 0;

/// Buffers on their way to the kernel.
pub(super) struct BufferRing {
    pool: Pool,
    entries: Mapping,
    mask: u16,
    tail: u16,
}

impl BufferRing {
    /// Registers a ring that can hold every buffer of `pool`.
    pub(super) fn register(ring: &IoUring, pool: &Pool) -> io::Result<BufferRing> {
        let count = pool.buffers_max().next_power_of_two() as u16;
        let entries = Mapping::for_parent(usize::from(count) * size_of::<BufRingEntry>())?;
        let address = entries.as_ptr() as u64;
        // SAFETY: the memory is owned by the returned value, which outlives the ring.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0) }?;
        Ok(BufferRing { pool: pool.clone(), entries, mask: count - 1, tail: 0 })
    }

    /// Hands every free buffer to the kernel.
    pub(super) fn refill(&mut self) {
        self.pool.collect();
        let before = self.tail;
        while let Some(bid) = self.pool.take() {
            self.put(bid);
        }
        if self.tail != before {
            self.publish();
        }
    }

    #[cfg(all(test, not(ringbolt_loom)))]
    pub(super) fn address(&self) -> usize {
        self.entries.as_ptr().addr()
    }

    fn put(&mut self, bid: u16) {
        let index = usize::from(self.tail & self.mask);
        let base = self.entries.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the index is below the number of entries.
        let entry = unsafe { base.add(index) };
        // SAFETY: the kernel reads entries only between its head and the published tail, where
        // this one is not.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.pool.ptr(bid).as_ptr() as u64);
        entry.set_len(self.pool.buffer_len() as u32);
        entry.set_bid(bid);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        let base = self.entries.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `base` is the page-aligned address of the first entry.
        let tail = unsafe { BufRingEntry::tail(base) };
        // SAFETY: the tail is an aligned u16 in owned memory that the kernel only reads; the
        // release store makes the entries visible before it.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }
}
