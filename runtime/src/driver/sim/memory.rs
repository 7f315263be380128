//! The memory that requests name, as the simulated kernel reaches it.
//!
//! These are the only accesses of the kernel to a program's memory. They go through the pointers of
//! the request, like a kernel's, at times when the request allows them (SAFETY.md, S1): a test that
//! frees or reads a buffer too early meets them, and a sanitizer reports it.

use crate::sqe::{Sqe, flag, opcode};
use crate::sys::{StatBuf, mirror};

type Part = (*mut u8, usize);

/// The memory that the kernel may write to until the final result.
pub(super) fn writable(sqe: &Sqe) -> Vec<Part> {
    let addr = sqe.addr;
    match sqe.opcode {
        opcode::RECV if sqe.flags & flag::BUFFER_SELECT != 0 => Vec::new(),
        opcode::RECV | opcode::READ => vec![(addr.as_pointer(), sqe.len as usize)],
        // SAFETY: the slot keeps the parts until the final result.
        opcode::READV => unsafe { mirror::parts(addr.as_pointer(), sqe.len as usize) },
        // SAFETY: the slot keeps the header and the parts until the final result.
        opcode::RECVMSG => unsafe { mirror::message_parts(addr.as_pointer()) },
        opcode::STATX => vec![(sqe.off.as_pointer(), size_of::<StatBuf>())],
        _ => Vec::new(),
    }
}

/// The memory that the kernel may read until the final result.
fn readable(sqe: &Sqe) -> Vec<Part> {
    let addr = sqe.addr;
    match sqe.opcode {
        opcode::SEND | opcode::WRITE => vec![(addr.as_pointer(), sqe.len as usize)],
        // SAFETY: the slot keeps the parts until the final result.
        opcode::WRITEV => unsafe { mirror::parts(addr.as_pointer(), sqe.len as usize) },
        // SAFETY: the slot keeps the header and the parts until the final result.
        opcode::SENDMSG => unsafe { mirror::message_parts(addr.as_pointer()) },
        _ => Vec::new(),
    }
}

/// Buffer `bid` of a pool that begins at the pointer and has buffers of that length.
pub(super) fn buffer((start, len): Part, bid: u16) -> Part {
    (start.wrapping_add(usize::from(bid) * len), len)
}

/// Bytes that the request can move.
pub(super) fn room(sqe: &Sqe) -> usize {
    let parts = writable(sqe);
    let parts = if parts.is_empty() { readable(sqe) } else { parts };
    parts.iter().map(|(_, len)| len).sum()
}

/// The first `max` bytes that the request sends.
pub(super) fn read(sqe: &Sqe, max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (ptr, len) in readable(sqe) {
        let n = len.min(max - bytes.len());
        if n > 0 {
            // SAFETY: the slot keeps the buffer, and its bytes unchanged, until the final result.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(ptr, n) });
        }
    }
    bytes
}

/// Writes `data` to `parts`, in order.
pub(super) fn fill(parts: &[Part], mut data: &[u8]) {
    for (ptr, len) in parts {
        let n = (*len).min(data.len());
        // SAFETY: the slot, or the pool, keeps the buffer for the kernel to write to.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), *ptr, n) };
        data = &data[n..];
    }
    assert!(data.is_empty(), "the kernel wrote more than there is room for");
}

/// Writes a few random bytes somewhere into `parts`.
pub(super) fn scribble(parts: &[Part], rng: &mut fastrand::Rng) {
    for (ptr, len) in parts.iter().filter(|(_, len)| *len > 0) {
        let from = rng.usize(..*len);
        let noise = rng.u64(..).to_ne_bytes();
        let n = noise.len().min(len - from);
        // SAFETY: `from + n` is within the part.
        let at = unsafe { ptr.add(from) };
        // SAFETY: the slot, or the pool, keeps the buffer for the kernel to write to.
        unsafe { std::ptr::copy_nonoverlapping(noise.as_ptr(), at, n) };
    }
}
