//! shutdown(2): ends one or both directions of a connection.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::fd::Fd;
use crate::sys;
use std::io;
use std::net;

/// Ends one or both directions of a connection; what was sent before still arrives.
#[derive(Debug)]
pub struct Shutdown {
    fd: Fd,
    how: net::Shutdown,
}

impl Shutdown {
    /// Ends direction `how` of `fd`.
    pub fn new(fd: Fd, how: net::Shutdown) -> Shutdown {
        Shutdown { fd, how }
    }
}

static META: OpMeta = OpMeta {
    name: "shutdown",
    opcode: opcode::SHUTDOWN,
    class: Class::Instant,
    cancellable: true,
    call: |sqe| sys::shutdown(sqe.fd, sqe.len),
};

// SAFETY: the request names no memory.
unsafe impl Op for Shutdown {
    type Output = io::Result<()>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.raw();
        // SHUT_RD, SHUT_WR and SHUT_RDWR have these numbers on every system (shutdown(2)).
        sqe.len = match self.how {
            net::Shutdown::Read => 0,
            net::Shutdown::Write => 1,
            net::Shutdown::Both => 2,
        };
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
