//! Several buffers in one operation.
//!
//! The runtime takes the collection by value, walks over its parts once, and gives it back with the
//! result.

use std::ptr::NonNull;

use crate::owned::{IoBuf, IoBufMut};

/// Buffers whose bytes can be handed to the kernel together, to be read in order.
///
/// Implemented for `Vec<B>` and `[B; N]`, and for pairs and triples of any buffers.
///
/// # Safety
///
/// An implementor promises that [`for_each_part`](Self::for_each_part) visits parts of which each
/// keeps the promises S1 to S4 of [`IoBuf`] for as long as the whole value lives, wherever it is
/// moved.
///
/// # Examples
///
/// ```
/// use ringbolt_buffers::IoVectored;
///
/// let message = ("HTTP/1.1 200 OK\r\n\r\n", vec![0; 100]);
/// assert_eq!(message.total_len(), 119);
/// ```
pub unsafe trait IoVectored: Unpin + 'static {
    /// Calls `f` with each part, in order: where it begins and how many bytes are initialised.
    fn for_each_part(&self, f: &mut dyn FnMut(NonNull<u8>, usize));

    /// The number of initialised bytes in all parts together, at most `usize::MAX`.
    fn total_len(&self) -> usize {
        // Parts can share memory, so that the sum is not bounded by the size of the memory.
        let mut total = 0_usize;
        self.for_each_part(&mut |_, len| total = total.saturating_add(len));
        total
    }
}

/// Buffers that can be handed to the kernel together, to be filled in order.
///
/// Implemented for `Vec<B>` and `[B; N]`, and for pairs and triples of any buffers.
///
/// # Safety
///
/// In addition to those of [`IoVectored`], an implementor promises S5 and S6 of [`IoBufMut`] for
/// each part, that no two parts share memory, and that both walks visit the parts in the same
/// order.
///
/// # Examples
///
/// ```
/// use ringbolt_buffers::IoVectoredMut;
///
/// let mut parts = [Vec::with_capacity(4), Vec::with_capacity(8)];
/// let mut room = 0;
/// parts.for_each_part_mut(&mut |_, capacity| room += capacity);
/// assert!(room >= 12);
/// ```
pub unsafe trait IoVectoredMut: IoVectored {
    /// Calls `f` with each part, in order: where it begins and its capacity in bytes.
    fn for_each_part_mut(&mut self, f: &mut dyn FnMut(NonNull<u8>, usize));

    /// Declares that `n` bytes have been filled, one part after the other, each up to its capacity.
    ///
    /// Parts that were not reached have no content now, unless their length is fixed; see
    /// [`IoBufMut::set_init`].
    ///
    /// # Safety
    ///
    /// 1. The first `n` bytes of the parts, taken together in order, are initialised.
    /// 2. `n` is not more than the sum of the capacities.
    unsafe fn set_init_total(&mut self, n: usize);
}

fn visit<B: IoBuf>(part: &B, f: &mut dyn FnMut(NonNull<u8>, usize)) {
    let (start, len) = part.io_parts();
    f(start, len);
}

fn visit_mut<B: IoBufMut>(part: &mut B, f: &mut dyn FnMut(NonNull<u8>, usize)) {
    let (start, capacity) = part.io_parts_mut();
    f(start, capacity);
}

/// Gives `part` its share of `n` filled bytes, and returns how many are left for the next ones.
///
/// # Safety
///
/// The first `n` bytes of `part`, or all if there are fewer, are initialised.
unsafe fn fill<B: IoBufMut>(part: &mut B, n: usize) -> usize {
    let share = part.io_parts_mut().1.min(n);
    // SAFETY: (1) by this function's obligation; (2) the share is at most the capacity.
    unsafe { part.set_init(share) };
    n - share
}

/// As [`fill`], for parts of one type in order.
///
/// # Safety
///
/// The first `n` bytes of `parts`, or all if there are fewer, are initialised.
unsafe fn fill_all<B: IoBufMut>(parts: &mut [B], mut n: usize) {
    for part in parts {
        // SAFETY: the parts before took their share, so `n` counts from the start of this one.
        n = unsafe { fill(part, n) };
    }
    debug_assert_eq!(n, 0, "more bytes than there is room for");
}

// SAFETY: each part is an `IoBuf` that the vector owns; moving the vector moves no part's memory.
unsafe impl<B: IoBuf> IoVectored for Vec<B> {
    fn for_each_part(&self, f: &mut dyn FnMut(NonNull<u8>, usize)) {
        self.iter().for_each(|part| visit(part, f));
    }
}

// SAFETY: each part is an `IoBufMut`, exclusive by S5, and both walks go by index.
unsafe impl<B: IoBufMut> IoVectoredMut for Vec<B> {
    fn for_each_part_mut(&mut self, f: &mut dyn FnMut(NonNull<u8>, usize)) {
        self.iter_mut().for_each(|part| visit_mut(part, f));
    }

    unsafe fn set_init_total(&mut self, n: usize) {
        // SAFETY: the same obligations.
        unsafe { fill_all(self, n) };
    }
}

// SAFETY: each part is an `IoBuf` that the array owns; its memory stays when the array moves (S1).
unsafe impl<B: IoBuf, const N: usize> IoVectored for [B; N] {
    fn for_each_part(&self, f: &mut dyn FnMut(NonNull<u8>, usize)) {
        self.iter().for_each(|part| visit(part, f));
    }
}

// SAFETY: each part is an `IoBufMut`, exclusive by S5, and both walks go by index.
unsafe impl<B: IoBufMut, const N: usize> IoVectoredMut for [B; N] {
    fn for_each_part_mut(&mut self, f: &mut dyn FnMut(NonNull<u8>, usize)) {
        self.iter_mut().for_each(|part| visit_mut(part, f));
    }

    unsafe fn set_init_total(&mut self, n: usize) {
        // SAFETY: the same obligations.
        unsafe { fill_all(self, n) };
    }
}

// SAFETY: each part is an `IoBuf` that the pair owns; its memory stays when the pair moves (S1).
unsafe impl<A: IoBuf, B: IoBuf> IoVectored for (A, B) {
    fn for_each_part(&self, f: &mut dyn FnMut(NonNull<u8>, usize)) {
        visit(&self.0, f);
        visit(&self.1, f);
    }
}

// SAFETY: each part is an `IoBufMut`, exclusive by S5, and both walks go from left to right.
unsafe impl<A: IoBufMut, B: IoBufMut> IoVectoredMut for (A, B) {
    fn for_each_part_mut(&mut self, f: &mut dyn FnMut(NonNull<u8>, usize)) {
        visit_mut(&mut self.0, f);
        visit_mut(&mut self.1, f);
    }

    unsafe fn set_init_total(&mut self, n: usize) {
        // SAFETY: this is the first part.
        let n = unsafe { fill(&mut self.0, n) };
        // SAFETY: the part before took its share, so `n` counts from the start of this one.
        let n = unsafe { fill(&mut self.1, n) };
        debug_assert_eq!(n, 0, "more bytes than there is room for");
    }
}

// SAFETY: each part is an `IoBuf` that the triple owns; its memory stays when that moves (S1).
unsafe impl<A: IoBuf, B: IoBuf, C: IoBuf> IoVectored for (A, B, C) {
    fn for_each_part(&self, f: &mut dyn FnMut(NonNull<u8>, usize)) {
        visit(&self.0, f);
        visit(&self.1, f);
        visit(&self.2, f);
    }
}

// SAFETY: each part is an `IoBufMut`, exclusive by S5, and both walks go from left to right.
unsafe impl<A: IoBufMut, B: IoBufMut, C: IoBufMut> IoVectoredMut for (A, B, C) {
    fn for_each_part_mut(&mut self, f: &mut dyn FnMut(NonNull<u8>, usize)) {
        visit_mut(&mut self.0, f);
        visit_mut(&mut self.1, f);
        visit_mut(&mut self.2, f);
    }

    unsafe fn set_init_total(&mut self, n: usize) {
        // SAFETY: this is the first part.
        let n = unsafe { fill(&mut self.0, n) };
        // SAFETY: the part before took its share, so `n` counts from the start of this one.
        let n = unsafe { fill(&mut self.1, n) };
        // SAFETY: as above.
        let n = unsafe { fill(&mut self.2, n) };
        debug_assert_eq!(n, 0, "more bytes than there is room for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operation does that reads `bytes` into the parts.
    fn read<V: IoVectoredMut>(parts: &mut V, bytes: &[u8]) {
        let mut left = bytes;
        parts.for_each_part_mut(&mut |start, capacity| {
            let (now, later) = left.split_at(left.len().min(capacity));
            // SAFETY: at most the capacity is written, and the two do not overlap.
            unsafe { start.copy_from_nonoverlapping(NonNull::from(now).cast(), now.len()) };
            left = later;
        });
        assert!(left.is_empty(), "the parts are too small");
        // SAFETY: these bytes were just written, in order.
        unsafe { parts.set_init_total(bytes.len()) };
    }

    /// The bytes of all parts that a write would send.
    fn sent<V: IoVectored>(parts: &V) -> Vec<u8> {
        let mut bytes = Vec::new();
        parts.for_each_part(&mut |start, len| {
            // SAFETY: a part of an `IoVectored` is initialised.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) });
        });
        assert_eq!(bytes.len(), parts.total_len());
        bytes
    }

    fn full() -> Vec<u8> {
        b"##".to_vec()
    }

    #[test]
    fn parts_are_sent_in_order() {
        assert_eq!(sent(&vec!["ab", "", "cd"]), b"abcd");
        assert_eq!(sent(&["ab", "cd", "e"]), b"abcde");
        assert_eq!(sent(&("ab", b"cd".to_vec())), b"abcd");
        assert_eq!(sent(&("ab", b"cd".to_vec(), String::from("e").slice(..))), b"abcde");
        assert_eq!(sent(&Vec::<&'static str>::new()), b"");
    }

    #[test]
    fn parts_are_filled_in_order() {
        let mut list = vec![full(), full(), full()];
        read(&mut list, b"abc");
        assert_eq!(list, [&b"ab"[..], b"c", b""]);
        let mut array = [full(), full()];
        read(&mut array, b"abcd");
        assert_eq!(array, [b"ab", b"cd"]);
        let mut pair = (full(), bytes::BytesMut::from(&b"##"[..]));
        read(&mut pair, b"a");
        assert_eq!((&pair.0[..], &pair.1[..]), (&b"a"[..], &b""[..]));
        let mut triple = (full(), Box::<[u8]>::from(full()), full());
        read(&mut triple, b"abc");
        assert_eq!(
            (&triple.0[..], &triple.1[..], &triple.2[..]),
            (&b"ab"[..], &b"c#"[..], &b""[..])
        );
    }

    #[test]
    fn the_total_does_not_wrap() {
        #[derive(Clone, Copy)]
        struct Huge;
        // SAFETY: not kept, but no memory is accessed in this test.
        unsafe impl IoBuf for Huge {
            fn io_parts(&self) -> (NonNull<u8>, usize) {
                (NonNull::dangling(), usize::MAX / 2)
            }
        }
        assert_eq!([Huge; 3].total_len(), usize::MAX);
    }
}
