//! The list of parts that a vectored request names, kept beside the buffers in the slot.

use super::{Cqe, LEN_MAX, count, plausible};
use crate::sys::IoVec;
use std::fmt;
use std::ptr::NonNull;

const INLINE: usize = 8;
/// The most parts that one request takes (`IOV_MAX` of Linux).
const PARTS_MAX: usize = 1024;

/// The parts of a vectored request: eight in place, more on the heap.
pub(super) struct IoVecs {
    inline: [IoVec; INLINE],
    heap: Vec<IoVec>,
    count: usize,
    bytes: usize,
}

impl IoVecs {
    pub(super) fn new() -> IoVecs {
        let empty = IoVec::new(NonNull::dangling().as_ptr(), 0);
        IoVecs { inline: [empty; INLINE], heap: Vec::new(), count: 0, bytes: 0 }
    }

    /// Takes all parts out, for a request that is filled in again.
    pub(super) fn clear(&mut self) {
        self.heap.clear();
        (self.count, self.bytes) = (0, 0);
    }

    /// Adds a part; what exceeds the limits of one request is left for the next.
    pub(super) fn push(&mut self, ptr: NonNull<u8>, len: usize) {
        let len = len.min(LEN_MAX - self.bytes);
        if len == 0 || self.count == PARTS_MAX {
            return;
        }
        let part = IoVec::new(ptr.as_ptr(), len);
        if self.count < INLINE {
            self.inline[self.count] = part;
        } else {
            if self.heap.is_empty() {
                self.heap.extend_from_slice(&self.inline);
            }
            self.heap.push(part);
        }
        self.count += 1;
        self.bytes += len;
    }

    /// Where the list is, as long as `self` neither moves nor grows.
    pub(super) fn as_mut_ptr(&mut self) -> *mut IoVec {
        if self.count <= INLINE { self.inline.as_mut_ptr() } else { self.heap.as_mut_ptr() }
    }

    /// Parts in the list.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The count in the result of the request.
    pub(super) fn check(&self, cqe: Cqe) -> std::io::Result<usize> {
        count(cqe, self.bytes)
    }

    /// The count in the result, as far as it can be true.
    pub(super) fn plausible(&self, cqe: Cqe) -> usize {
        plausible(cqe, self.bytes)
    }
}

impl fmt::Debug for IoVecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoVecs").field("count", &self.count).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_spill_to_the_heap_in_order() {
        let mut parts = IoVecs::new();
        let mut bytes = [0u8; 20];
        for byte in &mut bytes {
            parts.push(NonNull::from(byte), 1);
        }
        assert_eq!((parts.count(), parts.bytes), (20, 20));
        assert_eq!(parts.heap.len(), 20);
        assert_eq!(parts.as_mut_ptr(), parts.heap.as_mut_ptr());
    }

    #[test]
    fn one_request_never_exceeds_what_a_result_can_count() {
        let mut parts = IoVecs::new();
        parts.push(NonNull::dangling(), LEN_MAX - 10);
        parts.push(NonNull::dangling(), 4096);
        parts.push(NonNull::dangling(), 4096);
        assert_eq!((parts.count(), parts.bytes), (2, LEN_MAX));
    }
}
