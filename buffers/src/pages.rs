//! Aligned memory of fixed length.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use crate::owned::{IoBuf, IoBufMut};

/// An owned allocation whose address is a multiple of a chosen power of two.
///
/// Direct file I/O (`O_DIRECT`) and registered buffers need such memory. It is zeroed when made,
/// has a fixed length, and is freed when dropped, on any thread.
///
/// # Examples
///
/// ```
/// use ringbolt_buffers::{IoBuf, Pages};
///
/// # fn main() -> std::io::Result<()> {
/// let mut pages = Pages::new(8192, 4096)?;
/// assert!(pages.as_ptr().addr().is_multiple_of(4096));
/// pages[..5].copy_from_slice(b"hello");
///
/// // Only the first half is written.
/// let half = pages.slice(..4096);
/// assert!(half.starts_with(b"hello"));
/// # Ok(())
/// # }
/// ```
pub struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is owned by this value alone, and has no affinity to a thread.
unsafe impl Send for Pages {}
// SAFETY: through a shared reference the bytes can only be read.
unsafe impl Sync for Pages {}

impl Pages {
    /// Allocates `len` zeroed bytes at an address that is a multiple of `align` bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `len` is 0 or too large for the address space, or `align` is not a power
    /// of two; `OutOfMemory` if the allocator has no such memory.
    pub fn new(len: usize, align: usize) -> io::Result<Pages> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        if !align.is_power_of_two() {
            return Err(invalid(format!("align is {align}, use a power of two such as 4096")));
        }
        if len == 0 {
            return Err(invalid("len is 0, ask for at least one byte".into()));
        }
        let layout = Layout::from_size_align(len, align)
            .map_err(|_| invalid(format!("{len} bytes aligned to {align} are too large")))?;
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).ok_or_else(|| no_memory(layout))?;
        Ok(Pages { start, layout })
    }

    /// What the address is a multiple of, in bytes.
    pub fn align(&self) -> usize {
        self.layout.align()
    }
}

/// The error for an allocation that failed.
pub(crate) fn no_memory(layout: Layout) -> io::Error {
    let what = format!("no memory for {} bytes aligned to {}", layout.size(), layout.align());
    io::Error::new(io::ErrorKind::OutOfMemory, what)
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and owned by this value alone.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the memory has this size, was zeroed when allocated, and is owned by this value.
        unsafe { from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and the exclusive borrow of the value is one of its memory.
        unsafe { from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Pages {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("len", &self.len()).field("align", &self.align()).finish()
    }
}

// SAFETY: S1 the memory is on the heap until drop; S2 it is written through `&mut` only; S3 pointer
// and length never change; S4 the pointer is the allocation's own.
unsafe impl IoBuf for Pages {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        (self.start, self.layout.size())
    }
}

// SAFETY: S5 the pointer is not shared with anybody; S6 all bytes are initialised from the start.
unsafe impl IoBufMut for Pages {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        (self.start, self.layout.size())
    }

    unsafe fn set_init(&mut self, n: usize) {
        debug_assert!(n <= self.layout.size(), "more bytes than there is room for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_aligned_and_zeroed() {
        for shift in 0..17 {
            let align = 1 << shift;
            let mut pages = Pages::new(3 * align + 1, align).unwrap();
            assert!(pages.as_ptr().addr().is_multiple_of(align));
            assert_eq!((pages.len(), pages.align()), (3 * align + 1, align));
            assert!(pages.iter().all(|&byte| byte == 0));
            pages.fill(0xff);
            let pages = std::thread::spawn(move || pages).join().unwrap();
            assert!(pages.iter().all(|&byte| byte == 0xff));
        }
    }

    #[test]
    fn impossible_pages_are_refused_with_the_reason() {
        let refused = |len, align| Pages::new(len, align).unwrap_err();
        assert_eq!(refused(10, 3).to_string(), "align is 3, use a power of two such as 4096");
        assert_eq!(refused(10, 0).to_string(), "align is 0, use a power of two such as 4096");
        assert_eq!(refused(0, 8).to_string(), "len is 0, ask for at least one byte");
        assert_eq!(refused(0, 8).kind(), io::ErrorKind::InvalidInput);
        assert_eq!(refused(usize::MAX, 8).kind(), io::ErrorKind::InvalidInput);
        assert!(refused(usize::MAX, 8).to_string().ends_with("are too large"));
        // Really running out would stop a program under AddressSanitizer.
        let error = no_memory(Layout::new::<[u64; 4]>());
        assert_eq!(error.to_string(), "no memory for 32 bytes aligned to 8");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
