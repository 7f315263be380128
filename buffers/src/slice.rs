//! A part of an owned buffer.
//!
//! Invariant: `begin <= initialised bytes of the buffer` and, with an end, `begin <= end <=
//! capacity`. It is established by `IoBuf::slice` and `IoBufMut::slice_mut`, and kept because the
//! buffer is changed through `set_init` only.

use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};
use std::ptr::NonNull;
use std::slice::from_raw_parts;

use crate::owned::{IoBuf, IoBufMut};

/// A part of a buffer, which owns the whole buffer.
///
/// Made by [`IoBuf::slice`], for writing some bytes of a buffer, and by [`IoBufMut::slice_mut`],
/// for reading into a part of it. [`into_inner`](Slice::into_inner) gives the buffer back.
///
/// A slice dereferences to the initialised bytes within its bounds. After a read into it
/// ([`IoBufMut::set_init`]):
///
/// - a slice **without an end** ends the buffer's content at the last byte that was read, as
///   reading into the buffer itself would;
/// - a slice **with an end** never shortens the buffer's content, so that what was initialised
///   behind the bytes read stays.
///
/// # Examples
///
/// ```
/// use ringbolt_buffers::IoBuf;
///
/// let message = b"GET / HTTP/1.1\r\n".to_vec();
/// let mut rest = message.slice(4..);
/// while !rest.is_empty() {
///     let written = rest.len().min(5);
///     rest.advance(written);
/// }
/// assert_eq!(rest.into_inner(), b"GET / HTTP/1.1\r\n");
/// ```
pub struct Slice<B> {
    buf: B,
    begin: usize,
    end: Option<usize>,
}

impl<B> Slice<B> {
    /// The caller has checked the bounds; see the invariant above.
    pub(crate) fn new(buf: B, begin: usize, end: Option<usize>) -> Self {
        Slice { buf, begin, end }
    }

    /// Where the slice begins, in bytes from the start of the buffer.
    pub fn begin(&self) -> usize {
        self.begin
    }

    /// Where the slice ends, in bytes from the start of the buffer; `None` if it goes on to the
    /// buffer's capacity.
    pub fn end(&self) -> Option<usize> {
        self.end
    }

    /// The whole buffer, which the slice keeps.
    pub fn inner(&self) -> &B {
        &self.buf
    }

    /// Gives the whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

impl<B: IoBuf> Slice<B> {
    /// Moves the beginning `n` bytes on: what is left after `n` bytes were written or read.
    ///
    /// # Panics
    ///
    /// If the slice has fewer than `n` initialised bytes.
    pub fn advance(&mut self, n: usize) {
        let len = self.io_parts().1;
        assert!(n <= len, "cannot advance by {n} in a slice of {len} initialised bytes");
        self.begin += n;
    }
}

// SAFETY: S1 and S2 hold since the slice owns a buffer that promises them, and shares no way to
// write. S3: bounds change by `&mut` only. S4: the pointer comes from the buffer's, which covers
// all.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        let (start, initialised) = self.buf.io_parts();
        let end = self.end.map_or(initialised, |end| end.min(initialised));
        let begin = self.begin.min(end);
        // SAFETY: `begin` is at most the number of initialised bytes, so inside the memory.
        let start = unsafe { start.add(begin) };
        (start, end - begin)
    }
}

// SAFETY: the buffer promises S5 and S6 for all its memory, and the slice owns the buffer.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        let (start, capacity) = self.buf.io_parts_mut();
        let end = self.end.map_or(capacity, |end| end.min(capacity));
        let begin = self.begin.min(end);
        // SAFETY: `begin` is at most the capacity, so inside the memory.
        let start = unsafe { start.add(begin) };
        (start, end - begin)
    }

    unsafe fn set_init(&mut self, n: usize) {
        let initialised = self.buf.io_parts().1;
        let filled = self.begin + n;
        let total = if self.end.is_some() { filled.max(initialised) } else { filled };
        debug_assert!(total <= self.buf.io_parts_mut().1, "more bytes than there is room for");
        // SAFETY: (1) `0..begin` is initialised by the invariant, `begin..filled` by obligation 1,
        // and more was already; (2) the capacity of the slice ends within that of the buffer.
        unsafe { self.buf.set_init(total) };
    }
}

impl<B: IoBuf> Deref for Slice<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (start, len) = self.io_parts();
        // SAFETY: `io_parts` of an `IoBuf` gives initialised memory (S1, S4) that nobody writes
        // (S2) while it is borrowed.
        unsafe { from_raw_parts(start.as_ptr(), len) }
    }
}

impl<B: IoBuf> AsRef<[u8]> for Slice<B> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<B> fmt::Debug for Slice<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice")
            .field("begin", &self.begin)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// The first index of a range, and the one after its last, if it has one.
pub(crate) fn bounds(range: &impl RangeBounds<usize>) -> (usize, Option<usize>) {
    let after = |index: usize| index.checked_add(1).expect("a range ends before usize::MAX");
    let begin = match range.start_bound() {
        Bound::Included(&begin) => begin,
        Bound::Excluded(&before) => after(before),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => Some(after(last)),
        Bound::Excluded(&end) => Some(end),
        Bound::Unbounded => None,
    };
    (begin, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chunk, Pages};

    /// What an operation does that reads `bytes` into `buf`.
    fn read<B: IoBufMut>(buf: &mut B, bytes: &[u8]) {
        let (start, capacity) = buf.io_parts_mut();
        assert!(bytes.len() <= capacity, "{} bytes into {capacity}", bytes.len());
        let source = NonNull::from(bytes).cast();
        // SAFETY: there is room, as checked, and the two do not overlap.
        unsafe { start.copy_from_nonoverlapping(source, bytes.len()) };
        // SAFETY: these bytes were just written.
        unsafe { buf.set_init(bytes.len()) };
    }

    fn room(bytes: &[u8], capacity: usize) -> Vec<u8> {
        let mut buf = Vec::with_capacity(capacity);
        buf.extend_from_slice(bytes);
        assert_eq!(buf.capacity(), capacity);
        buf
    }

    #[test]
    fn a_read_view_has_exactly_the_range() {
        let pointer = |slice: &Slice<Vec<u8>>| slice.io_parts().0.as_ptr().addr();
        let part = room(b"0123456789", 32).slice(2..=4);
        assert_eq!((&part[..], part.begin(), part.end()), (&b"234"[..], 2, Some(5)));
        assert_eq!(pointer(&part), part.inner().as_ptr().addr() + 2);
        let rest = part.into_inner().slice(7..);
        assert_eq!((rest.as_ref(), rest.end()), (&b"789"[..], Some(10)));
        let none = rest.into_inner().slice(10..);
        assert!(none.is_empty());
        assert_eq!(&none.into_inner().slice(..)[..], b"0123456789");
        assert_eq!(&"text".slice((Bound::Excluded(0), Bound::Included(2)))[..], b"ex");
    }

    #[test]
    fn a_slice_without_an_end_reaches_the_capacity() {
        let mut tail = room(b"head", 16).slice_mut(4..);
        assert_eq!((tail.len(), tail.io_parts_mut().1, tail.end()), (0, 12, None));
        read(&mut tail, b"more");
        assert_eq!(&tail[..], b"more");
        assert_eq!(tail.into_inner(), b"headmore");
    }

    #[test]
    fn a_slice_without_an_end_ends_the_content() {
        let mut part = room(b"0123456789", 16).slice_mut(2..);
        read(&mut part, b"ab");
        assert_eq!(&part[..], b"ab");
        assert_eq!(part.into_inner(), b"01ab");
    }

    #[test]
    fn a_slice_with_an_end_never_shortens_the_content() {
        let mut part = room(b"0123456789", 16).slice_mut(2..6);
        assert_eq!(part.io_parts_mut().1, 4);
        read(&mut part, b"ab");
        assert_eq!(&part[..], b"ab45");
        assert_eq!(part.into_inner(), b"01ab456789");

        let mut beyond = room(b"0123", 16).slice_mut(2..8);
        assert_eq!((beyond.len(), beyond.io_parts_mut().1), (2, 6));
        read(&mut beyond, b"abcd");
        assert_eq!(&beyond[..], b"abcd");
        assert_eq!(beyond.into_inner(), b"01abcd");
    }

    #[test]
    fn a_slice_of_a_slice_counts_from_the_outer_one() {
        let mut inner = room(b"0123456789", 16).slice(2..8).slice_mut(1..);
        assert_eq!(&inner[..], b"34567");
        assert_eq!(inner.io_parts_mut().1, 5);
        read(&mut inner, b"ab");
        assert_eq!(inner.into_inner().into_inner(), b"012ab56789");
    }

    #[test]
    fn fixed_lengths_stay() {
        let mut part = Box::<[u8]>::from(&b"012345"[..]).slice_mut(1..);
        read(&mut part, b"ab");
        assert_eq!(&part[..], b"ab345");
        assert_eq!(&part.into_inner()[..], b"0ab345");
        let mut part = Pages::new(6, 64).unwrap().slice_mut(2..4);
        read(&mut part, b"ab");
        assert_eq!(&part.into_inner()[..], b"\0\0ab\0\0");
    }

    #[test]
    fn advance_drops_what_is_done() {
        let mut part = room(b"", 8).slice_mut(..6);
        read(&mut part, b"abcd");
        part.advance(4);
        assert_eq!((part.len(), part.io_parts_mut().1, part.begin()), (0, 2, 4));
        read(&mut part, b"ef");
        assert_eq!(part.into_inner(), b"abcdef");
        let mut chunk = Chunk::copied(b"012345").slice(1..5);
        chunk.advance(3);
        assert_eq!(&chunk[..], b"4");
    }

    #[test]
    #[should_panic(expected = "cannot advance by 3 in a slice of 2 initialised bytes")]
    fn advance_leaves_no_gap() {
        room(b"0123", 8).slice_mut(2..8).advance(3);
    }

    #[test]
    #[should_panic(expected = "the slice ends at 5, but only 4 bytes are initialised")]
    fn a_read_view_ends_within_the_content() {
        let _ = room(b"0123", 8).slice(2..5);
    }

    #[test]
    #[should_panic(expected = "the slice begins at 3, after its end at 2")]
    #[expect(clippy::reversed_empty_ranges)]
    fn a_read_view_begins_before_its_end() {
        let _ = room(b"0123", 8).slice(3..2);
    }

    #[test]
    #[should_panic(expected = "the slice begins at 5, but only 4 bytes are initialised")]
    fn a_mutable_slice_leaves_no_gap() {
        let _ = room(b"0123", 8).slice_mut(5..);
    }

    #[test]
    #[should_panic(expected = "the slice ends at 9, but the capacity is 8")]
    fn a_mutable_slice_ends_within_the_capacity() {
        let _ = room(b"0123", 8).slice_mut(..9);
    }

    #[test]
    #[should_panic(expected = "a range ends before usize::MAX")]
    fn the_largest_range_does_not_wrap() {
        let _ = room(b"0123", 8).slice_mut(..=usize::MAX);
    }
}
