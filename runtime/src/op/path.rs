//! mkdirat(2), renameat(2) and unlinkat(2): names in directories.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::sqe::Addr;
use crate::sys::{self, PathArg};
use std::io;
use std::path::Path;

/// Creates a directory.
#[derive(Debug)]
pub struct CreateDir {
    path: PathArg,
    mode: u32,
}

impl CreateDir {
    /// Creates `path` with permission bits `mode`, before the umask.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that the system cannot take.
    pub fn new(path: &Path, mode: u32) -> io::Result<CreateDir> {
        Ok(CreateDir { path: PathArg::new(path)?, mode })
    }
}

static MKDIR: OpMeta = OpMeta {
    name: "mkdirat",
    opcode: opcode::MKDIRAT,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::mkdir(sqe.fd, sqe.addr.as_pointer(), sqe.len) }
    },
};

// SAFETY: 1. the path is on the heap and owned. 2. mkdirat(2) only reads it. 3. nothing is counted.
unsafe impl Op for CreateDir {
    type Output = io::Result<()>;
    const META: &'static OpMeta = &MKDIR;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = sys::CURRENT_DIR;
        sqe.addr = Addr::pointer(self.path.as_ptr());
        sqe.len = self.mode;
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}

/// Renames a file or directory, replacing a file of the new name.
#[derive(Debug)]
pub struct Rename {
    from: PathArg,
    to: PathArg,
}

impl Rename {
    /// Renames `from` to `to`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that the system cannot take.
    pub fn new(from: &Path, to: &Path) -> io::Result<Rename> {
        Ok(Rename { from: PathArg::new(from)?, to: PathArg::new(to)? })
    }
}

static RENAME: OpMeta = OpMeta {
    name: "renameat",
    opcode: opcode::RENAMEAT,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::rename(sqe.addr.as_pointer(), sqe.off.as_pointer()) }
    },
};

// SAFETY: 1. the paths are on the heap and owned. 2. renameat(2) only reads them.
// 3. nothing is counted.
unsafe impl Op for Rename {
    type Output = io::Result<()>;
    const META: &'static OpMeta = &RENAME;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = sys::CURRENT_DIR;
        sqe.addr = Addr::pointer(self.from.as_ptr());
        sqe.off = Addr::pointer(self.to.as_ptr());
        sqe.len = sys::CURRENT_DIR as u32;
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}

/// Removes a file, or a directory that is empty.
#[derive(Debug)]
pub struct Remove {
    path: PathArg,
    flags: u32,
}

impl Remove {
    /// Removes the file `path`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that the system cannot take.
    pub fn file(path: &Path) -> io::Result<Remove> {
        Ok(Remove { path: PathArg::new(path)?, flags: 0 })
    }

    /// Removes the empty directory `path`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that the system cannot take.
    pub fn dir(path: &Path) -> io::Result<Remove> {
        Ok(Remove { path: PathArg::new(path)?, flags: sys::REMOVE_DIR })
    }
}

static UNLINK: OpMeta = OpMeta {
    name: "unlinkat",
    opcode: opcode::UNLINKAT,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::unlink(sqe.fd, sqe.addr.as_pointer(), sqe.op_flags) }
    },
};

// SAFETY: 1. the path is on the heap and owned. 2. unlinkat(2) only reads it. 3. nothing is
// counted.
unsafe impl Op for Remove {
    type Output = io::Result<()>;
    const META: &'static OpMeta = &UNLINK;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = sys::CURRENT_DIR;
        sqe.addr = Addr::pointer(self.path.as_ptr());
        sqe.op_flags = self.flags;
    }

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
