//! A pool beside its description in the plainest terms: what every operation on it has to do.
//!
//! Driven by random operations, of the property test and of the fuzz target.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::thread;

use bytes::Bytes;

use super::*;

/// The length of each buffer.
pub(crate) const LEN: usize = 64;

/// Something to do with a pool, and with what it lent; numbers pick one of those.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Take,
    PutBack(usize),
    Lend(usize, u8, usize),
    Split(usize, usize),
    Advance(usize, usize),
    Truncate(usize, usize),
    DropChunk(usize),
    IntoBytes(usize),
    CloneBytes(usize),
    SplitBytes(usize, usize),
    DropBytes(usize),
    DropBytesElsewhere(usize),
    Starve(bool),
    Collect,
    Grow,
}

/// Bytes that were lent, and what they should be. Those with the same `lease` share a reference.
struct Piece<T> {
    bid: u16,
    lease: usize,
    held: T,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A pool and what it should look like.
pub(crate) struct Model {
    pool: Pool,
    introduced: usize,
    taken: Vec<u16>,
    chunks: Vec<Piece<Chunk>>,
    shared: Vec<Piece<Bytes>>,
    /// Buffers with a reference that was dropped as `Bytes`, and not collected yet.
    uncollected: Vec<u16>,
    starving: bool,
    wakes: Arc<Wakes>,
    wakes_due: usize,
    leases: usize,
}

/// Fills a taken buffer as the kernel would, and lends it.
pub(crate) fn lend_taken(pool: &Pool, bid: u16, bytes: &[u8]) -> Chunk {
    assert!(bytes.len() <= pool.buffer_len());
    let source = NonNull::from(bytes).cast();
    // SAFETY: the buffer was taken and has room, as checked.
    unsafe { pool.ptr(bid).copy_from_nonoverlapping(source, bytes.len()) };
    // SAFETY: the buffer was taken, and these bytes were just written.
    unsafe { pool.lease(bid, bytes.len()) }
}

impl Model {
    pub(crate) fn new(buffers: usize, buffers_max: usize) -> Model {
        let config = PoolConfig { buffer_len: LEN, buffers, buffers_max, zeroize: false };
        let pool = Pool::new(config).expect("the sizes are within their limits");
        let wakes = Arc::new(Wakes::default());
        pool.set_waker(Some(Waker::from(wakes.clone())));
        let model = Model {
            pool,
            introduced: buffers,
            taken: vec![],
            chunks: vec![],
            shared: vec![],
            uncollected: vec![],
            starving: false,
            wakes,
            wakes_due: 0,
            leases: 0,
        };
        model.check();
        model
    }

    fn leased(&self) -> Vec<u16> {
        let chunks = self.chunks.iter().map(|piece| piece.bid);
        let shared = self.shared.iter().map(|piece| piece.bid);
        let mut bids: Vec<u16> = chunks.chain(shared).chain(self.uncollected.clone()).collect();
        bids.sort();
        bids.dedup();
        bids
    }

    fn check(&self) {
        let (leased, max) = (self.leased().len(), self.pool.buffers_max());
        assert_eq!(self.pool.introduced(), self.introduced);
        assert_eq!(self.pool.leased(), leased);
        assert_eq!(self.pool.free(), self.introduced - leased - self.taken.len());
        for piece in &self.chunks {
            assert_eq!(piece.held[..], piece.bytes[..], "chunk of buffer {}", piece.bid);
            assert_eq!(piece.held.len(), piece.bytes.len());
        }
        for piece in &self.shared {
            assert_eq!(piece.held[..], piece.bytes[..], "bytes of buffer {}", piece.bid);
        }
        let low = self.introduced == max && max - leased < (max / 8).max(1);
        assert_eq!(self.pool.is_low(), low);
        assert_eq!(self.wakes.0.load(Ordering::Relaxed), self.wakes_due);
    }

    /// Does `op` on both sides, and compares them.
    pub(crate) fn apply(&mut self, op: Op) {
        let pick = |len: usize, i: usize| (len > 0).then(|| i % len);
        match op {
            Op::Take => self.take(),
            Op::PutBack(i) => {
                if let Some(i) = pick(self.taken.len(), i) {
                    self.pool.put_back(self.taken.swap_remove(i));
                }
            }
            Op::Lend(i, seed, len) => {
                if let Some(i) = pick(self.taken.len(), i) {
                    let bid = self.taken.swap_remove(i);
                    let bytes: Vec<u8> = (0..len).map(|n| seed.wrapping_add(n as u8)).collect();
                    let held = lend_taken(&self.pool, bid, &bytes);
                    self.chunks.push(Piece { bid, lease: 0, held, bytes });
                }
            }
            Op::Split(i, n) => {
                if let Some(i) = pick(self.chunks.len(), i) {
                    let Piece { bid, held, bytes, .. } = &mut self.chunks[i];
                    let n = n % (bytes.len() + 1);
                    let rest = bytes.split_off(n);
                    let (held, bytes) = (held.split_to(n), std::mem::replace(bytes, rest));
                    let bid = *bid;
                    self.chunks.push(Piece { bid, lease: 0, held, bytes });
                }
            }
            Op::Advance(i, n) => {
                if let Some(i) = pick(self.chunks.len(), i) {
                    let Piece { held, bytes, .. } = &mut self.chunks[i];
                    let n = n % (bytes.len() + 1);
                    held.advance(n);
                    bytes.drain(..n);
                }
            }
            Op::Truncate(i, n) => {
                if let Some(i) = pick(self.chunks.len(), i) {
                    let Piece { held, bytes, .. } = &mut self.chunks[i];
                    let n = n % (LEN + 2);
                    held.truncate(n);
                    bytes.truncate(n);
                }
            }
            Op::DropChunk(i) => {
                if let Some(i) = pick(self.chunks.len(), i) {
                    drop(self.chunks.swap_remove(i));
                }
            }
            Op::IntoBytes(i) => {
                if let Some(i) = pick(self.chunks.len(), i) {
                    self.share(i);
                }
            }
            Op::CloneBytes(i) => {
                if let Some(i) = pick(self.shared.len(), i) {
                    let Piece { bid, lease, held, bytes } = &self.shared[i];
                    let (held, bytes) = (held.clone(), bytes.clone());
                    self.shared.push(Piece { bid: *bid, lease: *lease, held, bytes });
                }
            }
            Op::SplitBytes(i, n) => {
                if let Some(i) = pick(self.shared.len(), i) {
                    let Piece { bid, lease, held, bytes } = &mut self.shared[i];
                    let n = n % (bytes.len() + 1);
                    // Without bytes nothing is held, on either side.
                    if n > 0 && n < bytes.len() {
                        let rest = bytes.split_off(n);
                        let (held, bytes) = (held.split_to(n), std::mem::replace(bytes, rest));
                        let (bid, lease) = (*bid, *lease);
                        self.shared.push(Piece { bid, lease, held, bytes });
                    }
                }
            }
            Op::DropBytes(i) => {
                if let Some(i) = pick(self.shared.len(), i) {
                    self.drop_bytes(i, drop);
                }
            }
            Op::DropBytesElsewhere(i) => {
                if let Some(i) = pick(self.shared.len(), i) {
                    self.drop_bytes(i, |held| {
                        thread::spawn(move || drop(held)).join().expect("dropping does not panic");
                    });
                }
            }
            Op::Starve(starving) => {
                self.pool.starving(starving);
                self.starving = starving;
            }
            Op::Collect => {
                let before = self.leased().len();
                self.uncollected.clear();
                assert_eq!(self.pool.collect(), before - self.leased().len());
            }
            Op::Grow => {
                let added = self.introduced.min(self.pool.buffers_max() - self.introduced);
                assert_eq!(self.pool.grow(), added);
                self.introduced += added;
            }
        }
        self.check();
    }

    fn take(&mut self) {
        let Some(bid) = self.pool.take() else {
            assert_eq!(self.introduced, self.leased().len() + self.taken.len());
            return;
        };
        assert!(usize::from(bid) < self.introduced);
        assert!(!self.taken.contains(&bid), "buffer {bid} was taken twice");
        assert!(!self.leased().contains(&bid), "buffer {bid} is lent");
        // What the kernel may do with it from now on.
        // SAFETY: the buffer was taken.
        unsafe { self.pool.ptr(bid).write_bytes(0xee, LEN) };
        self.taken.push(bid);
    }

    fn share(&mut self, i: usize) {
        let Piece { bid, held, bytes, .. } = self.chunks.swap_remove(i);
        let start = held.as_ptr();
        let held = held.into_bytes();
        // Without bytes there is nothing to keep the buffer for.
        if !bytes.is_empty() {
            assert_eq!(held.as_ptr(), start, "the bytes were copied");
            self.leases += 1;
            self.shared.push(Piece { bid, lease: self.leases, held, bytes });
        }
    }

    fn drop_bytes(&mut self, i: usize, drop: impl FnOnce(Bytes)) {
        let Piece { bid, lease, held, .. } = self.shared.swap_remove(i);
        if self.shared.iter().all(|other| other.lease != lease) {
            // The first to come back since the last collection wakes.
            self.wakes_due += usize::from(self.starving && self.uncollected.is_empty());
            self.uncollected.push(bid);
        }
        drop(held);
    }

    /// Gives everything back, and looks whether each buffer is there once.
    pub(crate) fn finish(self) {
        let Model { pool, taken, chunks, shared, introduced, .. } = self;
        taken.into_iter().for_each(|bid| pool.put_back(bid));
        drop((chunks, shared));
        pool.collect();
        assert_eq!((pool.free(), pool.leased()), (introduced, 0));
        let mut all: Vec<u16> = std::iter::from_fn(|| pool.take()).collect();
        all.sort();
        assert!(all.into_iter().map(usize::from).eq(0..introduced));
    }

    /// Drops the pool before what it lent, or keeps its memory for ever; what was lent stays.
    pub(crate) fn abandon(self, leak: bool) {
        let Model { pool, mut taken, chunks, shared, .. } = self;
        let region = Arc::downgrade(&pool.local.region);
        let written = taken.pop().map(|bid| pool.ptr(bid)).filter(|_| leak);
        if leak {
            pool.leak();
        }
        drop(pool);
        chunks.iter().for_each(|piece| assert_eq!(piece.held[..], piece.bytes[..]));
        drop(chunks);
        shared.iter().for_each(|piece| assert_eq!(piece.held[..], piece.bytes[..]));
        drop(shared);
        assert_eq!(region.strong_count(), usize::from(leak), "owners of the memory");
        if let Some(start) = written {
            // SAFETY: the memory was leaked, so the kernel may still write it.
            unsafe { start.write_bytes(1, LEN) };
        }
        if leak {
            // Leak checkers should not find it.
            // SAFETY: this is the one count that was leaked, and nothing uses the memory any more.
            unsafe { Arc::decrement_strong_count(region.as_ptr()) };
        }
    }
}
