//! The operating system behind one set of names; the only place that knows which system it is.
//!
//! Every call answers like a completion: its result, or minus an error number. A system supplies:
//!
//! | name | what |
//! |---|---|
//! | `errno` | the error numbers that the runtime tells apart |
//! | `READINESS` `SEND_FLAGS` `ACCEPT_FLAGS` `POLL_IN` `POLL_OUT` | facts of its sockets |
//! | `recv` `send` `recvmsg` `sendmsg` `accept` `connect` `shutdown` `poll_now` | never blocking |
//! | `read` `write` `readv` `writev` `fsync` `open` `stat` `mkdir` `rename` `unlink` | may block |
//! | `close` | gives a descriptor back |
//! | `CURRENT_DIR` `REMOVE_DIR` `STAT_MASK` `STAT_SELF` `STAT_NO_FOLLOW` | what those take |
//! | `open_flags` | likewise, from the wishes of an `OpenOptions` |
//! | `IoVec` `MsgHdr` `PathArg` `StatBuf` `stat_parts` | side structures of requests |
//! | `into_raw_socket` `socket_from_raw` `into_raw_file` | descriptors of `std` and socket2 |
//! | `reuse_address` | the options of a listener that mean different things |
//! | `poll_source` `borrow_source` | descriptors as the poller takes them |
//! | `AsFd` or `AsSocket` for `Fd` | so that socket2 can work on it |
//! | `Origin` `new_pool` | telling a child of fork(2) from its parent, and what it gets |
//! | `on_termination` `Termination` `pin_thread` | the process and its threads |

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(unix)]
mod unix_file;
#[cfg(unix)]
pub(crate) use unix_file::*;

#[cfg(all(unix, feature = "sim"))]
pub(crate) mod mirror;

#[cfg(target_os = "linux")]
pub(crate) mod linux;

#[cfg(target_os = "linux")]
mod fork;
#[cfg(not(target_os = "linux"))]
#[path = "no_fork.rs"]
mod fork;
pub(crate) use fork::*;

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

/// Two connected sockets.
#[cfg(all(unix, any(all(test, not(ringbolt_loom)), fuzzing)))]
pub(crate) fn socket_pair() -> std::io::Result<(socket2::Socket, socket2::Socket)> {
    socket2::Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None)
}

/// As above, where only connections over a port are streams.
#[cfg(all(windows, any(test, fuzzing)))]
pub(crate) fn socket_pair() -> std::io::Result<(socket2::Socket, socket2::Socket)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let a = std::net::TcpStream::connect(listener.local_addr()?)?;
    Ok((a.into(), listener.accept()?.0.into()))
}
