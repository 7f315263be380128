//! connect(2): opens a connection.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::fd::Fd;
use crate::sqe::Addr;
use crate::sys;
use socket2::SockAddr;
use std::io;

/// Connects a socket to an address.
#[derive(Debug)]
pub struct Connect {
    fd: Fd,
    address: SockAddr,
}

impl Connect {
    /// Connects `fd` to `address`.
    pub fn new(fd: Fd, address: SockAddr) -> Connect {
        Connect { fd, address }
    }
}

static META: OpMeta = OpMeta {
    name: "connect",
    opcode: opcode::CONNECT,
    class: Class::Writable,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::connect(sqe) }
    },
};

// SAFETY: 1. the address stays in the slot. 2. connect(2) only reads it. 3. nothing is counted.
unsafe impl Op for Connect {
    type Output = io::Result<()>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.raw();
        sqe.addr = Addr::pointer(self.address.as_ptr());
        sqe.off = Addr::number(self.address.len() as u64);
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
