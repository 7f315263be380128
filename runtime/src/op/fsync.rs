//! fsync(2) and fdatasync(2): make a file durable.

use super::{Class, Cqe, Op, OpMeta, Sqe, flag, opcode};
use crate::fd::Fd;
use crate::sys;
use std::io;

/// Writes what the system holds of a file to its device.
#[derive(Debug)]
pub struct Fsync {
    fd: Fd,
    data_only: bool,
}

impl Fsync {
    /// Makes `fd` durable; with `data_only`, only what is needed to read the data back.
    pub fn new(fd: Fd, data_only: bool) -> Fsync {
        Fsync { fd, data_only }
    }
}

static META: OpMeta = OpMeta {
    name: "fsync",
    opcode: opcode::FSYNC,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| sys::fsync(sqe.fd, sqe.op_flags & flag::FSYNC_DATASYNC != 0),
};

// SAFETY: the request names no memory.
unsafe impl Op for Fsync {
    type Output = io::Result<()>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.raw();
        sqe.op_flags = if self.data_only { flag::FSYNC_DATASYNC } else { 0 };
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
