//! fsync(2) and fdatasync(2): make a file durable.

use super::fence::Token;
use super::verdict::{self, Family, Verdict};
use super::{Class, Cqe, Op, OpMeta, Sqe, flag, opcode};
use crate::fd::Fd;
use crate::sys;
use std::io;

/// Writes what the system holds of a file to its device.
#[derive(Debug)]
pub struct Fsync {
    fd: Option<Fd>,
    data_only: bool,
    /// Lets the file know when the sync has ended, and how.
    token: Option<Token>,
}

impl Fsync {
    /// Makes `fd` durable; with `data_only`, only what is needed to read the data back.
    pub fn new(fd: Fd, data_only: bool) -> Fsync {
        Fsync { fd: Some(fd), data_only, token: None }
    }

    /// Lets the fence that `token` is of know when the sync has ended, and whether it failed.
    pub fn fenced(mut self, token: Token) -> Fsync {
        self.token = Some(token);
        self
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
    const ENDS: bool = true;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.as_ref().map_or(-1, Fd::raw);
        sqe.op_flags = if self.data_only { flag::FSYNC_DATASYNC } else { 0 };
    }

    fn ended(&mut self, cqe: Cqe) {
        self.fd = None;
        if let Some(token) = self.token.take()
            && cqe.res < 0
            && verdict::of(Family::Sync, cqe.res.saturating_neg()) == Verdict::Poison
        {
            token.fail();
        }
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
