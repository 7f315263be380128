//! Sockets and set-up on Unix: thin calls that return a result or minus `errno`.

use super::DescKind;
use crate::sqe::Sqe;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::{io, ptr};

/// The error numbers that the runtime tells apart.
pub(crate) mod errno {
    pub(crate) const AGAIN: i32 = libc::EAGAIN;
    #[cfg(feature = "sim")]
    pub(crate) const ALREADY: i32 = libc::EALREADY;
    pub(crate) const CANCELED: i32 = libc::ECANCELED;
    pub(crate) const CONNABORTED: i32 = libc::ECONNABORTED;
    pub(crate) const INTR: i32 = libc::EINTR;
    pub(crate) const IO: i32 = libc::EIO;
    pub(crate) const MFILE: i32 = libc::EMFILE;
    pub(crate) const NFILE: i32 = libc::ENFILE;
    pub(crate) const NOBUFS: i32 = libc::ENOBUFS;
    #[cfg(feature = "sim")]
    pub(crate) const NOENT: i32 = libc::ENOENT;
    pub(crate) const NOMEM: i32 = libc::ENOMEM;
    pub(crate) const NOTCONN: i32 = libc::ENOTCONN;
    pub(crate) const PROTO: i32 = libc::EPROTO;
    pub(crate) const WOULDBLOCK: i32 = libc::EWOULDBLOCK;

    /// Errors of the network that accept(2) passes on from a connection.
    pub(crate) const NETWORK: &[i32] = &[
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        libc::ENONET,
        libc::ENOPROTOOPT,
    ];
}

/// Keeps a write to a closed peer an error instead of a signal (send(2)).
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SEND_FLAGS: u32 = libc::MSG_NOSIGNAL as u32;
/// Apple has no such flag: sockets are made with `SO_NOSIGPIPE`.
#[cfg(target_vendor = "apple")]
pub(crate) const SEND_FLAGS: u32 = 0;

/// What io_uring makes of an accepted descriptor: closed on exec, and blocking, since it answers
/// EAGAIN for a non-blocking one instead of waiting for it.
#[cfg(target_os = "linux")]
pub(crate) const ACCEPT_FLAGS: u32 = libc::SOCK_CLOEXEC as u32;
/// There is no io_uring here.
#[cfg(not(target_os = "linux"))]
pub(crate) const ACCEPT_FLAGS: u32 = 0;

/// What tells of readiness here.
#[cfg(target_os = "linux")]
pub(crate) const READINESS: &str = "epoll";
/// What tells of readiness here.
#[cfg(not(target_os = "linux"))]
pub(crate) const READINESS: &str = "kqueue";

pub(crate) const POLL_IN: u32 = libc::POLLIN as u32;
pub(crate) const POLL_OUT: u32 = libc::POLLOUT as u32;

/// One part of a vectored request.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct IoVec(libc::iovec);

impl IoVec {
    pub(crate) fn new(ptr: *mut u8, len: usize) -> IoVec {
        IoVec(libc::iovec { iov_base: ptr.cast(), iov_len: len })
    }
}

/// The header of a vectored socket request.
pub(crate) struct MsgHdr(libc::msghdr);

impl MsgHdr {
    pub(crate) fn empty() -> MsgHdr {
        // SAFETY: all bits zero is a valid `msghdr` without name, parts or control data.
        MsgHdr(unsafe { std::mem::zeroed() })
    }

    pub(crate) fn set_parts(&mut self, parts: *mut IoVec, count: usize) {
        self.0.msg_iov = parts.cast();
        self.0.msg_iovlen = count as _;
    }
}

/// The current `errno`, negated.
fn last() -> i32 {
    -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// `n` as a result; counts above `i32::MAX` cannot occur, since requests are capped below.
pub(super) fn res(n: isize) -> i32 {
    if n < 0 { last() } else { i32::try_from(n).expect("requests are capped at i32::MAX bytes") }
}

/// Repeats a call that a signal interrupted before it did anything.
pub(super) fn retry(mut call: impl FnMut() -> isize) -> i32 {
    loop {
        let n = res(call());
        if n != -libc::EINTR {
            return n;
        }
    }
}

/// Closes `raw`. Never repeated: after an error the descriptor is gone all the same (close(2)).
pub(crate) fn close(raw: i32, _kind: DescKind) -> i32 {
    // SAFETY: the one owner of `raw` gives it up here.
    let n = unsafe { libc::close(raw) };
    res(n as isize)
}

/// # Safety
///
/// `ptr` is valid for `len` writes.
pub(crate) unsafe fn recv(fd: i32, ptr: *mut u8, len: usize, flags: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    retry(|| unsafe { libc::recv(fd, ptr.cast(), len, flags as i32) })
}

/// # Safety
///
/// `ptr` is valid for `len` reads.
pub(crate) unsafe fn send(fd: i32, ptr: *const u8, len: usize, flags: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    retry(|| unsafe { libc::send(fd, ptr.cast(), len, flags as i32) })
}

/// # Safety
///
/// `msg` and all that it names are valid.
pub(crate) unsafe fn recvmsg(fd: i32, msg: *mut MsgHdr, flags: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's; `MsgHdr` holds a `msghdr` first and only.
    retry(|| unsafe { libc::recvmsg(fd, msg.cast(), flags as i32) })
}

/// # Safety
///
/// `msg` and all that it names are valid.
pub(crate) unsafe fn sendmsg(fd: i32, msg: *const MsgHdr, flags: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's; `MsgHdr` holds a `msghdr` first and only.
    retry(|| unsafe { libc::sendmsg(fd, msg.cast(), flags as i32) })
}

/// Accepts a connection as a non-blocking descriptor that is closed on exec.
pub(crate) fn accept(fd: i32) -> i32 {
    #[cfg(not(target_vendor = "apple"))]
    {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: null addresses are allowed where the peer's address is not wanted.
        retry(|| unsafe { libc::accept4(fd, ptr::null_mut(), ptr::null_mut(), flags) as isize })
    }
    #[cfg(target_vendor = "apple")]
    {
        // SAFETY: null addresses are allowed where the peer's address is not wanted.
        let n = retry(|| unsafe { libc::accept(fd, ptr::null_mut(), ptr::null_mut()) as isize });
        if n >= 0 {
            // SAFETY: `n` is a descriptor that nobody else knows yet.
            let socket = socket2::Socket::from(unsafe { OwnedFd::from_raw_fd(n) });
            let set = socket.set_cloexec(true).and_then(|()| socket.set_nonblocking(true));
            if let Err(error) = set.and_then(|()| socket.set_nosigpipe(true)) {
                return crate::error::to_res(&error);
            }
            let _ = socket.into_raw_fd();
        }
        n
    }
}

/// Starts a connection; a second call, after the descriptor became writable, tells how it ended.
///
/// # Safety
///
/// `sqe.addr` names a socket address of `sqe.off` bytes.
pub(crate) unsafe fn connect(sqe: &mut Sqe) -> i32 {
    if sqe.scratch == 0 {
        let len = sqe.off.as_number() as libc::socklen_t;
        // SAFETY: the caller's obligation is the call's.
        let n = unsafe { libc::connect(sqe.fd, sqe.addr.as_pointer(), len) };
        let n = res(n as isize);
        if n != -libc::EINPROGRESS && n != -libc::EINTR {
            return n;
        }
        sqe.scratch = 1;
        return -libc::EAGAIN;
    }
    // SAFETY: the descriptor is open for the operation, which holds a reference to it.
    let fd = unsafe { BorrowedFd::borrow_raw(sqe.fd) };
    let socket = socket2::SockRef::from(&fd);
    match socket.take_error() {
        Ok(Some(error)) | Err(error) => crate::error::to_res(&error),
        Ok(None) => match socket.peer_addr() {
            Ok(_) => 0,
            Err(error) if error.raw_os_error() == Some(errno::NOTCONN) => -libc::EAGAIN,
            Err(error) => crate::error::to_res(&error),
        },
    }
}

pub(crate) fn shutdown(fd: i32, how: u32) -> i32 {
    // SAFETY: the call names no memory.
    res(unsafe { libc::shutdown(fd, how as i32) } as isize)
}

/// Which of `events` hold for `fd` now; minus EAGAIN if none.
pub(crate) fn poll_now(fd: i32, events: u32) -> i32 {
    let mut entry = libc::pollfd { fd, events: events as i16, revents: 0 };
    // SAFETY: one entry is passed and one is counted.
    match retry(|| unsafe { libc::poll(&mut entry, 1, 0) as isize }) {
        0 => -libc::EAGAIN,
        n if n < 0 => n,
        _ => i32::from(entry.revents),
    }
}

/// Sets the options that let addresses and ports be used again.
pub(crate) fn reuse_address(socket: &socket2::SockRef<'_>, port_too: bool) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    if port_too { socket.set_reuse_port(true) } else { Ok(()) }
}

/// Gives up the descriptor of `socket`.
pub(crate) fn into_raw_socket(socket: socket2::Socket) -> i32 {
    socket.into_raw_fd()
}

/// The socket behind a descriptor that an accept returned.
///
/// # Safety
///
/// `raw` is an open socket that nobody else owns.
pub(crate) unsafe fn socket_from_raw(raw: i32) -> socket2::Socket {
    // SAFETY: the caller's obligation is the call's.
    socket2::Socket::from(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The raw form of a file from `std`.
pub(crate) fn into_raw_file(file: std::fs::File) -> i32 {
    file.into_raw_fd()
}

/// The source that the poller of the readiness driver takes.
pub(crate) fn poll_source(raw: i32) -> i32 {
    raw
}

impl AsFd for crate::fd::Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `Fd` keeps the descriptor open as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.raw()) }
    }
}

impl AsRawFd for crate::fd::Fd {
    fn as_raw_fd(&self) -> i32 {
        self.raw()
    }
}

/// Calls `notify` from a thread of its own whenever SIGINT or SIGTERM arrives.
pub(crate) fn on_termination(notify: fn(Termination)) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("ringbolt-signal".into()).spawn(move || {
        for signal in signals.forever() {
            notify(if signal == SIGINT { Termination::Interrupt } else { Termination::Terminate });
        }
    })?;
    Ok(())
}

/// Which request to end arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Termination {
    /// Ctrl-C or SIGINT.
    Interrupt,
    /// SIGTERM, or the console is being closed.
    Terminate,
}

/// Binds the calling thread to processor number `index` of those that the process may use.
#[cfg(target_os = "linux")]
pub(crate) fn pin_thread(index: usize) -> bool {
    // SAFETY: all bits zero is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is as large as the size says.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&allowed), &mut allowed) } != 0 {
        return false;
    }
    // SAFETY: the index is below the size of the set.
    let usable = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &allowed) };
    let cpus: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(usable).collect();
    let Some(&cpu) = cpus.get(index % cpus.len().max(1)) else { return false };
    // SAFETY: all bits zero is the empty set.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the index is below the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut one) };
    // SAFETY: the set is as large as the size says.
    unsafe { libc::sched_setaffinity(0, size_of_val(&one), &one) == 0 }
}

/// Not offered here: the scheduler decides.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_thread(_index: usize) -> bool {
    false
}

/// The source that the poller of the readiness driver takes back.
pub(crate) fn borrow_source(raw: i32) -> BorrowedFd<'static> {
    // SAFETY: the readiness driver only asks for descriptors that it is told about before they
    // are closed, and uses the source for one call.
    unsafe { BorrowedFd::borrow_raw(raw) }
}
