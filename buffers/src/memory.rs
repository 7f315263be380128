//! Where a pool lives.

use std::alloc::{Layout, alloc, dealloc};
use std::fmt;
use std::io;
use std::ptr::NonNull;

use crate::pages::no_memory;

/// Buffers begin at a page, so that small ones share as few pages as can be.
const ALIGN: usize = 4096;

/// The memory of a [`Pool`](crate::Pool), freed when this is dropped, on any thread.
///
/// # Safety
///
/// 1. `parts` returns the same each time; these bytes are valid for reads and writes until this is
///    dropped.
/// 2. Nobody else uses them.
pub unsafe trait PoolMemory: fmt::Debug + Send + Sync {
    /// The first byte, and how many there are.
    fn parts(&self) -> (NonNull<u8>, usize);

    /// Whether the memory is there at all: it may be kept from the children of fork(2), where
    /// nothing but this method is called any more.
    fn is_present(&self) -> bool {
        true
    }
}

/// Memory of the global allocator, which the system backs when it is first touched.
#[derive(Debug)]
pub(crate) struct Heap {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is owned by this value, and has no affinity to a thread.
unsafe impl Send for Heap {}
// SAFETY: through a shared reference only the address can be had.
unsafe impl Sync for Heap {}

impl Heap {
    /// Allocates `len` bytes, more than none.
    pub(crate) fn new(len: usize) -> io::Result<Heap> {
        debug_assert!(len > 0);
        let layout = Layout::from_size_align(len, ALIGN).map_err(|_| {
            let what = "the pool exceeds the address space, lower buffers_max or buffer_len";
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })?;
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc(layout) };
        let start = NonNull::new(start).ok_or_else(|| no_memory(layout))?;
        Ok(Heap { start, layout })
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and owned by this value alone.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

// SAFETY: 1. the allocation has this size and lives as long as the value. 2. The value owns it.
unsafe impl PoolMemory for Heap {
    fn parts(&self) -> (NonNull<u8>, usize) {
        (self.start, self.layout.size())
    }
}
