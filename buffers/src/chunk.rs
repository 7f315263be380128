//! Received bytes, lent by a pool or owned.
//!
//! A chunk of a pool holds one reference on its buffer. The count is kept by the pool, on its
//! thread, so that neither making nor splitting nor dropping a chunk allocates. What leaves the
//! thread goes as a [`Bytes`], whose owner carries the reference on.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice::from_raw_parts;

use bytes::{Buf, Bytes};

use crate::owned::IoBuf;
use crate::pool::Local;
use crate::region::Shared;
use crate::sync::Arc;

/// Received bytes.
///
/// Mostly the chunk is *pooled*: it holds a buffer of the runtime's [`Pool`](crate::Pool), as the
/// kernel filled it. The buffer is lent to you until you drop the chunk, so do not keep chunks for
/// long: keep a [copy](Chunk::copied) instead. Other chunks own memory on the heap.
///
/// A chunk stays on its thread. [`into_bytes`](Chunk::into_bytes) makes something that can go
/// elsewhere, without copying.
///
/// # Examples
///
/// ```
/// use ringbolt_buffers::Chunk;
///
/// let mut chunk = Chunk::from(b"key=value".to_vec());
/// let key = chunk.split_to(3);
/// chunk.advance(1);
/// assert_eq!((&key[..], &chunk[..]), (&b"key"[..], &b"value"[..]));
///
/// let bytes = chunk.into_bytes();
/// std::thread::spawn(move || drop(bytes)).join().unwrap();
/// ```
///
/// The chunk itself cannot go to another thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<ringbolt_buffers::Chunk>();
/// ```
pub struct Chunk(Kind);

enum Kind {
    Pooled(Pooled),
    Heap(Bytes),
}

/// One reference on buffer `bid`, and the `len` bytes of it from `start`.
struct Pooled {
    local: Rc<Local>,
    start: NonNull<u8>,
    len: u32,
    bid: u16,
}

impl Chunk {
    /// # Safety
    ///
    /// 1. The caller passes on one counted reference on buffer `bid` of `local`.
    /// 2. The `len` bytes from `start` are inside that buffer, initialised, and not written while
    ///    there is a reference.
    pub(crate) unsafe fn pooled(
        local: Rc<Local>,
        bid: u16,
        start: NonNull<u8>,
        len: usize,
    ) -> Chunk {
        let len = u32::try_from(len).expect("a buffer is much shorter than 4 GiB");
        Chunk(Kind::Pooled(Pooled { local, start, len, bid }))
    }

    /// A chunk on the heap, with a copy of `bytes`. The caller keeps those.
    pub fn copied(bytes: &[u8]) -> Chunk {
        Chunk(Kind::Heap(Bytes::copy_from_slice(bytes)))
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Pooled(pooled) => pooled.len as usize,
            Kind::Heap(bytes) => bytes.len(),
        }
    }

    /// Whether there are no bytes. An empty chunk may still hold a buffer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this holds a buffer of a pool.
    pub fn is_pooled(&self) -> bool {
        matches!(self.0, Kind::Pooled(_))
    }

    /// Drops the first `n` bytes.
    ///
    /// # Panics
    ///
    /// If there are fewer than `n` bytes.
    pub fn advance(&mut self, n: usize) {
        let len = self.len();
        assert!(n <= len, "cannot advance by {n} in a chunk of {len} bytes");
        match &mut self.0 {
            Kind::Pooled(pooled) => pooled.advance(n),
            Kind::Heap(bytes) => bytes.advance(n),
        }
    }

    /// Drops all but the first `n` bytes; does nothing if there are no more than `n`.
    pub fn truncate(&mut self, n: usize) {
        match &mut self.0 {
            // Not longer than before, so it fits.
            Kind::Pooled(pooled) => pooled.len = n.min(pooled.len as usize) as u32,
            Kind::Heap(bytes) => bytes.truncate(n),
        }
    }

    /// Splits off the first `n` bytes, without copying. This chunk keeps the rest.
    ///
    /// The two share one buffer, which goes back to its pool after both are dropped.
    ///
    /// # Panics
    ///
    /// If there are fewer than `n` bytes.
    pub fn split_to(&mut self, n: usize) -> Chunk {
        let len = self.len();
        assert!(n <= len, "cannot split {n} bytes off a chunk of {len}");
        match &mut self.0 {
            Kind::Pooled(pooled) => {
                pooled.local.retain(pooled.bid);
                let (local, start) = (Rc::clone(&pooled.local), pooled.start);
                // SAFETY: (1) the reference just counted; (2) these bytes are some of this chunk's.
                let first = unsafe { Chunk::pooled(local, pooled.bid, start, n) };
                pooled.advance(n);
                first
            }
            Kind::Heap(bytes) => Chunk(Kind::Heap(bytes.split_to(n))),
        }
    }

    /// Turns this into [`Bytes`], without copying the bytes.
    ///
    /// The bytes may be held and dropped on any thread, also after the pool is gone. Their buffer
    /// goes back to its pool after the last of their clones is dropped.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Kind::Pooled(pooled) if pooled.len > 0 => Bytes::from_owner(pooled.share()),
            Kind::Pooled(_) => Bytes::new(),
            Kind::Heap(bytes) => bytes,
        }
    }
}

impl Pooled {
    fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len as usize);
        // SAFETY: the callers check that `n` is at most the length, so this stays in the buffer.
        self.start = unsafe { self.start.add(n) };
        self.len -= n as u32;
    }

    fn share(&self) -> Shared {
        self.local.retain(self.bid);
        let (region, len) = (Arc::clone(self.local.region()), self.len as usize);
        // SAFETY: (1) the reference just counted; (2) these are the bytes of this chunk.
        unsafe { Shared::new(region, self.bid, self.start, len) }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.local.release(self.bid, 1);
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Pooled(pooled) => {
                // SAFETY: by obligation 2 of `pooled`, and the chunk holds a reference. The memory
                // stays as long as the region, which `local` owns.
                unsafe { from_raw_parts(pooled.start.as_ptr(), pooled.len as usize) }
            }
            Kind::Heap(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

// SAFETY: S1 the chunk owns its memory or holds a reference on its buffer, which is outside of the
// value; S2 nobody writes a leased buffer, nor a `Bytes`; S3 pointer and length change through
// `&mut` only; S4 the pointer is that of a slice of the whole range.
unsafe impl IoBuf for Chunk {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        (NonNull::from(&**self).cast(), self.len())
    }
}

impl Default for Chunk {
    /// An empty chunk, without a buffer.
    fn default() -> Self {
        Chunk(Kind::Heap(Bytes::new()))
    }
}

impl From<Vec<u8>> for Chunk {
    /// A chunk on the heap. It owns the vector's memory now; nothing is copied.
    fn from(bytes: Vec<u8>) -> Self {
        Chunk(Kind::Heap(bytes.into()))
    }
}

impl From<Bytes> for Chunk {
    /// A chunk on the heap. It owns the `Bytes` now; nothing is copied.
    fn from(bytes: Bytes) -> Self {
        Chunk(Kind::Heap(bytes))
    }
}

impl From<Chunk> for Bytes {
    /// The same as [`Chunk::into_bytes`].
    fn from(chunk: Chunk) -> Self {
        chunk.into_bytes()
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_pooled() { "pooled" } else { "heap" };
        f.debug_struct("Chunk").field("kind", &kind).field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests;
