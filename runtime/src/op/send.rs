//! send(2) from a buffer of the caller's.

use super::{Class, Cqe, LEN_MAX, Op, OpMeta, Sqe, count, opcode, plausible};
use crate::fd::Fd;
use crate::sys;
use ringbolt_buffers::{BufResult, IoBuf};

/// Sends from a buffer to a socket; it may send less than the whole of it.
#[derive(Debug)]
pub struct Send<B> {
    fd: Fd,
    buf: B,
    asked: usize,
}

impl<B: IoBuf> Send<B> {
    /// Sends the initialised bytes of `buf` to `fd`.
    pub fn new(fd: Fd, buf: B) -> Send<B> {
        Send { fd, buf, asked: 0 }
    }
}

static META: OpMeta = OpMeta {
    name: "send",
    opcode: opcode::SEND,
    class: Class::Writable,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::send(sqe.fd, sqe.addr.as_pointer(), sqe.len as usize, sqe.op_flags) }
    },
};

// SAFETY: 1. the buffer is owned, and `IoBuf` promises that its memory does not move.
// 2. send(2) only reads. 3. checked in `decode`.
unsafe impl<B: IoBuf> Op for Send<B> {
    type Output = BufResult<usize, B>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        let (ptr, len) = self.buf.io_parts();
        self.asked = len.min(LEN_MAX);
        sqe.fd = self.fd.raw();
        sqe.addr = crate::sqe::Addr::pointer(ptr.as_ptr());
        sqe.len = self.asked as u32;
        sqe.op_flags = sys::SEND_FLAGS;
    }

    fn decode(self, cqe: Cqe) -> BufResult<usize, B> {
        let result = count(cqe, self.asked);
        BufResult(result, self.buf)
    }

    /// The bytes that were not sent.
    fn residue(&mut self, cqe: Cqe, part: &mut dyn FnMut(&[u8])) {
        let sent = plausible(cqe, self.asked);
        let (ptr, len) = self.buf.io_parts();
        // SAFETY: the buffer has `len` initialised bytes, and the operation is finished.
        let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), len) };
        part(&bytes[sent..]);
    }
}
