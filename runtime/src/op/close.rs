//! close(2) of a file, which may wait for a disk or a server and report what it found.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::sys::{self, DescKind};
use std::io;

/// Closes a descriptor. It is never cancelled, and the descriptor is gone whatever it returns.
#[derive(Debug)]
pub struct Close {
    raw: i32,
}

impl Close {
    /// Closes `raw`, which the caller owned.
    pub(crate) fn new(raw: i32) -> Close {
        Close { raw }
    }
}

static META: OpMeta = OpMeta {
    name: "close",
    opcode: opcode::CLOSE,
    class: Class::Blocking,
    cancellable: false,
    call: |sqe| sys::close(sqe.fd, DescKind::File),
};

// SAFETY: the request names no memory.
unsafe impl Op for Close {
    type Output = io::Result<()>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.raw;
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
