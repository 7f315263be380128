//! poll(2) for one descriptor: waits for readiness of a descriptor that the program reads itself.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::fd::Fd;
use crate::sys;
use std::io;

/// Waits until a descriptor is ready; errors and hang-ups count as ready.
#[derive(Debug)]
pub struct Poll<const WRITABLE: bool> {
    fd: Fd,
}

/// Waits for data, a connection, or the end of the peer's side.
pub type Readable = Poll<false>;
/// Waits for room for data, or the end of a connection attempt.
pub type Writable = Poll<true>;

impl<const WRITABLE: bool> Poll<WRITABLE> {
    /// Waits until `fd` is ready.
    pub fn new(fd: Fd) -> Poll<WRITABLE> {
        Poll { fd }
    }
}

const fn meta(class: Class) -> OpMeta {
    let call = |sqe: &mut Sqe| sys::poll_now(sqe.fd, sqe.op_flags);
    OpMeta { name: "poll", opcode: opcode::POLL_ADD, class, cancellable: true, call }
}

static READABLE: OpMeta = meta(Class::Readable);
static WRITABLE: OpMeta = meta(Class::Writable);

// SAFETY: the request names no memory.
unsafe impl<const OUT: bool> Op for Poll<OUT> {
    type Output = io::Result<()>;
    const META: &'static OpMeta = if OUT { &WRITABLE } else { &READABLE };

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.raw();
        sqe.op_flags = if OUT { sys::POLL_OUT } else { sys::POLL_IN };
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
