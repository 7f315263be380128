//! openat(2): opens a file.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::fd::Fd;
use crate::sqe::Addr;
use crate::sys::{self, PathArg};
use std::io;
use std::path::Path;

/// How a file is to be opened; the fields mean what they mean in `std::fs::OpenOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct OpenWish {
    pub read: bool,
    pub write: bool,
    pub append: bool,
    pub truncate: bool,
    pub create: bool,
    pub create_new: bool,
    /// Permission bits of a new file on Unix, before the umask.
    pub mode: u32,
    /// Further `O_*` flags on Unix, such as `O_DIRECT`.
    pub custom_flags: i32,
}

impl OpenWish {
    /// Whether the wish can be granted at all.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with the contradiction.
    pub fn check(&self) -> io::Result<()> {
        let writes = self.write || self.append;
        let problem = if !self.read && !writes {
            "neither read, write nor append is set"
        } else if self.truncate && (self.append || !self.write) {
            "truncate needs write, and not append"
        } else if (self.create || self.create_new) && !writes {
            "creating a file needs write or append"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }
}

/// Opens a file.
#[derive(Debug)]
pub struct Open {
    path: PathArg,
    flags: u32,
    mode: u32,
}

impl Open {
    /// Opens `path` as `wish` says.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that the system cannot take or a contradictory wish.
    pub fn new(path: &Path, wish: &OpenWish) -> io::Result<Open> {
        wish.check()?;
        let flags = sys::open_flags(wish) | wish.custom_flags as u32;
        Ok(Open { path: PathArg::new(path)?, flags, mode: wish.mode })
    }
}

static META: OpMeta = OpMeta {
    name: "openat",
    opcode: opcode::OPENAT,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::open(sqe.fd, sqe.addr.as_pointer(), sqe.op_flags, sqe.len) }
    },
};

// SAFETY: 1. the path is on the heap and owned. 2. openat(2) only reads it. 3. nothing is counted.
unsafe impl Op for Open {
    type Output = io::Result<Fd>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = sys::CURRENT_DIR;
        sqe.addr = Addr::pointer(self.path.as_ptr());
        sqe.len = self.mode;
        sqe.op_flags = self.flags;
    }

    fn decode(self, cqe: Cqe) -> io::Result<Fd> {
        let raw = cqe.result()?;
        // SAFETY: a successful open yields a new descriptor, and its completion is decoded once.
        Ok(unsafe { Fd::opened(raw as i32) })
    }
}
