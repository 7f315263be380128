//! The directions of a stream, from the sources of `net`, so that they run on a driver with hooks.

use crate::Fd;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../../net/src/tcp/read_half.rs"]
mod read_half;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../../net/src/tcp/write_half.rs"]
mod write_half;

pub(super) use read_half::ReadHalf;
pub(super) use write_half::WriteHalf;

/// The receiving direction of the socket `fd`.
pub(super) fn read_half(fd: Fd) -> ReadHalf {
    ReadHalf::new(fd)
}

/// The sending direction of the socket `fd`.
pub(super) fn write_half(fd: Fd) -> WriteHalf {
    WriteHalf::new(fd)
}
