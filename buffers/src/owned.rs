//! What a buffer promises, so that a kernel may work on it in the background.
//!
//! The runtime takes the buffer by value, asks once where its memory is, and gives the buffer back
//! with the result. In between the value may be moved, but is neither used nor dropped.

use std::ops::RangeBounds;
use std::ptr::NonNull;

use crate::slice::{self, Slice};

/// A buffer whose bytes can be handed to the kernel, to be read while an operation runs.
///
/// Implemented for `Vec<u8>`, `Box<[u8]>`, `String`, `&'static [u8]`, `&'static str`, `Arc<[u8]>`,
/// [`Bytes`](bytes::Bytes), [`BytesMut`](bytes::BytesMut), [`Chunk`](crate::Chunk),
/// [`Pages`](crate::Pages) and [`Slice`]s of all these. Arrays are not among them: their bytes move
/// when the value moves. Put one into a `Box<[u8]>` or `Vec<u8>`.
///
/// An operation takes such a buffer by value and always gives it back, in a
/// [`BufResult`](crate::BufResult).
///
/// # Safety
///
/// An implementor promises, for as long as somebody else owns the value:
///
/// - **S1 stable**: the memory stays valid and at the same address until the value is dropped, also
///   when the value is moved, and when it is dropped on another thread (if it is `Send`).
/// - **S2 frozen**: no safe code that is reachable from outside can write those bytes. There is no
///   shared interior mutability.
/// - **S3 pure**: asking again gives the same answer, unless the value was changed by `&mut` in
///   between. The runtime asks once and remembers.
/// - **S4 provenance**: the pointer may be used for the whole range, not only for a part of it. It
///   is never null and, if the range is empty, any well-aligned address.
///
/// # Examples
///
/// ```
/// use ringbolt_buffers::IoBuf;
///
/// let hello = String::from("hello");
/// assert_eq!(hello.io_parts().1, 5);
///
/// // The last three bytes, still owned.
/// let part = hello.slice(2..);
/// assert_eq!(&part[..], b"llo");
/// assert_eq!(part.into_inner(), "hello");
/// ```
pub unsafe trait IoBuf: Unpin + 'static {
    /// Where the buffer's bytes begin, and how many of them are initialised.
    ///
    /// The kernel may read exactly these bytes. The caller keeps the buffer.
    fn io_parts(&self) -> (NonNull<u8>, usize);

    /// Narrows the buffer to some of its initialised bytes, for writing only those.
    ///
    /// The slice owns the buffer; [`Slice::into_inner`] gives it back. Without an end it goes up to
    /// the last byte that is initialised now.
    ///
    /// With this trait in scope, `bytes.slice(..)` on a [`Bytes`](bytes::Bytes) by value means this
    /// method. `Bytes::slice(&bytes, ..)` names the other one.
    ///
    /// # Panics
    ///
    /// If the range begins after its end, or ends beyond the initialised bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringbolt_buffers::IoBuf;
    ///
    /// let mut rest = vec![1, 2, 3, 4].slice(1..);
    /// rest.advance(2); // Two bytes have been written.
    /// assert_eq!(&rest[..], [4]);
    /// assert_eq!(rest.into_inner(), [1, 2, 3, 4]);
    /// ```
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        let initialised = self.io_parts().1;
        let (begin, end) = slice::bounds(&range);
        let end = end.unwrap_or(initialised);
        assert!(begin <= end, "the slice begins at {begin}, after its end at {end}");
        assert!(
            end <= initialised,
            "the slice ends at {end}, but only {initialised} bytes are initialised"
        );
        Slice::new(self, begin, Some(end))
    }
}

/// A buffer that can be handed to the kernel to be filled.
///
/// Implemented for `Vec<u8>`, `Box<[u8]>`, [`BytesMut`](bytes::BytesMut), [`Pages`](crate::Pages)
/// and [`Slice`]s of these. A read fills such a buffer from its start, up to its *capacity*, and
/// then sets its length: reading 10 bytes into a `Vec` of 4096 gives a `Vec` of length 10. To keep
/// what is there, read into a slice: `vec.slice_mut(vec.len()..)` appends.
///
/// # Safety
///
/// In addition to the promises of [`IoBuf`], which hold for the whole capacity here:
///
/// - **S5 exclusive**: while somebody else owns the value, no other live pointer may read or write
///   the range.
/// - **S6 hidden**: the part behind the initialised bytes may be uninitialised, and no safe method
///   exposes it as initialised, or the initialised part as possibly uninitialised.
///
/// # Examples
///
/// What an operation does with the buffer:
///
/// ```
/// use ringbolt_buffers::IoBufMut;
///
/// let mut buf = Vec::with_capacity(64);
/// let (start, capacity) = buf.io_parts_mut();
/// assert!(capacity >= 64);
/// // SAFETY: there is room for three bytes.
/// unsafe { start.write_bytes(b'x', 3) };
/// // SAFETY: three bytes were written.
/// unsafe { buf.set_init(3) };
/// assert_eq!(buf, b"xxx");
/// ```
pub unsafe trait IoBufMut: IoBuf {
    /// Where the buffer's memory begins, and how many bytes of it there are.
    ///
    /// The kernel may write all of these. The caller keeps the buffer.
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize);

    /// Declares that the first `n` bytes have been filled and are now the content.
    ///
    /// What has a length of its own takes the length `n` (`Vec`, `BytesMut`), be it shorter or
    /// longer than before. What has a fixed length keeps it (`Box<[u8]>`, `Pages`). For slices see
    /// [`Slice`].
    ///
    /// # Safety
    ///
    /// 1. The bytes `0..n` are initialised.
    /// 2. `n` is not more than the capacity from [`io_parts_mut`](Self::io_parts_mut).
    unsafe fn set_init(&mut self, n: usize);

    /// Narrows the buffer to some of its memory, for filling only that.
    ///
    /// The slice owns the buffer; [`Slice::into_inner`] gives it back. Without an end it goes up to
    /// the capacity, so that `vec.slice_mut(vec.len()..)` appends to a vector. It cannot begin
    /// beyond the initialised bytes, as that would leave a gap of uninitialised ones.
    ///
    /// # Panics
    ///
    /// If the range begins after its end or beyond the initialised bytes, or ends beyond the
    /// capacity.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringbolt_buffers::IoBufMut;
    ///
    /// let mut buf = Vec::with_capacity(16);
    /// buf.extend_from_slice(b"head");
    /// let mut tail = buf.slice_mut(4..);
    /// assert_eq!(tail.io_parts_mut().1, 12);
    /// ```
    fn slice_mut(mut self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        let initialised = self.io_parts().1;
        let capacity = self.io_parts_mut().1;
        let (begin, end) = slice::bounds(&range);
        let limit = end.unwrap_or(capacity);
        assert!(begin <= limit, "the slice begins at {begin}, after its end at {limit}");
        assert!(
            begin <= initialised,
            "the slice begins at {begin}, but only {initialised} bytes are initialised"
        );
        assert!(limit <= capacity, "the slice ends at {limit}, but the capacity is {capacity}");
        Slice::new(self, begin, end)
    }
}
