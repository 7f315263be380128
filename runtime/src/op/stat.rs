//! statx(2): what is known of a file.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use crate::fd::Fd;
use crate::sqe::Addr;
use crate::sys::{self, FileKind, PathArg, StatBuf};
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::{Duration, SystemTime};
use std::{fmt, io};

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType(FileKind);

impl FileType {
    /// A regular file.
    pub fn is_file(self) -> bool {
        self.0 == FileKind::File
    }

    /// A directory.
    pub fn is_dir(self) -> bool {
        self.0 == FileKind::Directory
    }

    /// A symbolic link, which only `symlink_metadata` shows.
    pub fn is_symlink(self) -> bool {
        self.0 == FileKind::Symlink
    }
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub struct Metadata(sys::Stat);

#[allow(clippy::len_without_is_empty)]
impl Metadata {
    /// Bytes in the file.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// What the name leads to.
    pub fn file_type(&self) -> FileType {
        FileType(self.0.kind)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }

    /// Permission bits as Unix has them; 0o444 or 0o666 on Windows.
    pub fn mode(&self) -> u32 {
        self.0.mode
    }

    /// When the content last changed.
    pub fn modified(&self) -> SystemTime {
        let (seconds, nanos) = self.0.modified;
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        let time = base.and_then(|t| t.checked_add(Duration::from_nanos(nanos.into())));
        time.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The device and the number of the file on it: equal for two names of one file.
    pub fn id(&self) -> (u64, u64) {
        self.0.id
    }
}

/// Asks what is known of a file.
pub struct Stat {
    // The descriptor is held so that it stays open until the operation has ended.
    fd: Option<Fd>,
    path: PathArg,
    flags: u32,
    out: StatBuf,
}

impl Stat {
    /// Asks about the file that `path` leads to, or with `follow` false about a link itself.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that the system cannot take.
    pub fn path(path: &Path, follow: bool) -> io::Result<Stat> {
        let flags = if follow { 0 } else { sys::STAT_NO_FOLLOW };
        Ok(Stat { fd: None, path: PathArg::new(path)?, flags, out: MaybeUninit::uninit() })
    }

    /// Asks about the open file `fd`.
    pub fn fd(fd: Fd) -> Stat {
        let path = PathArg::new(Path::new("")).expect("the empty path has no zero byte");
        Stat { fd: Some(fd), path, flags: sys::STAT_SELF, out: MaybeUninit::uninit() }
    }
}

static META: OpMeta = OpMeta {
    name: "statx",
    opcode: opcode::STATX,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::stat(sqe.fd, sqe.addr.as_pointer(), sqe.op_flags, sqe.off.as_pointer()) }
    },
};

// SAFETY: 1. the path is on the heap, the result in the slot, and both are owned. 2. statx(2)
// writes one result. 3. the result is only read after success.
unsafe impl Op for Stat {
    type Output = io::Result<Metadata>;
    const META: &'static OpMeta = &META;
    const ENDS: bool = true;

    fn fill(&mut self, sqe: &mut Sqe) {
        sqe.fd = self.fd.as_ref().map_or(sys::CURRENT_DIR, Fd::raw);
        sqe.addr = Addr::pointer(self.path.as_ptr());
        sqe.off = Addr::pointer(&raw mut self.out);
        sqe.len = sys::STAT_MASK;
        sqe.op_flags = self.flags;
    }

    fn ended(&mut self, _: Cqe) {
        self.fd = None;
    }

    fn decode(self, cqe: Cqe) -> io::Result<Metadata> {
        cqe.result()?;
        // SAFETY: the operation succeeded, so the kernel wrote the result.
        Ok(Metadata(unsafe { sys::stat_parts(&self.out) }))
    }
}

impl fmt::Debug for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stat").field("fd", &self.fd).field("path", &self.path).finish()
    }
}
