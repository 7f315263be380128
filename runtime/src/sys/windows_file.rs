//! Files on Windows: thin calls that return a result or minus an error code, and may block.

use super::windows::{IoVec, handle_of, last, raw_of};
use super::{FileKind, Stat};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::windows::ffi::OsStrExt;
use std::path::{Component, Path, Prefix};
use std::{io, ptr};
use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_ALREADY_EXISTS, ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF,
    ERROR_INVALID_PARAMETER, ERROR_IO_PENDING, FILETIME, GENERIC_READ, GENERIC_WRITE, GetLastError,
    HANDLE, INVALID_HANDLE_VALUE, STATUS_PENDING,
};
use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::IO::{GetOverlappedResult, OVERLAPPED};

/// From this many units on, a path needs the form that has no limit.
const LONG_PATH: usize = 248;

/// A path as the system takes it: UTF-16 that ends with a zero.
#[derive(Debug)]
pub(crate) struct PathArg(Vec<u16>);

impl PathArg {
    pub(crate) fn new(path: &Path) -> io::Result<PathArg> {
        let mut units: Vec<u16> = path.as_os_str().encode_wide().collect();
        if units.contains(&0) {
            let text = "the path contains a zero character";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if units.len() >= LONG_PATH {
            units = without_limit(path)?;
        }
        units.push(0);
        Ok(PathArg(units))
    }

    pub(crate) fn as_ptr(&self) -> *const u16 {
        self.0.as_ptr()
    }
}

/// `path` in the form that has no limit of 260 characters: absolute, behind `\\?\`.
fn without_limit(path: &Path) -> io::Result<Vec<u16>> {
    let absolute = std::path::absolute(path)?;
    let wide = absolute.as_os_str().encode_wide();
    let (marker, skip) = match absolute.components().next() {
        Some(Component::Prefix(prefix)) => match prefix.kind() {
            Prefix::Disk(_) => (r"\\?\", 0),
            Prefix::UNC(..) => (r"\\?\UNC\", 2),
            _ => ("", 0),
        },
        _ => ("", 0),
    };
    Ok(marker.encode_utf16().chain(wide.skip(skip)).collect())
}

/// Stands for the current directory, to which the system itself relates paths.
pub(crate) const CURRENT_DIR: i32 = -1;
/// Makes `unlink` remove a directory.
pub(crate) const REMOVE_DIR: u32 = 1;

/// The wishes of an `OpenOptions`, in the bits below those of the `FILE_FLAG_` constants.
mod wish {
    pub(super) const READ: u32 = 1;
    pub(super) const WRITE: u32 = 1 << 1;
    pub(super) const APPEND: u32 = 1 << 2;
    pub(super) const TRUNCATE: u32 = 1 << 3;
    pub(super) const CREATE: u32 = 1 << 4;
    pub(super) const CREATE_NEW: u32 = 1 << 5;
    pub(super) const ALL: u32 = 0xffff;
}

/// The wishes of an `OpenOptions` as `open` takes them.
pub(crate) fn open_flags(wish: &crate::op::OpenWish) -> u32 {
    let set = |on: bool, bit: u32| if on { bit } else { 0 };
    set(wish.read, wish::READ)
        | set(wish.write, wish::WRITE)
        | set(wish.append, wish::APPEND)
        | set(wish.truncate, wish::TRUNCATE)
        | set(wish.create, wish::CREATE)
        | set(wish.create_new, wish::CREATE_NEW)
}

/// Opens a file, shared with everybody as on Unix, or for reading also a directory.
///
/// # Safety
///
/// `path` is a zero-terminated string.
pub(crate) unsafe fn open(_dir: i32, path: *const u16, flags: u32, _mode: u32) -> i32 {
    let wants = |bit: u32| flags & bit != 0;
    let mut access = if wants(wish::READ) { GENERIC_READ } else { 0 };
    if wants(wish::APPEND) {
        // Without the right to write elsewhere, every write goes to the end.
        access |= fs::FILE_GENERIC_WRITE & !fs::FILE_WRITE_DATA;
    } else if wants(wish::WRITE) {
        access |= GENERIC_WRITE;
    }
    let disposition = if wants(wish::CREATE_NEW) {
        fs::CREATE_NEW
    } else if wants(wish::CREATE) {
        // CREATE_ALWAYS would refuse hidden files and replace attributes.
        fs::OPEN_ALWAYS
    } else {
        fs::OPEN_EXISTING
    };
    // Calls that end later are not for this module, which waits for each.
    let mut more = flags & !wish::ALL & !fs::FILE_FLAG_OVERLAPPED;
    if !wants(wish::WRITE | wish::APPEND) {
        more |= fs::FILE_FLAG_BACKUP_SEMANTICS;
    }
    // SAFETY: the caller's obligation.
    let opened = unsafe { create_file(path, access, disposition, more) };
    let Ok((handle, existed)) = opened else { return opened.unwrap_err() };
    if wants(wish::TRUNCATE) && (existed || disposition == fs::OPEN_EXISTING) {
        // SAFETY: the handle is open, and its position is the beginning.
        if unsafe { fs::SetEndOfFile(handle) } == 0 {
            let error = last();
            close(handle);
            return error;
        }
    }
    raw_of(handle.addr())
}

/// Opens `path`; true with the handle if `OPEN_ALWAYS` found a file.
///
/// # Safety
///
/// `path` is a zero-terminated string.
unsafe fn create_file(
    path: *const u16,
    access: u32,
    disposition: u32,
    flags: u32,
) -> Result<(HANDLE, bool), i32> {
    let share = fs::FILE_SHARE_READ | fs::FILE_SHARE_WRITE | fs::FILE_SHARE_DELETE;
    let (none, no_template) = (ptr::null(), ptr::null_mut());
    // SAFETY: the caller's obligation is the call's.
    let handle =
        unsafe { fs::CreateFileW(path, access, share, none, disposition, flags, no_template) };
    if handle == INVALID_HANDLE_VALUE {
        return Err(last());
    }
    // SAFETY: the call names no memory.
    let existed = unsafe { GetLastError() } == ERROR_ALREADY_EXISTS;
    Ok((handle, existed && disposition == fs::OPEN_ALWAYS))
}

fn close(handle: HANDLE) {
    // SAFETY: the one owner of the handle gives it up here.
    unsafe { CloseHandle(handle) };
}

/// Makes one call to read or write at `offset`, or at the file's own position if that is
/// `u64::MAX`, and does not return before the system has let go of the memory.
fn transfer(
    handle: HANDLE,
    offset: u64,
    call: impl FnOnce(*mut u32, *mut OVERLAPPED) -> i32,
) -> Result<u32, u32> {
    if offset > i64::MAX as u64 && offset != u64::MAX {
        // Some of these stand for other places than they say.
        return Err(ERROR_INVALID_PARAMETER);
    }
    let (mut n, mut place) = (0, OVERLAPPED::default());
    place.Anonymous.Anonymous.Offset = offset as u32;
    place.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
    let at = &raw mut place;
    if call(&raw mut n, if offset == u64::MAX { ptr::null_mut() } else { at }) != 0 {
        return Ok(n);
    }
    // SAFETY: the call names no memory.
    let mut error = unsafe { GetLastError() };
    // A file that was opened elsewhere may be one whose calls end later.
    while error == ERROR_IO_PENDING {
        // SAFETY: `place` is that of the call above, and stays here until that has ended.
        let ended = unsafe { GetOverlappedResult(handle, at, &mut n, 1) } != 0;
        // SAFETY: the call names no memory.
        let failed = unsafe { GetLastError() };
        // SAFETY: `place` is still there.
        let status = unsafe { &raw const (*at).Internal };
        // SAFETY: as above, and the system writes this field as a whole.
        let status = unsafe { status.read_volatile() };
        match ended {
            // The handle was signalled for another call.
            _ if status as i32 == STATUS_PENDING => continue,
            true => return Ok(n),
            false => error = failed,
        }
    }
    Err(error)
}

/// The result of a transfer, where some errors mean the end of the file or pipe.
fn count(result: Result<u32, u32>) -> i32 {
    match result {
        Ok(n) => n as i32,
        Err(ERROR_HANDLE_EOF) => 0,
        Err(error) => -(error as i32),
    }
}

/// Reads at `offset`, or at the file's own position if it is `u64::MAX`.
///
/// # Safety
///
/// `ptr` is valid for `len` writes.
pub(crate) unsafe fn read(fd: i32, ptr: *mut u8, len: usize, offset: u64) -> i32 {
    let (handle, len) = (handle_of(fd), len as u32);
    let result = transfer(handle, offset, |n, at| {
        // SAFETY: the caller's obligation is the call's; `transfer` waits for its end.
        unsafe { fs::ReadFile(handle, ptr, len, n, at) }
    });
    // The other end of a pipe has been closed.
    if result == Err(ERROR_BROKEN_PIPE) { 0 } else { count(result) }
}

/// Writes at `offset`, or at the file's own position if it is `u64::MAX`.
///
/// # Safety
///
/// `ptr` is valid for `len` reads.
pub(crate) unsafe fn write(fd: i32, ptr: *const u8, len: usize, offset: u64) -> i32 {
    let (handle, len) = (handle_of(fd), len as u32);
    count(transfer(handle, offset, |n, at| {
        // SAFETY: the caller's obligation is the call's; `transfer` waits for its end.
        unsafe { fs::WriteFile(handle, ptr, len, n, at) }
    }))
}

/// Transfers part after part until one is short. An error counts only where nothing came before.
///
/// # Safety
///
/// `parts` names `count` parts.
unsafe fn each_part(
    parts: *const IoVec,
    count: u32,
    offset: u64,
    mut transfer: impl FnMut(*mut u8, usize, u64) -> i32,
) -> i32 {
    // SAFETY: the caller's obligation.
    let parts = unsafe { std::slice::from_raw_parts(parts, count as usize) };
    let mut done = 0;
    for part in parts {
        let (ptr, len) = part.parts();
        let at = if offset == u64::MAX { offset } else { offset.saturating_add(done as u64) };
        let n = transfer(ptr, len, at);
        if n < 0 {
            return if done == 0 { n } else { done };
        }
        done += n;
        if (n as usize) < len {
            break;
        }
    }
    done
}

/// # Safety
///
/// `parts` names `count` parts that are valid for writes.
pub(crate) unsafe fn readv(fd: i32, parts: *const IoVec, count: u32, offset: u64) -> i32 {
    // SAFETY: the caller's obligation.
    let one = |ptr, len, at| unsafe { read(fd, ptr, len, at) };
    // SAFETY: the caller's obligation.
    unsafe { each_part(parts, count, offset, one) }
}

/// # Safety
///
/// `parts` names `count` parts that are valid for reads.
pub(crate) unsafe fn writev(fd: i32, parts: *const IoVec, count: u32, offset: u64) -> i32 {
    // SAFETY: the caller's obligation.
    let one = |ptr: *mut u8, len, at| unsafe { write(fd, ptr, len, at) };
    // SAFETY: the caller's obligation.
    unsafe { each_part(parts, count, offset, one) }
}

/// Whether a call returned true, as a result.
fn res(ok: i32) -> i32 {
    if ok == 0 { last() } else { 0 }
}

/// The system makes content and metadata durable together.
pub(crate) fn fsync(fd: i32, _data_only: bool) -> i32 {
    // SAFETY: the call names no memory.
    res(unsafe { fs::FlushFileBuffers(handle_of(fd)) })
}

/// # Safety
///
/// `path` is a zero-terminated string.
pub(crate) unsafe fn mkdir(_dir: i32, path: *const u16, _mode: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    res(unsafe { fs::CreateDirectoryW(path, ptr::null()) })
}

/// # Safety
///
/// Both paths are zero-terminated strings.
pub(crate) unsafe fn rename(from: *const u16, to: *const u16) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    res(unsafe { fs::MoveFileExW(from, to, fs::MOVEFILE_REPLACE_EXISTING) })
}

/// # Safety
///
/// `path` is a zero-terminated string.
pub(crate) unsafe fn unlink(_dir: i32, path: *const u16, flags: u32) -> i32 {
    if flags & REMOVE_DIR != 0 {
        // SAFETY: the caller's obligation is the call's.
        return res(unsafe { fs::RemoveDirectoryW(path) });
    }
    // SAFETY: the caller's obligation is the call's.
    res(unsafe { fs::DeleteFileW(path) })
}

/// What the system writes about a file.
pub(crate) type StatBuf = MaybeUninit<FileInfo>;

/// What the system tells about an open file, in two calls.
#[derive(Clone, Copy)]
pub(crate) struct FileInfo {
    basic: fs::BY_HANDLE_FILE_INFORMATION,
    /// What kind of link it is, if it is one.
    tag: u32,
}

/// Not used here.
pub(crate) const STAT_MASK: u32 = 0;
/// Flags that make `stat` look at the descriptor itself.
pub(crate) const STAT_SELF: u32 = 1;
/// Flags that make `stat` look at a symbolic link itself.
pub(crate) const STAT_NO_FOLLOW: u32 = 1 << 1;

/// # Safety
///
/// `path` is a zero-terminated string and `out` is valid for one write.
pub(crate) unsafe fn stat(fd: i32, path: *const u16, flags: u32, out: *mut StatBuf) -> i32 {
    let out = out.cast::<FileInfo>();
    if flags & STAT_SELF != 0 {
        // SAFETY: the caller's obligation.
        return unsafe { stat_handle(handle_of(fd), out) };
    }
    let itself = if flags & STAT_NO_FOLLOW != 0 { fs::FILE_FLAG_OPEN_REPARSE_POINT } else { 0 };
    let more = fs::FILE_FLAG_BACKUP_SEMANTICS | itself;
    // SAFETY: the caller's obligation.
    let opened = unsafe { create_file(path, fs::FILE_READ_ATTRIBUTES, fs::OPEN_EXISTING, more) };
    let Ok((handle, _)) = opened else { return opened.unwrap_err() };
    // SAFETY: the caller's obligation.
    let res = unsafe { stat_handle(handle, out) };
    close(handle);
    res
}

/// # Safety
///
/// `out` is valid for one write.
unsafe fn stat_handle(handle: HANDLE, out: *mut FileInfo) -> i32 {
    let mut basic = fs::BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the result is valid for one write.
    if unsafe { fs::GetFileInformationByHandle(handle, &mut basic) } == 0 {
        return last();
    }
    let mut link = fs::FILE_ATTRIBUTE_TAG_INFO::default();
    if basic.dwFileAttributes & fs::FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        let (at, size) = ((&raw mut link).cast::<c_void>(), size_of_val(&link) as u32);
        let class = fs::FileAttributeTagInfo;
        // SAFETY: the result is as large as the size says.
        if unsafe { fs::GetFileInformationByHandleEx(handle, class, at, size) } == 0 {
            return last();
        }
    }
    // SAFETY: the caller's obligation.
    unsafe { out.write(FileInfo { basic, tag: link.ReparseTag }) };
    0
}

/// # Safety
///
/// A successful `stat` wrote `buf`.
pub(crate) unsafe fn stat_parts(buf: &StatBuf) -> Stat {
    // SAFETY: the caller's obligation is the call's.
    let FileInfo { basic, tag } = *unsafe { buf.assume_init_ref() };
    let has = |bit: u32| basic.dwFileAttributes & bit != 0;
    /// The bit of those tags that stand for another name (reparse point tags).
    const NAME_SURROGATE: u32 = 0x2000_0000;
    let kind = if has(fs::FILE_ATTRIBUTE_REPARSE_POINT) && tag & NAME_SURROGATE != 0 {
        FileKind::Symlink
    } else if has(fs::FILE_ATTRIBUTE_DIRECTORY) {
        FileKind::Directory
    } else if has(fs::FILE_ATTRIBUTE_DEVICE) {
        FileKind::Other
    } else {
        FileKind::File
    };
    Stat {
        len: joined(basic.nFileSizeHigh, basic.nFileSizeLow),
        kind,
        mode: if has(fs::FILE_ATTRIBUTE_READONLY) { 0o444 } else { 0o666 },
        modified: since_1970(basic.ftLastWriteTime),
        id: (basic.dwVolumeSerialNumber.into(), joined(basic.nFileIndexHigh, basic.nFileIndexLow)),
    }
}

fn joined(high: u32, low: u32) -> u64 {
    (u64::from(high) << 32) | u64::from(low)
}

/// Seconds and nanoseconds since 1970 of a time in steps of 100 ns since 1601.
fn since_1970(time: FILETIME) -> (i64, u32) {
    const PER_SECOND: i64 = 10_000_000;
    const UNTIL_1970: i64 = 11_644_473_600;
    let steps = joined(time.dwHighDateTime, time.dwLowDateTime) as i64;
    let (seconds, rest) = (steps.div_euclid(PER_SECOND), steps.rem_euclid(PER_SECOND));
    (seconds - UNTIL_1970, rest as u32 * 100)
}
