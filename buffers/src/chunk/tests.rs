//! Tests of chunks of either kind; the pool's tests cover how they share buffers.

use super::*;
use crate::pool::{Pool, PoolConfig};

fn pool() -> Pool {
    Pool::new(PoolConfig { buffer_len: 64, buffers: 1, buffers_max: 1, ..PoolConfig::default() })
        .unwrap()
}

fn pooled(pool: &Pool, bytes: &[u8]) -> Chunk {
    let bid = pool.take().unwrap();
    assert!(bytes.len() <= pool.buffer_len());
    let source = NonNull::from(bytes).cast();
    // SAFETY: the buffer was taken and has room, as checked.
    unsafe { pool.ptr(bid).copy_from_nonoverlapping(source, bytes.len()) };
    // SAFETY: the buffer was taken, and these bytes were just written.
    unsafe { pool.lease(bid, bytes.len()) }
}

#[test]
fn both_kinds_are_cut_alike() {
    let pool = pool();
    for mut chunk in [pooled(&pool, b"0123456789"), Chunk::copied(b"0123456789")] {
        let start = chunk.as_ptr();
        chunk.advance(1);
        chunk.truncate(20);
        assert_eq!((&chunk[..], chunk.len()), (&b"123456789"[..], 9));
        chunk.truncate(7);
        let mut first = chunk.split_to(3);
        assert_eq!((&first[..], &chunk[..]), (&b"123"[..], &b"4567"[..]));
        assert_eq!(first.is_pooled(), chunk.is_pooled());
        assert_eq!(chunk.as_ptr(), start.wrapping_add(4), "the bytes were copied");
        first.truncate(0);
        chunk.advance(4);
        assert!(first.is_empty() && chunk.is_empty());
        assert!(chunk.split_to(0).is_empty());
    }
    assert_eq!(pool.free(), 1);
}

#[test]
fn a_buffer_is_free_after_all_its_pieces() {
    let pool = pool();
    let mut rest = pooled(&pool, b"abc");
    let first = rest.split_to(1);
    let bytes = rest.split_to(1).into_bytes();
    drop(first);
    drop(rest);
    assert_eq!((pool.collect(), pool.leased()), (0, 1));
    let clone = bytes.clone();
    drop(bytes);
    assert_eq!((pool.collect(), pool.leased()), (0, 1));
    drop(clone);
    assert_eq!((pool.collect(), pool.leased(), pool.free()), (1, 0, 1));
}

#[test]
fn an_empty_chunk_becomes_bytes_without_a_buffer() {
    let pool = pool();
    let bytes = pooled(&pool, b"").into_bytes();
    assert_eq!((pool.free(), bytes.len()), (1, 0));
}

#[test]
fn conversions_do_not_copy() {
    let pool = pool();
    let chunk = pooled(&pool, b"pooled");
    let start = chunk.as_ptr();
    assert_eq!(chunk.io_parts().0.as_ptr().cast_const(), start);
    let bytes = Bytes::from(chunk);
    assert_eq!((bytes.as_ptr(), &bytes[..]), (start, &b"pooled"[..]));
    let again = Chunk::from(bytes);
    assert!(!again.is_pooled() && pool.leased() == 1);
    assert_eq!(again.as_ptr(), start);

    let mut vec = Vec::with_capacity(100);
    vec.extend_from_slice(b"vector");
    let start = vec.as_ptr();
    let chunk = Chunk::from(vec);
    assert_eq!((chunk.as_ptr(), chunk.as_ref()), (start, &b"vector"[..]));
    assert_eq!(chunk.into_bytes().as_ptr(), start);
    assert_ne!(Chunk::copied(&again).as_ptr(), again.as_ptr());
}

#[test]
fn debug_shows_kind_and_length_but_no_content() {
    let shown = format!("{:?} {:?}", pooled(&pool(), b"secret"), Chunk::default());
    assert_eq!(shown, r#"Chunk { kind: "pooled", len: 6 } Chunk { kind: "heap", len: 0 }"#);
}

#[test]
fn a_piece_outlives_the_pool_on_another_thread() {
    let pool = pool();
    let bytes = pooled(&pool, b"abc").into_bytes();
    drop(pool);
    std::thread::spawn(move || assert_eq!(bytes, &b"abc"[..])).join().unwrap();
}

#[test]
fn what_the_kernel_filled_is_all_that_shows() {
    let pool = pool();
    drop(pooled(&pool, b"secret of another"));
    let mut chunk = pooled(&pool, b"hi");
    assert_eq!(&chunk[..], b"hi");
    chunk.truncate(64);
    assert_eq!((chunk.len(), chunk.into_bytes().len()), (2, 2));
}

#[test]
#[should_panic(expected = "cannot advance by 4 in a chunk of 3 bytes")]
fn advance_stays_inside() {
    pooled(&pool(), b"abc").advance(4);
}

#[test]
#[should_panic(expected = "cannot split 4 bytes off a chunk of 3")]
fn split_stays_inside() {
    let _ = pooled(&pool(), b"abc").split_to(4);
}
