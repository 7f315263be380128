//! The operating system behind one set of names; the only place that knows which system it is.
//!
//! Every call answers like a completion: its result, or minus an error number. A system supplies:
//!
//! | name | what |
//! |---|---|
//! | `errno` | the error numbers that the runtime tells apart |
//! | `close` | gives a descriptor back |
//! | `recv` `send` `recvmsg` `sendmsg` `accept` `connect` `shutdown` `poll_now` | sockets, never blocking |
//! | `read` `write` `readv` `writev` `fsync` `open` `stat` `mkdir` `rename` `unlink` | files, may block |
//! | `IoVec` `MsgHdr` `PathArg` `StatBuf` `Stat` | side structures of requests |
//! | `open_flags` `set_nonblocking` `pin_thread` `on_termination` | set-up |
//! | `AsFd` or `AsSocket` for `Fd` | so that socket2 can work on it |

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(unix)]
mod unix_file;
#[cfg(unix)]
pub(crate) use unix_file::*;

#[cfg(target_os = "linux")]
pub(crate) mod linux;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(windows)]
mod windows_file;
#[cfg(windows)]
pub(crate) use windows_file::*;

/// What kind of thing a descriptor is, where the system closes them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescKind {
    /// A socket: closing never waits for a disk.
    Socket,
    /// A file: closing may wait for a disk or a server.
    File,
}

/// What is known of a file, the same on every system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    /// Bytes in the file.
    pub(crate) len: u64,
    /// What the name leads to.
    pub(crate) kind: FileKind,
    /// Permission bits as Unix has them; 0o444 or 0o666 elsewhere.
    pub(crate) mode: u32,
    /// Last change of the content, in seconds and nanoseconds since 1970.
    pub(crate) modified: (i64, u32),
    /// The device and the file's number on it.
    pub(crate) id: (u64, u64),
}

/// What a name in a directory leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Other,
}
