//! Tests of the pool: a model, threads that drop what they were lent, and each promise alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Wake;
use std::thread;

use bytes::Bytes;
use proptest::prelude::*;

use super::model::{LEN, Model, Op, lend_taken};
use super::*;

fn pool(buffer_len: usize, buffers: usize, buffers_max: usize) -> Pool {
    Pool::new(PoolConfig { buffer_len, buffers, buffers_max, ..PoolConfig::default() }).unwrap()
}

/// Takes a buffer, fills it as the kernel would, and lends it.
fn lend(pool: &Pool, bytes: &[u8]) -> Option<Chunk> {
    let bid = pool.take()?;
    Some(lend_taken(pool, bid, bytes))
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
        1 => (at(), at()).prop_map(|(i, n)| Op::SplitBytes(i, n)),
        2 => at().prop_map(Op::DropBytes),
        1 => at().prop_map(Op::DropBytesElsewhere),
        1 => any::<bool>().prop_map(Op::Starve),
        2 => Just(Op::Collect),
        1 => Just(Op::Grow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn the_pool_follows_its_model(ops in proptest::collection::vec(op(), 1..120)) {
        let mut model = Model::new(3, 12);
        ops.into_iter().for_each(|op| model.apply(op));
        model.finish();
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
        let error =
            Pool::new(PoolConfig { buffer_len, buffers, buffers_max, ..PoolConfig::default() })
                .unwrap_err();
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

/// The bytes of a buffer that is free, as one who reads the memory of the process sees them.
fn memory_of(pool: &Pool, bid: u16) -> Vec<u8> {
    // SAFETY: the tests write every buffer before they look at it, and nobody writes it now.
    unsafe { std::slice::from_raw_parts(pool.ptr(bid).as_ptr(), pool.buffer_len()) }.to_vec()
}

#[test]
fn a_returned_buffer_is_wiped_where_that_is_asked_for() {
    for zeroize in [true, false] {
        let sizes = PoolConfig { buffer_len: 64, buffers: 1, buffers_max: 1, zeroize };
        let pool = Pool::new(sizes).unwrap();
        let fill = || lend(&pool, &[0x5e; 64]).unwrap();
        let left = if zeroize { [0; 64] } else { [0x5e; 64] };
        drop(fill());
        assert_eq!(memory_of(&pool, 0), left);
        // The last of several references, of which the first leaves the thread.
        let mut rest = fill();
        let first = rest.split_to(10).into_bytes();
        drop(rest);
        assert_eq!(memory_of(&pool, 0), [0x5e; 64], "the first ten bytes are still lent");
        thread::spawn(move || drop(first)).join().unwrap();
        assert_eq!(memory_of(&pool, 0), [0x5e; 64], "nobody has looked for returns yet");
        assert_eq!(pool.collect(), 1);
        assert_eq!(memory_of(&pool, 0), left);
    }
}

/// Memory that is not there, as in a child of fork(2).
#[derive(Debug)]
struct Absent;

// SAFETY: nobody may use memory that is not present, and the pool is shown not to.
unsafe impl PoolMemory for Absent {
    fn parts(&self) -> (NonNull<u8>, usize) {
        (NonNull::dangling(), 64)
    }

    fn is_present(&self) -> bool {
        false
    }
}

#[test]
fn memory_that_is_not_there_is_not_wiped() {
    let sizes = PoolConfig { buffer_len: 64, buffers: 1, buffers_max: 1, zeroize: true };
    let pool = Pool::with_memory(sizes, |_| Ok(Box::new(Absent))).unwrap();
    let bid = pool.take().unwrap();
    // SAFETY: nobody looks at the bytes, of which there are none.
    drop(unsafe { pool.lease(bid, 0) });
    assert_eq!(pool.free(), 1);
}

#[test]
#[should_panic(expected = "64 bytes for 2 buffers of 64")]
fn too_little_memory_is_refused() {
    let sizes = PoolConfig { buffer_len: 64, buffers: 1, buffers_max: 2, zeroize: false };
    let _ = Pool::with_memory(sizes, |_| Ok(Box::new(Absent)));
}
