//! sendmsg(2) from several buffers of the caller's.

use super::iovecs::IoVecs;
use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::fd::Fd;
use crate::sqe::Addr;
use crate::sys::{self, MsgHdr};
use ringbolt_buffers::{BufResult, IoVectored};
use std::fmt;

/// Sends from several buffers, in order, to a socket; it may send less than all of them.
pub struct SendMsg<V> {
    fd: Fd,
    bufs: V,
    parts: IoVecs,
    header: MsgHdr,
}

impl<V: IoVectored> SendMsg<V> {
    /// Sends the initialised bytes of `bufs` to `fd`.
    pub fn new(fd: Fd, bufs: V) -> SendMsg<V> {
        SendMsg { fd, bufs, parts: IoVecs::new(), header: MsgHdr::empty() }
    }
}

static META: OpMeta = OpMeta {
    name: "sendmsg",
    opcode: opcode::SENDMSG,
    class: Class::Writable,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::sendmsg(sqe.fd, sqe.addr.as_pointer(), sqe.op_flags) }
    },
};

// SAFETY: 1. buffers, parts and header are owned; the buffers promise not to move, and the others
// stay in the slot. 2. sendmsg(2) only reads. 3. checked in `decode`.
unsafe impl<V: IoVectored> Op for SendMsg<V> {
    type Output = BufResult<usize, V>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        let parts = &mut self.parts;
        parts.clear();
        self.bufs.for_each_part(&mut |ptr, len| parts.push(ptr, len));
        self.header.set_parts(parts.as_mut_ptr(), parts.count());
        sqe.fd = self.fd.raw();
        sqe.addr = Addr::pointer(&raw const self.header);
        sqe.len = 1;
        sqe.op_flags = sys::SEND_FLAGS;
    }

    fn decode(self, cqe: Cqe) -> BufResult<usize, V> {
        let result = self.parts.check(cqe);
        BufResult(result, self.bufs)
    }

    /// The bytes that were not sent.
    fn residue(&mut self, cqe: Cqe, part: &mut dyn FnMut(&[u8])) {
        let mut sent = self.parts.plausible(cqe);
        self.bufs.for_each_part(&mut |ptr, len| {
            let gone = sent.min(len);
            sent -= gone;
            // SAFETY: the part has `len` initialised bytes, and the operation is finished.
            let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), len) };
            part(&bytes[gone..]);
        });
    }
}

impl<V> fmt::Debug for SendMsg<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMsg").field("fd", &self.fd).field("parts", &self.parts).finish()
    }
}
