//! close(2) of a file, which may wait for a disk or a server and report what it found.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::core::Core;
use crate::fd;
use crate::sys::{self, DescKind};
use std::rc::Rc;
use std::{fmt, io};

/// Closes a descriptor. It is never cancelled, and the descriptor is gone whatever it returns: one
/// that has not been started when it is dropped closes the descriptor at once.
pub struct Close {
    raw: i32,
    kind: DescKind,
    /// The descriptor's core, until the driver has the request.
    core: Option<Rc<Core>>,
}

impl Close {
    /// Closes `raw`, which the caller owned.
    pub(crate) fn new(raw: i32, kind: DescKind, core: Rc<Core>) -> Close {
        Close { raw, kind, core: Some(core) }
    }
}

impl Drop for Close {
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            fd::close_now(&core, self.raw, self.kind);
        }
    }
}

impl fmt::Debug for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Close({})", self.raw)
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
        self.core = None;
        sqe.fd = self.raw;
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
