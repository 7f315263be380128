//! recv(2) into a buffer of the caller's.

use super::{Class, Cqe, LEN_MAX, Op, OpMeta, Sqe, count, opcode, plausible};
use crate::fd::Fd;
use crate::sys;
use ringbolt_buffers::{BufResult, IoBufMut};

/// Receives at most one buffer full from a socket. Zero bytes mean the peer has ended its side.
#[derive(Debug)]
pub struct Recv<B> {
    fd: Fd,
    buf: B,
    asked: usize,
}

impl<B: IoBufMut> Recv<B> {
    /// Receives from `fd` into `buf`, which comes back with exactly the received bytes.
    pub fn new(fd: Fd, buf: B) -> Recv<B> {
        Recv { fd, buf, asked: 0 }
    }
}

pub(super) static META: OpMeta = OpMeta {
    name: "recv",
    opcode: opcode::RECV,
    class: Class::Readable,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::recv(sqe.fd, sqe.addr.as_pointer(), sqe.len as usize, sqe.op_flags) }
    },
};

// SAFETY: 1. the buffer is owned, and `IoBufMut` promises that its memory does not move.
// 2. recv(2) writes at most `len` bytes. 3. checked in `decode`.
unsafe impl<B: IoBufMut> Op for Recv<B> {
    type Output = BufResult<usize, B>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        let (ptr, capacity) = self.buf.io_parts_mut();
        self.asked = capacity.min(LEN_MAX);
        sqe.fd = self.fd.raw();
        sqe.addr = crate::sqe::Addr::pointer(ptr.as_ptr());
        sqe.len = self.asked as u32;
    }

    fn decode(mut self, cqe: Cqe) -> BufResult<usize, B> {
        let result = count(cqe, self.asked);
        if let Ok(n) = result {
            // SAFETY: the kernel wrote the first `n` bytes, which are within the capacity.
            unsafe { self.buf.set_init(n) };
        }
        BufResult(result, self.buf)
    }

    fn residue(&mut self, cqe: Cqe, part: &mut dyn FnMut(&[u8])) {
        let n = plausible(cqe, self.asked);
        let (ptr, _) = self.buf.io_parts_mut();
        // SAFETY: the kernel wrote the first `n` bytes, and the operation is finished.
        part(unsafe { std::slice::from_raw_parts(ptr.as_ptr(), n) });
    }
}
