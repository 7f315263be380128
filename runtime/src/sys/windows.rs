//! Sockets and set-up on Windows: thin calls that return a result or minus an error code.
//!
//! Descriptors are kept in 32 bits, of which the system never uses more for a handle or a socket
//! ("Interprocess Communication Between 32-bit and 64-bit Applications" in its documentation).
//! Winsock needs no start here: every socket comes from `std` or socket2, which start it.

use super::DescKind;
use crate::sqe::Sqe;
use std::os::windows::io::{
    AsRawSocket, AsSocket, BorrowedSocket, FromRawSocket, IntoRawHandle, IntoRawSocket,
    OwnedSocket, RawSocket,
};
use std::sync::OnceLock;
use std::{io, ptr};
use windows_sys::Win32::Foundation::{CloseHandle, ERROR_BROKEN_PIPE, HANDLE};
use windows_sys::Win32::Networking::WinSock::{self, SOCKET, SOCKET_ERROR, WSABUF, WSAPOLLFD};
use windows_sys::Win32::System::{Console, Threading};
use windows_sys::core::BOOL;

/// The error codes that the runtime tells apart, as `io::Error::from_raw_os_error` takes them.
pub(crate) mod errno {
    use windows_sys::Win32::Foundation;
    use windows_sys::Win32::Networking::WinSock;

    pub(crate) const AGAIN: i32 = WinSock::WSAEWOULDBLOCK;
    pub(crate) const CANCELED: i32 = Foundation::ERROR_OPERATION_ABORTED as i32;
    pub(crate) const CONNABORTED: i32 = WinSock::WSAECONNABORTED;
    pub(crate) const INTR: i32 = WinSock::WSAEINTR;
    pub(crate) const IO: i32 = Foundation::ERROR_IO_DEVICE as i32;
    pub(crate) const MFILE: i32 = WinSock::WSAEMFILE;
    pub(crate) const NFILE: i32 = Foundation::ERROR_TOO_MANY_OPEN_FILES as i32;
    pub(crate) const NOBUFS: i32 = WinSock::WSAENOBUFS;
    pub(crate) const NOMEM: i32 = Foundation::ERROR_NOT_ENOUGH_MEMORY as i32;
    pub(crate) const NOTCONN: i32 = WinSock::WSAENOTCONN;
    /// What `accept` reports here for a connection that the peer took back.
    pub(crate) const PROTO: i32 = WinSock::WSAECONNRESET;
    pub(crate) const WOULDBLOCK: i32 = WinSock::WSAEWOULDBLOCK;

    /// Errors of the network that `accept` passes on from a connection.
    pub(crate) const NETWORK: &[i32] = &[
        WinSock::WSAEHOSTDOWN,
        WinSock::WSAEHOSTUNREACH,
        WinSock::WSAENETDOWN,
        WinSock::WSAENETUNREACH,
        WinSock::WSAENOPROTOOPT,
    ];
}

/// A write to a closed peer is an error here, without asking for it.
pub(crate) const SEND_FLAGS: u32 = 0;
/// There is no io_uring here.
pub(crate) const ACCEPT_FLAGS: u32 = 0;
/// What tells of readiness here: the driver of sockets, through a completion port.
pub(crate) const READINESS: &str = "afd";

pub(crate) const POLL_IN: u32 = WinSock::POLLIN as u32;
pub(crate) const POLL_OUT: u32 = WinSock::POLLOUT as u32;

/// One part of a vectored request.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct IoVec(WSABUF);

impl IoVec {
    pub(crate) fn new(ptr: *mut u8, len: usize) -> IoVec {
        let len = u32::try_from(len).expect("requests are capped at i32::MAX bytes");
        IoVec(WSABUF { len, buf: ptr })
    }

    pub(super) fn parts(self) -> (*mut u8, usize) {
        (self.0.buf, self.0.len as usize)
    }
}

/// The header of a vectored socket request.
pub(crate) struct MsgHdr {
    parts: *mut IoVec,
    count: u32,
}

impl MsgHdr {
    pub(crate) fn empty() -> MsgHdr {
        MsgHdr { parts: ptr::null_mut(), count: 0 }
    }

    pub(crate) fn set_parts(&mut self, parts: *mut IoVec, count: usize) {
        self.parts = parts;
        self.count = count as u32;
    }
}

/// The last error of this thread, negated. Winsock and the rest of the system share it.
pub(super) fn last() -> i32 {
    -io::Error::last_os_error().raw_os_error().unwrap_or(errno::IO)
}

/// The number that stands for a handle or socket.
pub(super) fn raw_of(handle: usize) -> i32 {
    i32::try_from(handle).expect("handles and sockets are small numbers")
}

pub(super) fn handle_of(raw: i32) -> HANDLE {
    ptr::without_provenance_mut(raw as usize)
}

fn socket_of(raw: i32) -> SOCKET {
    raw as usize
}

/// The result of a socket call that returns a count or `SOCKET_ERROR`.
fn res(n: i32) -> i32 {
    if n == SOCKET_ERROR { last() } else { n }
}

/// Closes `raw`.
pub(crate) fn close(raw: i32, kind: DescKind) -> i32 {
    match kind {
        // SAFETY: the one owner of `raw` gives it up here.
        DescKind::Socket => res(unsafe { WinSock::closesocket(socket_of(raw)) }),
        // SAFETY: the one owner of `raw` gives it up here.
        DescKind::File => match unsafe { CloseHandle(handle_of(raw)) } {
            0 => last(),
            _ => 0,
        },
    }
}

/// What a receive that failed with `res` means elsewhere: the end after a shutdown of this side,
/// and as many bytes as there was room for of a datagram that is longer.
fn received(res: i32, room: impl FnOnce() -> usize) -> i32 {
    match -res {
        WinSock::WSAESHUTDOWN => 0,
        WinSock::WSAEMSGSIZE => room() as i32,
        _ => res,
    }
}

/// What a send returned: after a shutdown of this side, what is a broken pipe elsewhere.
fn sent(res: i32) -> i32 {
    if res == -WinSock::WSAESHUTDOWN { -(ERROR_BROKEN_PIPE as i32) } else { res }
}

/// # Safety
///
/// `ptr` is valid for `len` writes.
pub(crate) unsafe fn recv(fd: i32, ptr: *mut u8, len: usize, flags: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    let n = unsafe { WinSock::recv(socket_of(fd), ptr, len as i32, flags as i32) };
    received(res(n), || len)
}

/// # Safety
///
/// `ptr` is valid for `len` reads.
pub(crate) unsafe fn send(fd: i32, ptr: *const u8, len: usize, flags: u32) -> i32 {
    // SAFETY: the caller's obligation is the call's.
    sent(res(unsafe { WinSock::send(socket_of(fd), ptr, len as i32, flags as i32) }))
}

/// # Safety
///
/// `msg` and all that it names are valid.
pub(crate) unsafe fn recvmsg(fd: i32, msg: *mut MsgHdr, flags: u32) -> i32 {
    // SAFETY: the caller's obligation.
    let MsgHdr { parts, count } = *unsafe { &*msg };
    let (fd, mut n, mut flags) = (socket_of(fd), 0, flags);
    let (n_out, flags_out) = (&raw mut n, &raw mut flags);
    // SAFETY: the caller's obligation is the call's; `IoVec` is a transparent `WSABUF`. Without an
    // OVERLAPPED the call has ended when it returns.
    let failed = unsafe {
        WinSock::WSARecv(fd, parts.cast(), count, n_out, flags_out, ptr::null_mut(), None)
    };
    if failed != 0 {
        return received(last(), || {
            // SAFETY: the caller's obligation.
            let parts = unsafe { std::slice::from_raw_parts(parts, count as usize) };
            parts.iter().map(|part| part.parts().1).sum()
        });
    }
    n as i32
}

/// # Safety
///
/// `msg` and all that it names are valid.
pub(crate) unsafe fn sendmsg(fd: i32, msg: *const MsgHdr, flags: u32) -> i32 {
    // SAFETY: the caller's obligation.
    let MsgHdr { parts, count } = *unsafe { &*msg };
    let (fd, mut n) = (socket_of(fd), 0);
    // SAFETY: the caller's obligation is the call's; `IoVec` is a transparent `WSABUF`. Without an
    // OVERLAPPED the call has ended when it returns.
    let failed =
        unsafe { WinSock::WSASend(fd, parts.cast(), count, &mut n, flags, ptr::null_mut(), None) };
    if failed != 0 { sent(last()) } else { n as i32 }
}

/// Accepts a connection as a non-blocking socket that child processes do not inherit.
pub(crate) fn accept(fd: i32) -> i32 {
    // SAFETY: null addresses are allowed where the peer's address is not wanted.
    let new = unsafe { WinSock::accept(socket_of(fd), ptr::null_mut(), ptr::null_mut()) };
    if new == WinSock::INVALID_SOCKET {
        return last();
    }
    // SAFETY: `new` is a socket that nobody else knows yet.
    let socket = unsafe { socket_from_raw(raw_of(new)) };
    let set = socket.set_no_inherit(true).and_then(|()| socket.set_nonblocking(true));
    match set {
        Ok(()) => into_raw_socket(socket),
        Err(error) => crate::error::to_res(&error),
    }
}

/// Starts a connection; a second call, after the socket became writable, tells how it ended.
///
/// # Safety
///
/// `sqe.addr` names a socket address of `sqe.off` bytes.
pub(crate) unsafe fn connect(sqe: &mut Sqe) -> i32 {
    if sqe.scratch == 0 {
        let (fd, len) = (socket_of(sqe.fd), sqe.off.as_number() as i32);
        // SAFETY: the caller's obligation is the call's.
        let n = res(unsafe { WinSock::connect(fd, sqe.addr.as_pointer(), len) });
        if n == -errno::AGAIN {
            sqe.scratch = 1;
        }
        return n;
    }
    let socket = borrow_source(sqe.fd);
    let socket = socket2::SockRef::from(&socket);
    match socket.take_error() {
        Ok(Some(error)) | Err(error) => crate::error::to_res(&error),
        Ok(None) => match socket.peer_addr() {
            Ok(_) => 0,
            Err(error) if error.raw_os_error() == Some(errno::NOTCONN) => -errno::AGAIN,
            Err(error) => crate::error::to_res(&error),
        },
    }
}

/// `how` is 0, 1 or 2, which mean the same here as elsewhere.
pub(crate) fn shutdown(fd: i32, how: u32) -> i32 {
    // SAFETY: the call names no memory.
    res(unsafe { WinSock::shutdown(socket_of(fd), how as i32) })
}

/// Which of `events` hold for `fd` now; minus AGAIN if none.
pub(crate) fn poll_now(fd: i32, events: u32) -> i32 {
    let mut entry = WSAPOLLFD { fd: socket_of(fd), events: events as i16, revents: 0 };
    // SAFETY: one entry is passed and one is counted.
    match res(unsafe { WinSock::WSAPoll(&mut entry, 1, 0) }) {
        0 => -errno::AGAIN,
        n if n < 0 => n,
        _ => i32::from(entry.revents),
    }
}

/// Nothing: an address can be used again at once, and SO_REUSEADDR would let another process take
/// the port away.
pub(crate) fn reuse_address(_socket: &socket2::SockRef<'_>, _port_too: bool) -> io::Result<()> {
    Ok(())
}

/// Gives up the descriptor of `socket`.
pub(crate) fn into_raw_socket(socket: socket2::Socket) -> i32 {
    raw_of(socket.into_raw_socket() as usize)
}

/// The socket behind a descriptor that an accept returned.
///
/// # Safety
///
/// `raw` is an open socket that nobody else owns.
pub(crate) unsafe fn socket_from_raw(raw: i32) -> socket2::Socket {
    // SAFETY: the caller's obligation is the call's.
    socket2::Socket::from(unsafe { OwnedSocket::from_raw_socket(raw as RawSocket) })
}

/// The raw form of a file from `std`.
pub(crate) fn into_raw_file(file: std::fs::File) -> i32 {
    raw_of(file.into_raw_handle().addr())
}

/// The source that the poller of the readiness driver takes.
pub(crate) fn poll_source(raw: i32) -> RawSocket {
    raw as RawSocket
}

/// The source that the poller of the readiness driver takes back.
pub(crate) fn borrow_source(raw: i32) -> BorrowedSocket<'static> {
    // SAFETY: the readiness driver only asks for sockets that it is told about before they are
    // closed, and uses the source for one call.
    unsafe { BorrowedSocket::borrow_raw(raw as RawSocket) }
}

impl AsSocket for crate::fd::Fd {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        // SAFETY: `Fd` keeps the socket open as long as it is borrowed.
        unsafe { BorrowedSocket::borrow_raw(self.raw() as RawSocket) }
    }
}

impl AsRawSocket for crate::fd::Fd {
    fn as_raw_socket(&self) -> RawSocket {
        self.raw() as RawSocket
    }
}

/// Which request to end arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Termination {
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Break, or the console, the session or the system is being closed.
    Terminate,
}

static NOTIFY: OnceLock<fn(Termination)> = OnceLock::new();

/// Calls `notify` from a thread of the system's whenever a request to end arrives.
pub(crate) fn on_termination(notify: fn(Termination)) -> io::Result<()> {
    NOTIFY.get_or_init(|| notify);
    // SAFETY: the handler is a function that may run on any thread at any time.
    if unsafe { Console::SetConsoleCtrlHandler(Some(on_console_event), 1) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "system" fn on_console_event(event: u32) -> BOOL {
    let (what, is_last) = match event {
        Console::CTRL_C_EVENT => (Termination::Interrupt, false),
        Console::CTRL_BREAK_EVENT => (Termination::Terminate, false),
        _ => (Termination::Terminate, true),
    };
    if let Some(notify) = NOTIFY.get() {
        notify(what);
    }
    if is_last {
        // The system ends the process as soon as this returns; the program gets what time there is.
        loop {
            std::thread::park();
        }
    }
    1
}

/// Binds the calling thread to processor number `index` of those that the process may use.
pub(crate) fn pin_thread(index: usize) -> bool {
    let (mut allowed, mut of_system) = (0, 0);
    // SAFETY: the call names no memory.
    let process = unsafe { Threading::GetCurrentProcess() };
    // SAFETY: both results are valid for one write.
    let ok =
        unsafe { Threading::GetProcessAffinityMask(process, &mut allowed, &mut of_system) } != 0;
    let count = allowed.count_ones() as usize;
    if !ok || count == 0 {
        return false;
    }
    for _ in 0..index % count {
        // Drops the lowest processor of those that are left.
        allowed &= allowed - 1;
    }
    let one = allowed & allowed.wrapping_neg();
    // SAFETY: the call names no memory.
    let thread = unsafe { Threading::GetCurrentThread() };
    // SAFETY: the call names no memory.
    unsafe { Threading::SetThreadAffinityMask(thread, one) != 0 }
}
