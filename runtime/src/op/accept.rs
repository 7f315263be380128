//! accept4(2): takes one connection.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::fd::Fd;
use crate::sys;
use std::io;

/// Takes one connection from a listening socket.
///
/// A listener uses [`AcceptMulti`](super::AcceptMulti), which loses no connection when a future is
/// dropped; this one closes the connection that nobody waits for any more.
#[derive(Debug)]
pub struct Accept {
    fd: Fd,
}

impl Accept {
    /// Takes a connection from `fd`.
    pub fn new(fd: Fd) -> Accept {
        Accept { fd }
    }
}

pub(super) static META: OpMeta = OpMeta {
    name: "accept",
    opcode: opcode::ACCEPT,
    class: Class::Readable,
    cancellable: true,
    call: |sqe| sys::accept(sqe.fd),
};

// SAFETY: the request names no memory.
unsafe impl Op for Accept {
    type Output = io::Result<Fd>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.raw();
        sqe.op_flags = sys::ACCEPT_FLAGS;
    }

    fn decode(self, cqe: Cqe) -> io::Result<Fd> {
        let raw = cqe.result()?;
        // SAFETY: a successful accept yields a new descriptor, and its completion is decoded once.
        Ok(unsafe { Fd::accepted(raw as i32) })
    }
}
