//! Tests of the pool: a model, threads that drop what they were lent, and each promise alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Wake;
use std::thread;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn pool(buffer_len: usize, buffers: usize, buffers_max: usize) -> Pool {
    Pool::new(PoolConfig { buffer_len, buffers, buffers_max }).unwrap()
}

/// Takes a buffer, fills it as the kernel would, and lends it.
fn lend(pool: &Pool, bytes: &[u8]) -> Option<Chunk> {
    let bid = pool.take()?;
    Some(lend_taken(pool, bid, bytes))
}

fn lend_taken(pool: &Pool, bid: u16, bytes: &[u8]) -> Chunk {
    assert!(bytes.len() <= pool.buffer_len());
    let source = NonNull::from(bytes).cast();
    // SAFETY: the buffer was taken and has room, as checked.
    unsafe { pool.ptr(bid).copy_from_nonoverlapping(source, bytes.len()) };
    // SAFETY: the buffer was taken, and these bytes were just written.
    unsafe { pool.lease(bid, bytes.len()) }
}

// ---- The model ----

#[derive(Clone, Debug)]
enum Op {
    Take,
    PutBack(usize),
    Lend(usize, u8, usize),
    Split(usize, usize),
    Advance(usize, usize),
    Truncate(usize, usize),
    DropChunk(usize),
    IntoBytes(usize),
    CloneBytes(usize),
    DropBytes(usize),
    DropBytesElsewhere(usize),
    Collect,
    Grow,
}

fn op() -> impl Strategy<Value = Op> {
    let at = any::<usize>;
    prop_oneof![
        4 => Just(Op::Take),
        1 => at().prop_map(Op::PutBack),
        4 => (at(), any::<u8>(), 0..=LEN).prop_map(|(i, seed, len)| Op::Lend(i, seed, len)),
        2 => (at(), at()).prop_map(|(i, n)| Op::Split(i, n)),
        1 => (at(), at()).prop_map(|(i, n)| Op::Advance(i, n)),
        1 => (at(), at()).prop_map(|(i, n)| Op::Truncate(i, n)),
        3 => at().prop_map(Op::DropChunk),
        2 => at().prop_map(Op::IntoBytes),
        1 => at().prop_map(Op::CloneBytes),
        2 => at().prop_map(Op::DropBytes),
        1 => at().prop_map(Op::DropBytesElsewhere),
        2 => Just(Op::Collect),
        1 => Just(Op::Grow),
    ]
}

const LEN: usize = 64;
const MAX: usize = 12;

/// One reference on a buffer, and the bytes that it should show.
struct Piece<T> {
    bid: u16,
    held: T,
    bytes: Vec<u8>,
}

/// What the pool should look like, kept in the plainest way.
struct Model {
    pool: Pool,
    introduced: usize,
    taken: Vec<u16>,
    chunks: Vec<Piece<Chunk>>,
    shared: Vec<Piece<Bytes>>,
    /// Buffers with a reference that was dropped as `Bytes`, and not collected yet.
    uncollected: Vec<u16>,
}

impl Model {
    fn leased(&self) -> Vec<u16> {
        let chunks = self.chunks.iter().map(|piece| piece.bid);
        let shared = self.shared.iter().map(|piece| piece.bid);
        let mut bids: Vec<u16> = chunks.chain(shared).chain(self.uncollected.clone()).collect();
        bids.sort();
        bids.dedup();
        bids
    }

    fn check(&self) {
        let leased = self.leased();
        assert_eq!(self.pool.introduced(), self.introduced);
        assert_eq!(self.pool.leased(), leased.len());
        assert_eq!(self.pool.free(), self.introduced - leased.len() - self.taken.len());
        for piece in &self.chunks {
            assert_eq!(piece.held[..], piece.bytes[..], "chunk of buffer {}", piece.bid);
            assert_eq!(piece.held.len(), piece.bytes.len());
        }
        for piece in &self.shared {
            assert_eq!(piece.held[..], piece.bytes[..], "bytes of buffer {}", piece.bid);
        }
        let low = self.introduced == MAX && MAX - leased.len() < 1;
        assert_eq!(self.pool.is_low(), low);
    }

    fn apply(&mut self, op: Op) {
        let pick = |len: usize, i: usize| (len > 0).then(|| i % len);
        match op {
            Op::Take => match self.pool.take() {
                None => {
                    assert_eq!(self.introduced, self.leased().len() + self.taken.len());
                }
                Some(bid) => {
                    assert!(usize::from(bid) < self.introduced);
                    assert!(!self.taken.contains(&bid), "buffer {bid} was taken twice");
                    assert!(!self.leased().contains(&bid), "buffer {bid} is lent");
                    // What the kernel may do with it from now on.
                    // SAFETY: the buffer was taken.
                    unsafe { self.pool.ptr(bid).write_bytes(0xee, LEN) };
                    self.taken.push(bid);
                }
            },
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
                    self.chunks.push(Piece { bid, held, bytes });
                }
            }
            Op::Split(i, n) => {
                if let Some(i) = pick(self.chunks.len(), i) {
                    let Piece { bid, held, bytes } = &mut self.chunks[i];
                    let n = n % (bytes.len() + 1);
                    let rest = bytes.split_off(n);
                    let (held, bytes) = (held.split_to(n), std::mem::replace(bytes, rest));
                    let bid = *bid;
                    self.chunks.push(Piece { bid, held, bytes });
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
                    let Piece { bid, held, bytes } = self.chunks.swap_remove(i);
                    let start = held.as_ptr();
                    let held = held.into_bytes();
                    // Without bytes there is nothing to keep the buffer for.
                    if !bytes.is_empty() {
                        assert_eq!(held.as_ptr(), start, "the bytes were copied");
                        self.shared.push(Piece { bid, held, bytes });
                    }
                }
            }
            Op::CloneBytes(i) => {
                if let Some(i) = pick(self.shared.len(), i) {
                    let Piece { held, bytes, .. } = &self.shared[i];
                    // The clone takes the original's place: they share one reference.
                    let clone = held.clone();
                    assert_eq!(clone[..], bytes[..]);
                    self.shared[i].held = clone;
                }
            }
            Op::DropBytes(i) => {
                if let Some(i) = pick(self.shared.len(), i) {
                    let bid = self.shared.swap_remove(i).bid;
                    self.uncollected.push(bid);
                }
            }
            Op::DropBytesElsewhere(i) => {
                if let Some(i) = pick(self.shared.len(), i) {
                    let Piece { bid, held, .. } = self.shared.swap_remove(i);
                    thread::spawn(move || drop(held)).join().unwrap();
                    self.uncollected.push(bid);
                }
            }
            Op::Collect => {
                let before = self.leased().len();
                self.uncollected.clear();
                assert_eq!(self.pool.collect(), before - self.leased().len());
            }
            Op::Grow => {
                let added = self.introduced.min(MAX - self.introduced);
                assert_eq!(self.pool.grow(), added);
                self.introduced += added;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn the_pool_follows_its_model(ops in proptest::collection::vec(op(), 1..120)) {
        let mut model = Model {
            pool: pool(LEN, 3, MAX),
            introduced: 3,
            taken: vec![],
            chunks: vec![],
            shared: vec![],
            uncollected: vec![],
        };
        model.check();
        for op in ops {
            model.apply(op);
            model.check();
        }
        // In the end, everything comes back, each buffer once.
        let Model { pool, taken, chunks, shared, introduced, .. } = model;
        taken.into_iter().for_each(|bid| pool.put_back(bid));
        drop((chunks, shared));
        pool.collect();
        assert_eq!((pool.free(), pool.leased()), (introduced, 0));
        let mut all: Vec<u16> = std::iter::from_fn(|| pool.take()).collect();
        all.sort();
        assert!(all.into_iter().map(usize::from).eq(0..introduced));
    }
}

// ---- Threads ----

mod threads;

#[test]
fn the_default_pool_is_as_documented() {
    let pool = Pool::new(PoolConfig::default()).unwrap();
    assert_eq!((pool.buffer_len(), pool.introduced(), pool.buffers_max()), (16384, 128, 2048));
    assert_eq!((pool.free(), pool.leased()), (128, 0));
    assert_eq!(pool.collect(), 0);
    assert!(pool.ptr(127).addr().get() - pool.ptr(0).addr().get() == 127 * 16384);
    assert!(pool.ptr(0).addr().get().is_multiple_of(4096));
}

#[test]
fn a_bad_size_is_refused_with_the_remedy() {
    let refused = |buffer_len, buffers, buffers_max| {
        let error = Pool::new(PoolConfig { buffer_len, buffers, buffers_max }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        error.to_string()
    };
    assert_eq!(refused(63, 1, 1), "buffer_len is 63, choose from 64 to 1048576");
    assert_eq!(refused((1 << 20) + 1, 1, 1), "buffer_len is 1048577, choose from 64 to 1048576");
    assert_eq!(refused(64, 1, 0), "buffers_max is 0, choose from 1 to 32768");
    assert_eq!(refused(64, 1, 32769), "buffers_max is 32769, choose from 1 to 32768");
    assert_eq!(refused(64, 0, 4), "buffers is 0, choose from 1 to 4");
    assert_eq!(refused(64, 5, 4), "buffers is 5, choose from 1 to 4");
    assert_eq!(pool(64, 1, 32768).buffers_max(), 32768);
}

#[test]
fn the_last_freed_is_taken_first() {
    let pool = pool(64, 4, 4);
    assert_eq!((pool.take(), pool.take(), pool.take()), (Some(0), Some(1), Some(2)));
    pool.put_back(1);
    pool.put_back(0);
    assert_eq!((pool.take(), pool.take(), pool.take()), (Some(0), Some(1), Some(3)));
    assert_eq!(pool.take(), None);
}

#[test]
fn growing_doubles_up_to_the_maximum() {
    let pool = pool(64, 3, 10);
    assert_eq!((pool.grow(), pool.introduced()), (3, 6));
    assert_eq!((pool.grow(), pool.introduced()), (4, 10));
    assert_eq!((pool.grow(), pool.introduced(), pool.free()), (0, 10, 10));
}

#[test]
fn low_means_less_than_an_eighth_at_the_maximum() {
    let pool = pool(64, 16, 32);
    let mut lent = vec![];
    lent.extend(std::iter::from_fn(|| lend(&pool, b"x")));
    assert!(!pool.is_low(), "there is room to grow");
    pool.grow();
    lent.extend(std::iter::from_fn(|| lend(&pool, b"x")));
    assert!(pool.is_low());
    lent.truncate(29);
    assert!(pool.is_low());
    lent.truncate(28);
    assert!(!pool.is_low());
}

#[test]
fn nothing_moves_in_steady_state() {
    let pool = pool(64, 8, 64);
    let capacity = pool.local.free.borrow().capacity();
    pool.grow();
    for _ in 0..1000 {
        let mut lent = Vec::with_capacity(pool.free());
        lent.extend(std::iter::from_fn(|| lend(&pool, b"x")));
        lent.drain(..).for_each(|chunk| drop(chunk.into_bytes()));
        pool.collect();
    }
    while pool.grow() > 0 {}
    assert_eq!(pool.free(), 64);
    assert_eq!(pool.local.free.borrow().capacity(), capacity);
}

#[test]
fn leaked_memory_outlives_the_pool() {
    let pool = pool(64, 1, 1);
    let bid = pool.take().unwrap();
    let start = pool.ptr(bid);
    let region = Arc::downgrade(&pool.local.region);
    pool.leak();
    drop(pool);
    assert_eq!(region.strong_count(), 1);
    // SAFETY: the memory was leaked, so the kernel may still write it.
    unsafe { start.write_bytes(1, 64) };
    // Leak checkers should not find it.
    // SAFETY: this is the one count that was leaked, and nothing uses the memory any more.
    unsafe { Arc::decrement_strong_count(region.as_ptr()) };
    assert_eq!(region.strong_count(), 0);
}

#[test]
fn memory_is_freed_with_the_last_owner() {
    let pool = pool(64, 2, 2);
    let region = Arc::downgrade(&pool.local.region);
    let chunk = lend(&pool, b"chunk").unwrap();
    let bytes = lend(&pool, b"bytes").unwrap().into_bytes();
    drop(pool);
    assert_eq!(&chunk[..], b"chunk");
    drop(chunk);
    assert_eq!(bytes, &b"bytes"[..]);
    assert_eq!(region.strong_count(), 1);
    drop(bytes);
    assert_eq!(region.strong_count(), 0);
}

#[test]
#[should_panic(expected = "buffer 0 was put back without being taken")]
fn a_free_buffer_cannot_be_put_back() {
    pool(64, 1, 1).put_back(0);
}

#[test]
#[should_panic(expected = "buffer 0 was put back without being taken")]
fn a_lent_buffer_cannot_be_put_back() {
    let pool = pool(64, 1, 1);
    let _chunk = lend(&pool, b"x");
    pool.put_back(0);
}

#[test]
#[should_panic(expected = "buffer 0 was leased without being taken")]
fn a_buffer_cannot_be_lent_twice() {
    let pool = pool(64, 1, 1);
    let _chunk = lend(&pool, b"x").unwrap();
    // SAFETY: not kept on purpose: this must panic before it matters.
    let _second = unsafe { pool.lease(0, 1) };
}

#[test]
#[should_panic(expected = "cannot lend 65 bytes of a buffer of 64")]
fn no_more_is_lent_than_there_is() {
    let pool = pool(64, 1, 1);
    let bid = pool.take().unwrap();
    // SAFETY: not kept on purpose: this must panic before it matters.
    let _chunk = unsafe { pool.lease(bid, 65) };
}

#[test]
#[should_panic(expected = "buffer 1 of 1 does not exist")]
fn a_buffer_has_to_exist() {
    pool(64, 1, 2).ptr(1);
}

#[test]
#[should_panic(expected = "buffer 0 has too many references")]
fn references_do_not_wrap() {
    let pool = pool(64, 1, 1);
    let _chunk = lend(&pool, b"x").unwrap();
    pool.local.slots[0].set(TAKEN - 1);
    pool.local.retain(0);
}
