//! Error numbers of this platform, and what they become for a caller.
//!
//! Drivers answer with minus an error number; [`from_errno`] turns it into an `io::Error`. What the
//! library itself does about a number is in `op::verdict`.

use crate::sys::errno;
use std::error::Error;
use std::{fmt, io};

/// The error that a cancelled operation reports: the text says what happened to the data.
pub(crate) fn cancelled() -> io::Error {
    from_errno(errno::CANCELED)
}

/// An `io::Error` for the positive error number `errno` of this platform.
pub(crate) fn from_errno(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// An `io::Error` for the result `res` of a driver, which is minus an error number. There is none
/// that the smallest result could stand for; it must not overflow all the same.
pub(crate) fn from_res(res: i32) -> io::Error {
    from_errno(res.wrapping_neg())
}

/// The positive error number in an `io::Error` as a driver result, for helpers that call `std`.
pub(crate) fn to_res(error: &io::Error) -> i32 {
    -error.raw_os_error().unwrap_or(errno::IO)
}

/// Whether `error` says that the operation was cancelled before it moved any data.
///
/// ```
/// let error = std::io::Error::other("something else");
/// assert!(!ringbolt_runtime::is_cancelled(&error));
/// ```
pub fn is_cancelled(error: &io::Error) -> bool {
    raw_os_error(error) == Some(errno::CANCELED)
}

/// Whether a call that returned `res` has to wait for readiness.
pub(crate) fn would_block(res: i32) -> bool {
    res == -errno::AGAIN || res == -errno::WOULDBLOCK
}

/// Why a driver or a runtime could not be built, with the remedy in the text.
pub(crate) fn with_context(error: &io::Error, context: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{context}: {error}"))
}

/// `error` with what was tried before its own text. Its number stays to be had, see
/// [`raw_os_error`].
#[doc(hidden)]
pub fn explain(error: io::Error, tried: String) -> io::Error {
    io::Error::new(error.kind(), Explained { tried, error })
}

/// The error number of the system in `error`, also where a path or an address was added to it:
/// `std` then knows the kind only, and many numbers have none.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let plain = std::io::Error::from_raw_os_error(24);
/// assert_eq!(ringbolt_runtime::raw_os_error(&plain), Some(24));
/// assert_eq!(ringbolt_runtime::raw_os_error(&std::io::Error::other("no system call")), None);
/// # Ok(())
/// # }
/// ```
pub fn raw_os_error(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let explained = error.get_ref()?.downcast_ref::<Explained>()?;
        explained.error.raw_os_error()
    })
}

/// An error of the system, and what was tried.
#[derive(Debug)]
struct Explained {
    tried: String,
    error: io::Error,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.error)
    }
}

// The text says it all; as a source, the error of the system would be printed twice.
impl Error for Explained {}
