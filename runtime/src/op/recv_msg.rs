//! recvmsg(2) into several buffers of the caller's.

use super::iovecs::IoVecs;
use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::fd::Fd;
use crate::sqe::Addr;
use crate::sys::{self, MsgHdr};
use ringbolt_buffers::{BufResult, IoVectoredMut};
use std::fmt;

/// Receives into several buffers, in order, from a socket. Zero bytes mean the end.
pub struct RecvMsg<V> {
    fd: Fd,
    bufs: V,
    parts: IoVecs,
    header: MsgHdr,
}

impl<V: IoVectoredMut> RecvMsg<V> {
    /// Receives from `fd` into `bufs`, which come back with exactly the received bytes.
    pub fn new(fd: Fd, bufs: V) -> RecvMsg<V> {
        RecvMsg { fd, bufs, parts: IoVecs::new(), header: MsgHdr::empty() }
    }
}

static META: OpMeta = OpMeta {
    name: "recvmsg",
    opcode: opcode::RECVMSG,
    class: Class::Readable,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::recvmsg(sqe.fd, sqe.addr.as_pointer(), sqe.op_flags) }
    },
};

// SAFETY: 1. buffers, parts and header are owned; the buffers promise not to move, and the others
// stay in the slot. 2. recvmsg(2) writes no more than the parts and the header. 3. checked in
// `decode`.
unsafe impl<V: IoVectoredMut> Op for RecvMsg<V> {
    type Output = BufResult<usize, V>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        let parts = &mut self.parts;
        parts.clear();
        self.bufs.for_each_part_mut(&mut |ptr, len| parts.push(ptr, len));
        self.header.set_parts(parts.as_mut_ptr(), parts.count());
        sqe.fd = self.fd.raw();
        sqe.addr = Addr::pointer(&raw const self.header);
        sqe.len = 1;
        sqe.op_flags = 0;
    }

    fn decode(mut self, cqe: Cqe) -> BufResult<usize, V> {
        let result = self.parts.check(cqe);
        if let Ok(n) = result {
            // SAFETY: the kernel filled the parts in order with `n` bytes in all.
            unsafe { self.bufs.set_init_total(n) };
        }
        BufResult(result, self.bufs)
    }

    fn residue(&mut self, cqe: Cqe, part: &mut dyn FnMut(&[u8])) {
        let mut left = self.parts.plausible(cqe);
        self.bufs.for_each_part_mut(&mut |ptr, capacity| {
            let n = left.min(capacity);
            left -= n;
            // SAFETY: the kernel filled the parts in order, this one with `n` bytes, and the
            // operation is finished.
            part(unsafe { std::slice::from_raw_parts(ptr.as_ptr(), n) });
        });
    }
}

impl<V> fmt::Debug for RecvMsg<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMsg").field("fd", &self.fd).field("parts", &self.parts).finish()
    }
}
