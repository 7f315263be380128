//! The buffer traits for the byte containers of the standard library and of `bytes`.
//!
//! All of them keep their bytes outside of the value itself, where nothing moves them: S1. Shared
//! references give read access only: S2. Pointer and length change through `&mut` only: S3. Each
//! pointer is taken from a slice, or from an allocation, that spans the whole range: S4.

use std::ptr::NonNull;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::owned::{IoBuf, IoBufMut};

fn parts(bytes: &[u8]) -> (NonNull<u8>, usize) {
    (NonNull::from(bytes).cast(), bytes.len())
}

// SAFETY: the vector owns its heap memory; see the top of this file.
unsafe impl IoBuf for Vec<u8> {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        parts(self)
    }
}

// SAFETY: S5 the vector owns its memory alone; S6 it gives safe access up to its length only.
unsafe impl IoBufMut for Vec<u8> {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        // SAFETY: the pointer of a vector is never null, even where nothing is allocated.
        let start = unsafe { NonNull::new_unchecked(self.as_mut_ptr()) };
        (start, self.capacity())
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.capacity(), "more bytes than there is room for");
        // SAFETY: the same obligations.
        unsafe { self.set_len(n) };
    }
}

// SAFETY: the box owns its heap memory; see the top of this file.
unsafe impl IoBuf for Box<[u8]> {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        parts(self)
    }
}

// SAFETY: S5 the box owns its memory alone; S6 all its bytes are initialised.
unsafe impl IoBufMut for Box<[u8]> {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        (NonNull::from(&mut **self).cast(), self.len())
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.len(), "more bytes than there is room for");
    }
}

// SAFETY: the string owns its heap memory; see the top of this file.
unsafe impl IoBuf for String {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        parts(self.as_bytes())
    }
}

// SAFETY: the bytes are borrowed for ever, so that they are neither freed nor written.
unsafe impl IoBuf for &'static [u8] {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        parts(self)
    }
}

// SAFETY: the bytes are borrowed for ever, so that they are neither freed nor written.
unsafe impl IoBuf for &'static str {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        parts(self.as_bytes())
    }
}

// SAFETY: the reference counts as an owner of the heap memory, and `Arc::get_mut` refuses others
// while it lives; see the top of this file.
unsafe impl IoBuf for Arc<[u8]> {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        parts(self)
    }
}

// SAFETY: `Bytes` keeps its memory, which is immutable, alive and in place; see the top of this
// file.
unsafe impl IoBuf for Bytes {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        parts(self)
    }
}

// SAFETY: the value is the only handle to its range of the heap memory; see the top of this file.
unsafe impl IoBuf for BytesMut {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        parts(self)
    }
}

// SAFETY: S5 the value is the only handle to its range, also when the allocation is shared; S6 it
// gives safe access up to its length only, apart from the spare part as `MaybeUninit`.
unsafe impl IoBufMut for BytesMut {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        // There is no method for a pointer that may be used for the whole capacity. With nothing
        // initialised, all of it is spare.
        let len = self.len();
        // SAFETY: no byte needs to be initialised for a length of zero.
        unsafe { self.set_len(0) };
        let spare = self.spare_capacity_mut();
        let parts = (NonNull::from(&mut *spare).cast(), spare.len());
        // SAFETY: this was the length, and no byte was written since.
        unsafe { self.set_len(len) };
        parts
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.capacity(), "more bytes than there is room for");
        // SAFETY: the same obligations.
        unsafe { self.set_len(n) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chunk, Pages};

    /// The initialised bytes, through the pointer that the kernel would get.
    fn seen<B: IoBuf>(buf: &B) -> &[u8] {
        let (start, len) = buf.io_parts();
        // SAFETY: an `IoBuf` promises that these bytes are initialised.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    #[test]
    fn the_kernel_sees_what_the_program_sees() {
        assert_eq!(seen(&b"abc".to_vec()), b"abc");
        assert_eq!(seen(&Box::<[u8]>::from(&b"abc"[..])), b"abc");
        assert_eq!(seen(&String::from("abc")), b"abc");
        assert_eq!(seen(&"abc"), b"abc");
        assert_eq!(seen(&&b"abc"[..]), b"abc");
        assert_eq!(seen(&Arc::<[u8]>::from(&b"abc"[..])), b"abc");
        assert_eq!(seen(&Bytes::from_static(b"abc")), b"abc");
        assert_eq!(seen(&BytesMut::from(&b"abc"[..])), b"abc");
        assert_eq!(seen(&Chunk::copied(b"abc")), b"abc");
        assert_eq!(seen(&Pages::new(3, 8).unwrap()), b"\0\0\0");
    }

    #[test]
    fn moving_the_value_leaves_the_memory() {
        fn stays<B: IoBuf>(buf: B) {
            let before = buf.io_parts();
            let moved = Box::new([buf]);
            assert_eq!(moved[0].io_parts(), before);
        }
        stays(b"abc".to_vec());
        stays(Box::<[u8]>::from(&b"abc"[..]));
        stays(String::from("abc"));
        stays(Arc::<[u8]>::from(&b"abc"[..]));
        stays(Bytes::from(b"abc".to_vec()));
        stays(Bytes::from_owner(*b"abc"));
        stays(BytesMut::from(&b"abc"[..]));
        stays(Chunk::copied(b"abc"));
        stays(Pages::new(3, 8).unwrap());
    }

    #[test]
    fn empty_buffers_have_a_pointer_nevertheless() {
        assert_eq!(Vec::new().io_parts().1, 0);
        assert_eq!(Vec::new().io_parts_mut().1, 0);
        assert_eq!(Box::<[u8]>::default().io_parts_mut().1, 0);
        assert_eq!(BytesMut::new().io_parts_mut().1, 0);
        assert_eq!((String::new().io_parts().1, "".io_parts().1), (0, 0));
        assert_eq!((Bytes::new().io_parts().1, Chunk::default().io_parts().1), (0, 0));
    }

    /// Fills all of the capacity, then says that `n` bytes count.
    fn fill<B: IoBufMut>(buf: &mut B, n: usize) -> usize {
        let (start, capacity) = buf.io_parts_mut();
        assert_eq!(start, buf.io_parts().0, "both sides see the same memory");
        // SAFETY: all of the capacity may be written.
        unsafe { start.write_bytes(b'x', capacity) };
        // SAFETY: all bytes are initialised now; the callers stay within the capacity.
        unsafe { buf.set_init(n) };
        assert!(seen(buf).iter().all(|&byte| byte == b'x'));
        capacity
    }

    #[test]
    fn set_init_gives_growing_types_exactly_that_length() {
        let mut vec = Vec::with_capacity(8);
        vec.extend_from_slice(b"abcd");
        assert_eq!((fill(&mut vec, 2), vec.len()), (8, 2));
        assert_eq!((fill(&mut vec, 8), vec.len()), (8, 8));

        let mut bytes = BytesMut::with_capacity(8);
        bytes.extend_from_slice(b"abcd");
        assert_eq!((fill(&mut bytes, 2), bytes.len()), (8, 2));
        assert_eq!((fill(&mut bytes, 8), bytes.len()), (8, 8));
    }

    #[test]
    fn set_init_leaves_fixed_lengths() {
        let mut boxed = Box::<[u8]>::from(&b"abcd"[..]);
        assert_eq!((fill(&mut boxed, 2), boxed.len()), (4, 4));
        let mut pages = Pages::new(16, 8).unwrap();
        assert_eq!((fill(&mut pages, 2), pages.len()), (16, 16));
    }

    #[test]
    fn asking_a_bytes_mut_keeps_its_content_and_its_neighbours() {
        let mut left = BytesMut::with_capacity(16);
        left.extend_from_slice(b"abcd");
        let right = left.split_off(4);
        assert_eq!(left.io_parts_mut().1, 4);
        assert_eq!((&left[..], right.capacity()), (&b"abcd"[..], 12));
        let mut right = right;
        assert_eq!(fill(&mut right, 12), 12);
        assert_eq!(&left[..], b"abcd");
    }
}
