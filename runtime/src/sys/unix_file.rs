//! Files on Unix: thin calls that return a result or minus `errno`, and may block.

use super::unix::{IoVec, res, retry};
use super::{FileKind, Stat};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{io, mem::MaybeUninit};

/// A path as the kernel takes it.
#[derive(Debug)]
pub(crate) struct PathArg(CString);

impl PathArg {
    pub(crate) fn new(path: &Path) -> io::Result<PathArg> {
        CString::new(path.as_os_str().as_bytes()).map(PathArg).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the path contains a zero byte")
        })
    }

    pub(crate) fn as_ptr(&self) -> *const libc::c_char {
        self.0.as_ptr()
    }
}

/// The directory descriptor that stands for the current directory.
pub(crate) const CURRENT_DIR: i32 = libc::AT_FDCWD;
/// Makes `unlink` remove a directory.
pub(crate) const REMOVE_DIR: u32 = libc::AT_REMOVEDIR as u32;

/// The flags of open(2) for the wishes of an `OpenOptions`.
pub(crate) fn open_flags(wish: &crate::op::OpenWish) -> u32 {
    let access = match (wish.read, wish.write || wish.append) {
        (true, true) => libc::O_RDWR,
        (false, true) => libc::O_WRONLY,
        _ => libc::O_RDONLY,
    };
    let set = |on: bool, bits: i32| if on { bits } else { 0 };
    let creation = set(wish.create, libc::O_CREAT)
        | set(wish.create_new, libc::O_CREAT | libc::O_EXCL)
        | set(wish.truncate, libc::O_TRUNC)
        | set(wish.append, libc::O_APPEND);
    (access | creation | libc::O_CLOEXEC) as u32
}

/// # Safety
///
/// `path` is a zero-terminated string.
pub(crate) unsafe fn open(dir: i32, path: *const libc::c_char, flags: u32, mode: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    retry(|| unsafe { libc::openat(dir, path, flags as i32, mode) as isize })
}

/// Calls `at` with the offset, or `here` where there is none: if it is `u64::MAX`, or if the file
/// is a pipe or the like, which io_uring reads and writes whatever the offset says.
fn positioned(
    offset: u64,
    mut at: impl FnMut(libc::off_t) -> isize,
    here: impl FnMut() -> isize,
) -> i32 {
    if offset != u64::MAX {
        let res = retry(|| at(offset as libc::off_t));
        if res != -libc::ESPIPE {
            return res;
        }
    }
    retry(here)
}

/// Reads at `offset`, or at the file's own position if it is `u64::MAX`.
///
/// # Safety
///
/// `ptr` is valid for `len` writes.
pub(crate) unsafe fn read(fd: i32, ptr: *mut u8, len: usize, offset: u64) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    let at = |offset| unsafe { libc::pread(fd, ptr.cast(), len, offset) };
    // SAFETY: as above.
    positioned(offset, at, || unsafe { libc::read(fd, ptr.cast(), len) })
}

/// Writes at `offset`, or at the file's own position if it is `u64::MAX`.
///
/// # Safety
///
/// `ptr` is valid for `len` reads.
pub(crate) unsafe fn write(fd: i32, ptr: *const u8, len: usize, offset: u64) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    let at = |offset| unsafe { libc::pwrite(fd, ptr.cast(), len, offset) };
    // SAFETY: as above.
    positioned(offset, at, || unsafe { libc::write(fd, ptr.cast(), len) })
}

/// Reads at `offset`, or at the file's own position if it is `u64::MAX`.
///
/// # Safety
///
/// `parts` names `count` parts that are valid for writes.
pub(crate) unsafe fn readv(fd: i32, parts: *const IoVec, count: u32, offset: u64) -> i32 {
    // SAFETY: the caller's obligation is the call's; `IoVec` is a transparent `iovec`.
    let at = |offset| unsafe { libc::preadv(fd, parts.cast(), count as i32, offset) };
    // SAFETY: as above.
    positioned(offset, at, || unsafe { libc::readv(fd, parts.cast(), count as i32) })
}

/// Writes at `offset`, or at the file's own position if it is `u64::MAX`.
///
/// # Safety
///
/// `parts` names `count` parts that are valid for reads.
pub(crate) unsafe fn writev(fd: i32, parts: *const IoVec, count: u32, offset: u64) -> i32 {
    // SAFETY: the caller's obligation is the call's; `IoVec` is a transparent `iovec`.
    let at = |offset| unsafe { libc::pwritev(fd, parts.cast(), count as i32, offset) };
    // SAFETY: as above.
    positioned(offset, at, || unsafe { libc::writev(fd, parts.cast(), count as i32) })
}

pub(crate) fn fsync(fd: i32, data_only: bool) -> i32 {
    if data_only {
        #[cfg(not(target_vendor = "apple"))]
        // SAFETY: the call names no memory.
        return retry(|| unsafe { libc::fdatasync(fd) as isize });
        #[cfg(target_vendor = "apple")]
        // SAFETY: the call names no memory.
        return retry(|| unsafe { libc::fsync(fd) as isize });
    }
    #[cfg(target_vendor = "apple")]
    // SAFETY: the call names no memory. Apple's fsync(2) leaves the data in the drive's cache.
    return retry(|| unsafe { libc::fcntl(fd, libc::F_FULLFSYNC) as isize });
    #[cfg(not(target_vendor = "apple"))]
    // SAFETY: the call names no memory.
    return retry(|| unsafe { libc::fsync(fd) as isize });
}

/// # Safety
///
/// `path` is a zero-terminated string.
pub(crate) unsafe fn mkdir(dir: i32, path: *const libc::c_char, mode: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    res(unsafe { libc::mkdirat(dir, path, mode as libc::mode_t) } as isize)
}

/// # Safety
///
/// Both paths are zero-terminated strings.
pub(crate) unsafe fn rename(from: *const libc::c_char, to: *const libc::c_char) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    res(unsafe { libc::rename(from, to) } as isize)
}

/// # Safety
///
/// `path` is a zero-terminated string.
pub(crate) unsafe fn unlink(dir: i32, path: *const libc::c_char, flags: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    res(unsafe { libc::unlinkat(dir, path, flags as i32) } as isize)
}

/// What the kernel writes about a file.
#[cfg(target_os = "linux")]
pub(crate) type StatBuf = MaybeUninit<libc::statx>;
/// What the kernel writes about a file.
#[cfg(not(target_os = "linux"))]
pub(crate) type StatBuf = MaybeUninit<libc::stat>;

/// Which fields of statx(2) are asked for.
#[cfg(target_os = "linux")]
pub(crate) const STAT_MASK: u32 = libc::STATX_BASIC_STATS;
/// Not used here.
#[cfg(not(target_os = "linux"))]
pub(crate) const STAT_MASK: u32 = 0;

/// Flags that make `stat` look at the descriptor itself.
#[cfg(target_os = "linux")]
pub(crate) const STAT_SELF: u32 = libc::AT_EMPTY_PATH as u32;
/// A sign for `stat` itself, which no system call sees.
#[cfg(not(target_os = "linux"))]
pub(crate) const STAT_SELF: u32 = 1 << 31;
/// Flags that make `stat` look at a symbolic link itself.
pub(crate) const STAT_NO_FOLLOW: u32 = libc::AT_SYMLINK_NOFOLLOW as u32;

/// # Safety
///
/// `path` is a zero-terminated string and `out` is valid for one write.
#[cfg(target_os = "linux")]
pub(crate) unsafe fn stat(
    dir: i32,
    path: *const libc::c_char,
    flags: u32,
    out: *mut StatBuf,
) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    res(unsafe { libc::statx(dir, path, flags as i32, STAT_MASK, out.cast()) } as isize)
}

/// # Safety
///
/// `path` is a zero-terminated string and `out` is valid for one write.
#[cfg(not(target_os = "linux"))]
pub(crate) unsafe fn stat(
    dir: i32,
    path: *const libc::c_char,
    flags: u32,
    out: *mut StatBuf,
) -> i32 {
    if flags & STAT_SELF != 0 {
        // SAFETY: the caller's obligation is the call's.
        return res(unsafe { libc::fstat(dir, out.cast()) } as isize);
    }
    // SAFETY: the caller's obligation is the call's.
    res(unsafe { libc::fstatat(dir, path, out.cast(), flags as i32) } as isize)
}

/// # Safety
///
/// A successful `stat` wrote `buf`.
#[cfg(target_os = "linux")]
pub(crate) unsafe fn stat_parts(buf: &StatBuf) -> Stat {
    // SAFETY: the caller's obligation is the call's.
    let s = unsafe { buf.assume_init_ref() };
    Stat {
        len: s.stx_size,
        kind: kind_of(u32::from(s.stx_mode)),
        mode: u32::from(s.stx_mode) & 0o7777,
        modified: (s.stx_mtime.tv_sec, s.stx_mtime.tv_nsec),
        id: ((u64::from(s.stx_dev_major) << 32) | u64::from(s.stx_dev_minor), s.stx_ino),
    }
}

/// # Safety
///
/// A successful `stat` wrote `buf`.
#[cfg(not(target_os = "linux"))]
// The widths of these fields differ from system to system.
#[allow(clippy::unnecessary_cast)]
pub(crate) unsafe fn stat_parts(buf: &StatBuf) -> Stat {
    // SAFETY: the caller's obligation is the call's.
    let s = unsafe { buf.assume_init_ref() };
    Stat {
        len: s.st_size as u64,
        kind: kind_of(s.st_mode as u32),
        mode: s.st_mode as u32 & 0o7777,
        modified: (s.st_mtime as i64, s.st_mtime_nsec as u32),
        id: (s.st_dev as u64, s.st_ino as u64),
    }
}

// The width of these numbers differs from system to system.
#[allow(clippy::unnecessary_cast)]
fn kind_of(mode: u32) -> FileKind {
    match mode & libc::S_IFMT as u32 {
        bits if bits == libc::S_IFREG as u32 => FileKind::File,
        bits if bits == libc::S_IFDIR as u32 => FileKind::Directory,
        bits if bits == libc::S_IFLNK as u32 => FileKind::Symlink,
        _ => FileKind::Other,
    }
}
