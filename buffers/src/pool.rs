//! Buffers of equal length that a runtime lends to its program.
//!
//! A driver takes free buffers to hand them to the kernel, and leases those that the kernel has
//! filled. A buffer has a number, its *bid*, and is in one of three states:
//!
//! ```text
//!            take                    lease
//!    free ----------> taken by the ----------> leased: 1 or more
//!     ^  <----------  driver, or               references
//!     |   put_back    in the kernel                |
//!     +--------------------------------------------+
//!        last reference: Chunk dropped, or Bytes dropped and `collect`
//! ```
//!
//! Everything but the memory itself belongs to one thread. In steady state nothing here allocates.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Waker;

use crate::chunk::Chunk;
use crate::memory::{Heap, PoolMemory};
use crate::region::Region;
use crate::sync::Arc;

/// Provided-buffer rings have at most this many entries (io_uring_setup_buf_ring(3)).
const BUFFERS_MAX: RangeInclusive<usize> = 1..=32768;
const BUFFER_LEN: RangeInclusive<usize> = 64..=1 << 20;

/// The size of a [`Pool`].
///
/// The default is 128 buffers of 16 KiB, growing up to 2048 (32 MiB).
///
/// # Examples
///
/// ```
/// use ringbolt_buffers::PoolConfig;
///
/// let config = PoolConfig { buffer_len: 4096, ..PoolConfig::default() };
/// assert_eq!(config.buffers, 128);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The length of each buffer in bytes, from 64 to 1 MiB.
    pub buffer_len: usize,
    /// How many buffers there are at first, from 1 to `buffers_max`.
    pub buffers: usize,
    /// How many buffers there are after growing as far as possible, from 1 to 32768. Address space
    /// for all of them is taken at once, memory only when each is first used.
    pub buffers_max: usize,
    /// Whether a buffer is overwritten with zeros when its last reference is dropped (default
    /// false), so that what one peer sent does not lie about until the buffer is filled again. No
    /// program sees more of a buffer than was received into it in either case; this is for what
    /// reads the memory of the whole process, such as a core dump.
    ///
    /// It costs one write of `buffer_len` bytes per buffer that was lent. A reference that was
    /// dropped as [`Bytes`](bytes::Bytes) counts when the pool next looks for such, before its core
    /// sleeps. Copies that the program makes, and those on the heap that stand in for a pool which
    /// has run low, are not covered.
    pub zeroize: bool,
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig { buffer_len: 16 << 10, buffers: 128, buffers_max: 2048, zeroize: false }
    }
}

impl PoolConfig {
    fn check(&self) -> io::Result<()> {
        let check = |name: &str, value: usize, allowed: RangeInclusive<usize>| {
            if allowed.contains(&value) {
                return Ok(());
            }
            let (low, high) = allowed.into_inner();
            let what = format!("{name} is {value}, choose from {low} to {high}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, what))
        };
        check("buffer_len", self.buffer_len, BUFFER_LEN)?;
        check("buffers_max", self.buffers_max, BUFFERS_MAX)?;
        check("buffers", self.buffers, 1..=self.buffers_max)
    }

    /// Bytes for all buffers.
    fn size(&self) -> io::Result<usize> {
        self.buffer_len.checked_mul(self.buffers_max).ok_or_else(|| {
            let what = "the pool exceeds the address space, lower buffers_max or buffer_len";
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })
    }
}

/// Buffers that a driver fills and lends to the program as [`Chunk`]s.
///
/// This is the driver's side: programs meet only the chunks. A pool belongs to one thread; clones
/// are handles to the same pool. It may be dropped before the chunks that it lent: the memory stays
/// until the last of them, and of the [`Bytes`](bytes::Bytes) made from them, is gone.
///
/// # Examples
///
/// ```
/// use ringbolt_buffers::{Pool, PoolConfig};
///
/// # fn main() -> std::io::Result<()> {
/// let sizes = PoolConfig { buffer_len: 64, buffers: 2, buffers_max: 4, ..Default::default() };
/// let pool = Pool::new(sizes)?;
/// let bid = pool.take().expect("the pool is new");
///
/// // The driver or the kernel fills the buffer.
/// // SAFETY: the buffer has room for 64 bytes, and nobody else uses it.
/// unsafe { pool.ptr(bid).write_bytes(b'x', 5) };
///
/// // SAFETY: the buffer was taken above, and five bytes were filled.
/// let chunk = unsafe { pool.lease(bid, 5) };
/// assert_eq!(&chunk[..], b"xxxxx");
/// assert_eq!((pool.free(), pool.leased()), (1, 1));
///
/// drop(chunk);
/// assert_eq!((pool.free(), pool.leased()), (2, 0));
/// # Ok(())
/// # }
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<ringbolt_buffers::Pool>();
/// ```
#[derive(Clone)]
pub struct Pool {
    local: Rc<Local>,
}

impl Pool {
    /// Makes a pool whose first `config.buffers` buffers are free.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the configuration is out of its limits, naming the field and what to
    /// choose; `OutOfMemory` if the allocator has no such memory.
    pub fn new(config: PoolConfig) -> io::Result<Pool> {
        config.check()?;
        Pool::with_memory(config, |len| Ok(Box::new(Heap::new(len)?)))
    }

    /// As [`new`](Self::new), in memory that `allocate` makes for the number of bytes it is given.
    ///
    /// # Errors
    ///
    /// Those of `new`, and of `allocate`.
    ///
    /// # Panics
    ///
    /// If there is less memory than was asked for.
    pub fn with_memory(
        config: PoolConfig,
        allocate: impl FnOnce(usize) -> io::Result<Box<dyn PoolMemory>>,
    ) -> io::Result<Pool> {
        config.check()?;
        let region = Region::new(allocate(config.size()?)?, config.buffer_len, config.buffers_max);
        let local = Rc::new(Local {
            region: Arc::new(region),
            config,
            slots: vec![Cell::new(FREE); config.buffers_max].into(),
            free: RefCell::new(Vec::with_capacity(config.buffers_max)),
            introduced: Cell::new(0),
            leased: Cell::new(0),
        });
        local.introduce(config.buffers);
        Ok(Pool { local })
    }

    /// The length of each buffer in bytes.
    pub fn buffer_len(&self) -> usize {
        self.local.config.buffer_len
    }

    /// How many buffers exist so far; their bids are the numbers below this.
    pub fn introduced(&self) -> usize {
        self.local.introduced.get()
    }

    /// How many buffers may exist in the end.
    pub fn buffers_max(&self) -> usize {
        self.local.config.buffers_max
    }

    /// How many buffers the program holds, as [`Chunk`]s or [`Bytes`](bytes::Bytes).
    ///
    /// Those whose last reference was a `Bytes` count until they are [collected](Self::collect).
    pub fn leased(&self) -> usize {
        self.local.leased.get()
    }

    /// How many buffers are free, ready to be taken.
    pub fn free(&self) -> usize {
        self.local.free.borrow().len()
    }

    /// Takes a free buffer, the one that was freed last, for its memory is the likeliest to be in
    /// the cache.
    ///
    /// The caller owns it now: fills it, or hands it to the kernel, then calls
    /// [`lease`](Self::lease) or [`put_back`](Self::put_back). `None` if no buffer is free; then
    /// [`collect`](Self::collect) or [`grow`](Self::grow) may help.
    pub fn take(&self) -> Option<u16> {
        let bid = self.local.free.borrow_mut().pop()?;
        let state = self.local.slot(bid).replace(TAKEN);
        debug_assert_eq!(state, FREE, "buffer {bid} was in the free list, but not free");
        Some(bid)
    }

    /// Gives a taken buffer back unused. The pool owns it again.
    ///
    /// # Panics
    ///
    /// If the buffer is not taken: it is free already, or leased, or does not exist.
    pub fn put_back(&self, bid: u16) {
        let state = self.local.slot(bid).get();
        assert_eq!(state, TAKEN, "buffer {bid} was put back without being taken");
        self.local.set_free(bid);
    }

    /// Doubles the number of buffers, up to the maximum; returns how many were added, which is 0 at
    /// the maximum. They are free.
    pub fn grow(&self) -> usize {
        let added = self.introduced().min(self.buffers_max() - self.introduced());
        self.local.introduce(added);
        added
    }

    /// The first of the [`buffer_len`](Self::buffer_len) bytes of a buffer.
    ///
    /// Only who took the buffer may write through this pointer, and only until it is leased or put
    /// back. The memory stays as long as the pool or anything that it lent.
    ///
    /// # Panics
    ///
    /// If there is no such buffer yet.
    pub fn ptr(&self, bid: u16) -> NonNull<u8> {
        let introduced = self.introduced();
        assert!(usize::from(bid) < introduced, "buffer {bid} of {introduced} does not exist");
        self.local.region.ptr(bid)
    }

    /// Lends the first `len` bytes of a taken buffer to the program.
    ///
    /// The buffer belongs to the returned chunk now, and is free again after the last reference to
    /// it is dropped.
    ///
    /// # Panics
    ///
    /// If `len` is more than the length of a buffer, or the buffer is not taken.
    ///
    /// # Safety
    ///
    /// 1. The first `len` bytes of the buffer are initialised.
    /// 2. The buffer was taken by the caller, and neither leased nor put back since.
    /// 3. Nobody writes the buffer until it is taken again: the kernel is done with it.
    pub unsafe fn lease(&self, bid: u16, len: usize) -> Chunk {
        let buffer_len = self.buffer_len();
        assert!(len <= buffer_len, "cannot lend {len} bytes of a buffer of {buffer_len}");
        let slot = self.local.slot(bid);
        assert_eq!(slot.get(), TAKEN, "buffer {bid} was leased without being taken");
        slot.set(1);
        self.local.leased.set(self.local.leased.get() + 1);
        let start = self.local.region.ptr(bid);
        // SAFETY: (1) the reference just counted; (2) by obligations 1 and 3, and `len` is checked.
        unsafe { Chunk::pooled(Rc::clone(&self.local), bid, start, len) }
    }

    /// Makes buffers free whose last reference was dropped as [`Bytes`](bytes::Bytes), on whichever
    /// thread; returns how many.
    ///
    /// Costs one load of an atomic when there are none.
    pub fn collect(&self) -> usize {
        let mut freed = 0;
        self.local.region.collect(|bid, count| {
            freed += usize::from(self.local.release(bid, count));
        });
        freed
    }

    /// Sets what to wake when a buffer comes back while the pool is [starving](Self::starving).
    ///
    /// The pool owns the waker until it is replaced; `None` wakes nobody.
    pub fn set_waker(&self, waker: Option<Waker>) {
        self.local.region.set_waker(waker);
    }

    /// Says whether the owner waits for buffers.
    ///
    /// While set, dropping a [`Bytes`](bytes::Bytes) wakes the [waker](Self::set_waker), if it is
    /// the first one since [`collect`](Self::collect) was last called. So call `collect` after this
    /// and before going to sleep: what comes back after that call wakes.
    pub fn starving(&self, starving: bool) {
        self.local.region.set_starving(starving);
    }

    /// Whether so many buffers are lent that the next bytes should rather be copied.
    ///
    /// That is when the pool has grown to its maximum, and less than an eighth of it, or not even
    /// one buffer, is not leased.
    pub fn is_low(&self) -> bool {
        let buffers_max = self.buffers_max();
        let unleased = self.introduced() - self.leased();
        self.introduced() == buffers_max && unleased < (buffers_max / 8).max(1)
    }

    /// Keeps the memory for ever: never frees it, whatever is dropped.
    ///
    /// For a driver that ends while the kernel may still write into a taken buffer.
    pub fn leak(&self) {
        std::mem::forget(Arc::clone(&self.local.region));
    }

    #[cfg(all(test, ringbolt_loom))]
    pub(crate) fn shared_region(&self) -> Arc<Region> {
        Arc::clone(&self.local.region)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("config", &self.local.config)
            .field("introduced", &self.introduced())
            .field("leased", &self.leased())
            .field("free", &self.free())
            .finish()
    }
}

/// What handles and chunks of one pool share on their thread.
pub(crate) struct Local {
    region: Arc<Region>,
    config: PoolConfig,
    /// The state of each buffer: free, taken, or else the number of references.
    slots: Box<[Cell<u32>]>,
    /// Has room for all buffers, so that it never allocates.
    free: RefCell<Vec<u16>>,
    introduced: Cell<usize>,
    leased: Cell<usize>,
}

const FREE: u32 = 0;
const TAKEN: u32 = u32::MAX;

impl Local {
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Counts one more reference on a leased buffer.
    ///
    /// # Panics
    ///
    /// At about four billion references, which only leaked ones can add up to.
    pub(crate) fn retain(&self, bid: u16) {
        let slot = self.slot(bid);
        debug_assert!(!matches!(slot.get(), FREE | TAKEN), "buffer {bid} is not leased");
        assert!(slot.get() < TAKEN - 1, "buffer {bid} has too many references");
        slot.set(slot.get() + 1);
    }

    /// Gives back `count` references on a leased buffer; returns whether it is free now.
    pub(crate) fn release(&self, bid: u16, count: u32) -> bool {
        let slot = self.slot(bid);
        debug_assert!(!matches!(slot.get(), FREE | TAKEN), "buffer {bid} is not leased");
        let left = slot.get() - count;
        slot.set(left);
        if left > 0 {
            return false;
        }
        self.leased.set(self.leased.get() - 1);
        if self.config.zeroize {
            // SAFETY: the last reference has gone, and the buffer is not free for others yet.
            unsafe { self.region.wipe(bid) };
        }
        self.set_free(bid);
        true
    }

    fn slot(&self, bid: u16) -> &Cell<u32> {
        &self.slots[usize::from(bid)]
    }

    fn set_free(&self, bid: u16) {
        self.slot(bid).set(FREE);
        let mut free = self.free.borrow_mut();
        debug_assert!(free.len() < free.capacity(), "more free buffers than there are");
        free.push(bid);
    }

    /// Adds `count` buffers, lowest bid on top.
    fn introduce(&self, count: usize) {
        let first = self.introduced.get();
        let all = first + count;
        debug_assert!(all <= self.config.buffers_max);
        self.free.borrow_mut().extend((first..all).rev().map(|bid| bid as u16));
        self.introduced.set(all);
    }
}

#[cfg(any(all(test, not(ringbolt_loom)), fuzzing))]
pub(crate) mod model;
#[cfg(all(test, not(ringbolt_loom)))]
mod tests;
