//! The kernel's side of the structures in requests, for the simulated kernel.

use super::unix::{IoVec, MsgHdr};
use super::{FileKind, StatBuf};
use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

/// The error numbers that only a kernel needs to know.
pub(crate) mod errno {
    pub(crate) const ADDRINUSE: i32 = libc::EADDRINUSE;
    pub(crate) const ADDRNOTAVAIL: i32 = libc::EADDRNOTAVAIL;
    pub(crate) const BADF: i32 = libc::EBADF;
    pub(crate) const CONNREFUSED: i32 = libc::ECONNREFUSED;
    pub(crate) const CONNRESET: i32 = libc::ECONNRESET;
    pub(crate) const EXIST: i32 = libc::EEXIST;
    pub(crate) const HOSTUNREACH: i32 = libc::EHOSTUNREACH;
    pub(crate) const INVAL: i32 = libc::EINVAL;
    pub(crate) const ISCONN: i32 = libc::EISCONN;
    pub(crate) const ISDIR: i32 = libc::EISDIR;
    pub(crate) const NOSPC: i32 = libc::ENOSPC;
    pub(crate) const NOTDIR: i32 = libc::ENOTDIR;
    pub(crate) const NOTEMPTY: i32 = libc::ENOTEMPTY;
    pub(crate) const NOTSOCK: i32 = libc::ENOTSOCK;
    pub(crate) const NOSYS: i32 = libc::ENOSYS;
    pub(crate) const PIPE: i32 = libc::EPIPE;
    pub(crate) const TIMEDOUT: i32 = libc::ETIMEDOUT;
}

/// The parts of a vectored request.
///
/// # Safety
///
/// `parts` names `count` parts.
pub(crate) unsafe fn parts(parts: *const IoVec, count: usize) -> Vec<(*mut u8, usize)> {
    let part = |i: usize| {
        // SAFETY: the caller's obligation.
        let part = unsafe { parts.add(i) };
        // SAFETY: `IoVec` is a transparent `iovec`.
        let part = unsafe { part.cast::<libc::iovec>().read() };
        (part.iov_base.cast(), part.iov_len)
    };
    (0..count).map(part).collect()
}

/// The parts of a message.
///
/// # Safety
///
/// `message` is a header whose parts are valid.
pub(crate) unsafe fn message_parts(message: *const MsgHdr) -> Vec<(*mut u8, usize)> {
    // SAFETY: the caller's obligation; `MsgHdr` holds a `msghdr` first and only.
    let header = unsafe { &*message.cast::<libc::msghdr>() };
    // The type of the count differs from system to system.
    #[allow(clippy::unnecessary_cast)]
    let count = header.msg_iovlen as usize;
    // SAFETY: the caller's obligation.
    unsafe { parts(header.msg_iov.cast(), count) }
}

/// The path in a request, seen from the root.
///
/// # Safety
///
/// `path` is a zero-terminated string.
pub(crate) unsafe fn path(path: *const libc::c_char) -> PathBuf {
    // SAFETY: the caller's obligation.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    let mut whole = PathBuf::from("/");
    for part in Path::new(OsStr::from_bytes(bytes)).components() {
        match part {
            std::path::Component::Normal(name) => whole.push(name),
            std::path::Component::ParentDir => {
                whole.pop();
            }
            _ => {}
        }
    }
    whole
}

/// How a file is to be opened, as a kernel reads it from the flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
}

/// The wish in the flags of open(2).
pub(crate) fn open_wish(flags: u32) -> Wish {
    let flags = flags as i32;
    let access = flags & libc::O_ACCMODE;
    Wish {
        write: access != libc::O_RDONLY,
        append: flags & libc::O_APPEND != 0,
        truncate: flags & libc::O_TRUNC != 0,
        create: flags & libc::O_CREAT != 0,
        create_new: flags & libc::O_EXCL != 0,
    }
}

/// The address in a connect request.
///
/// # Safety
///
/// `address` is a socket address of `len` bytes.
pub(crate) unsafe fn socket_address(address: *const u8, len: usize) -> Option<SocketAddr> {
    let mut storage = socket2::SockAddrStorage::zeroed();
    let len = len.min(storage.size_of() as usize);
    let start = (&raw mut storage).cast::<u8>();
    // SAFETY: the caller's obligation, and the storage has room for any address.
    unsafe { ptr::copy_nonoverlapping(address, start, len) };
    // SAFETY: the storage holds an address of that length.
    unsafe { socket2::SockAddr::new(storage, len as libc::socklen_t) }.as_socket()
}

/// What a kernel writes about a file of `len` bytes, changed `modified` seconds after 1970.
#[cfg(target_os = "linux")]
pub(crate) fn stat_buf(len: u64, kind: FileKind, modified: (i64, u32), number: u64) -> StatBuf {
    // SAFETY: all bits zero is a valid `statx`.
    let mut s: libc::statx = unsafe { std::mem::zeroed() };
    s.stx_size = len;
    s.stx_mode = mode_of(kind) as u16;
    s.stx_mtime.tv_sec = modified.0;
    s.stx_mtime.tv_nsec = modified.1;
    s.stx_ino = number;
    MaybeUninit::new(s)
}

/// What a kernel writes about a file of `len` bytes, changed `modified` seconds after 1970.
#[cfg(not(target_os = "linux"))]
// The widths of these fields differ from system to system.
#[allow(clippy::unnecessary_cast)]
pub(crate) fn stat_buf(len: u64, kind: FileKind, modified: (i64, u32), number: u64) -> StatBuf {
    // SAFETY: all bits zero is a valid `stat`.
    let mut s: libc::stat = unsafe { std::mem::zeroed() };
    s.st_size = len as _;
    s.st_mode = mode_of(kind) as _;
    s.st_mtime = modified.0 as _;
    s.st_mtime_nsec = modified.1 as _;
    s.st_ino = number as _;
    MaybeUninit::new(s)
}

// The width of these numbers differs from system to system.
#[allow(clippy::unnecessary_cast)]
fn mode_of(kind: FileKind) -> u32 {
    match kind {
        FileKind::File => libc::S_IFREG as u32 | 0o644,
        FileKind::Directory => libc::S_IFDIR as u32 | 0o755,
        FileKind::Symlink => libc::S_IFLNK as u32 | 0o777,
        FileKind::Other => 0o600,
    }
}
