//! The calls of io_uring that the `io-uring` crate does not offer in the form needed here.

use crate::sqe::{Addr, Sqe};
use std::io;
use std::time::Duration;

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;
const REGISTER_SEND_MSG_RING: u32 = 31;
const OP_MSG_RING: u8 = 40;

/// `struct io_uring_getevents_arg` (io_uring_enter(2), 5.11).
#[repr(C)]
struct GetEventsArg {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_us: u32,
    timespec: *const libc::timespec,
    #[cfg(target_pointer_width = "32")]
    timespec_high: u32,
}

/// `struct io_uring_rsrc_update` (io_uring_register(2)).
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// A ring as `enter` names it: by descriptor, or cheaper by its number in the task's table.
#[derive(Debug)]
pub(crate) struct RingName {
    fd: i32,
    registered: Option<u32>,
}

impl RingName {
    /// Names the ring `fd`, by registration where a place is free (5.18; 16 per thread).
    pub(crate) fn new(fd: i32) -> RingName {
        let mut update = RsrcUpdate { offset: u32::MAX, reserved: 0, data: fd as u64 };
        // SAFETY: one update is passed and one is counted.
        let n = unsafe { register(fd, REGISTER_RING_FDS, (&raw mut update).cast(), 1) };
        RingName { fd, registered: (n == Ok(1)).then_some(update.offset) }
    }

    /// Whether the cheaper name is in use.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.is_some()
    }

    /// Submits `count` requests and, with `want` above zero, waits for that many results, at most
    /// for `limit`. Deferred work of the ring runs in any case (`GETEVENTS`).
    pub(crate) fn enter(&self, count: u32, want: u32, limit: Option<Duration>) -> Result<u32, i32> {
        let (target, mut flags) = match self.registered {
            Some(index) => (index as i32, ENTER_GETEVENTS | ENTER_REGISTERED_RING),
            None => (self.fd, ENTER_GETEVENTS),
        };
        let limit = limit.filter(|_| want > 0);
        let timespec = libc::timespec {
            tv_sec: limit.map_or(0, |l| l.as_secs().min(i32::MAX as u64) as libc::time_t),
            tv_nsec: limit.map_or(0, |l| l.subsec_nanos() as _),
        };
        let arg = GetEventsArg {
            sigmask: 0,
            sigmask_size: 0,
            min_wait_us: 0,
            timespec: &timespec,
            #[cfg(target_pointer_width = "32")]
            timespec_high: 0,
        };
        let (arg, size) = match limit {
            Some(_) => {
                flags |= ENTER_EXT_ARG;
                (&raw const arg, size_of::<GetEventsArg>())
            }
            None => (std::ptr::null(), 0),
        };
        let number = libc::SYS_io_uring_enter;
        // SAFETY: the argument, where given, is as large as its size says.
        let n = unsafe { libc::syscall(number, target, count, want, flags, arg, size) };
        u32::try_from(n).map_err(|_| errno())
    }
}

impl Drop for RingName {
    fn drop(&mut self) {
        // A registered ring stays alive until its place is given back, even after its close.
        if let Some(index) = self.registered {
            let mut update = RsrcUpdate { offset: index, reserved: 0, data: 0 };
            // SAFETY: one update is passed and one is counted.
            let _ = unsafe { register(self.fd, UNREGISTER_RING_FDS, (&raw mut update).cast(), 1) };
        }
    }
}

/// Posts a result with `user_data` to the ring `fd` from any thread, without a ring (6.13).
pub(crate) fn send_msg_ring(fd: i32, user_data: u64) -> Result<(), i32> {
    let mut sqe = Sqe::new(OP_MSG_RING, fd);
    sqe.off = Addr::number(user_data);
    // SAFETY: one request is passed and one is counted.
    unsafe { register(-1, REGISTER_SEND_MSG_RING, (&raw mut sqe).cast(), 1) }.map(drop)
}

/// A new event counter (eventfd(2)), blocking as io_uring wants it.
pub(crate) fn event_fd() -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: the call names no memory.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is new.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// Adds one to an event counter, which is far from its limit and so neither blocks nor fails.
pub(crate) fn count_up(fd: &std::os::fd::OwnedFd) {
    let one = 1u64;
    let raw = std::os::fd::AsRawFd::as_raw_fd(fd);
    // SAFETY: eight bytes are passed and counted.
    unsafe { libc::write(raw, (&raw const one).cast(), size_of::<u64>()) };
}

/// # Safety
///
/// `arg` is what `opcode` asks for, `count` times.
unsafe fn register(fd: i32, opcode: u32, arg: *mut u8, count: u32) -> Result<u32, i32> {
    // SAFETY: the caller's obligation is the call's.
    let n = unsafe { libc::syscall(libc::SYS_io_uring_register, fd, opcode, arg, count) };
    u32::try_from(n).map_err(|_| errno())
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
