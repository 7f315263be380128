//! Owned buffers, aligned pages and pools of lent buffers: the memory that completion-based I/O
//! works on.
//!
//! This crate is memory only. It makes no system calls, knows no runtime, and builds everywhere.
//!
//! # Who owns a buffer
//!
//! A kernel that works on a buffer in the background may touch it until the operation has really
//! ended, whatever became of the future that waits for it. So a buffer is never borrowed by an
//! operation. There are two ways for bytes to travel:
//!
//! 1. **Yours, handed over.** An operation takes the buffer by value and gives it back with the
//!    result, as a [`BufResult`]. Any type that implements [`IoBuf`] can be written from, and any
//!    that implements [`IoBufMut`] can be read into; a [`Slice`] narrows one to a part. If the
//!    future is dropped early, the buffer stays with the operation, which frees it at its end.
//! 2. **The runtime's, lent to you.** Received bytes come in buffers of a [`Pool`], lent as a
//!    [`Chunk`]. Dropping the chunk gives the buffer back. [`Chunk::into_bytes`] turns it into
//!    [`bytes::Bytes`], without copying, which any thread may hold and drop.
//!
//! # Map
//!
//! | what | for |
//! |---|---|
//! | [`IoBuf`], [`IoBufMut`] | what a type promises so that the kernel may read or fill it |
//! | [`IoVectored`], [`IoVectoredMut`] | several buffers in one operation |
//! | [`Slice`] | a part of an owned buffer |
//! | [`BufResult`] | a result that gives the buffer back |
//! | [`Pages`] | aligned memory, as direct file I/O needs it |
//! | [`Pool`], [`PoolConfig`] | the buffers that a runtime lends |
//! | [`Chunk`] | received bytes, lent or owned |

mod chunk;
#[cfg(any(all(test, not(ringbolt_loom)), fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod impls;
mod memory;
mod outcome;
mod owned;
mod pages;
mod pool;
mod region;
mod slice;
#[cfg(not(ringbolt_loom))]
mod sync;
#[cfg(ringbolt_loom)]
#[doc(hidden)]
pub mod sync;
mod vectored;

pub use chunk::Chunk;
pub use memory::PoolMemory;
pub use outcome::BufResult;
pub use owned::{IoBuf, IoBufMut};
pub use pages::Pages;
pub use pool::{Pool, PoolConfig};
pub use slice::Slice;
pub use vectored::{IoVectored, IoVectoredMut};

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;

    const fn send<T: Send>() {}
    const fn sync<T: Sync>() {}

    // Evaluated when compiled. That `Chunk` and `Pool` are not `Send` is shown in their
    // documentation, by examples which must fail to compile.
    const _: () = {
        send::<Bytes>();
        send::<Pages>();
        send::<Slice<Vec<u8>>>();
        send::<Slice<BytesMut>>();
        send::<BufResult<usize, Vec<u8>>>();
        send::<region::Shared>();
        sync::<Pages>();
        sync::<Slice<Vec<u8>>>();
        sync::<region::Region>();
    };

    #[test]
    fn a_chunk_is_four_words() {
        assert!(size_of::<Chunk>() <= 32, "{} bytes", size_of::<Chunk>());
    }
}
