//! TCP and name resolution for ringbolt.
//!
//! A method here builds an operation and submits it; what an operation does, and how it is
//! cancelled, is in `ringbolt_runtime::op`. Received bytes belong to the connection and accepted
//! connections to the listener, so a future may be dropped at any time and nothing is lost.

#![forbid(unsafe_code)]

mod address;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod resolve;
mod tcp;

pub use address::ToAddrs;
pub use resolve::lookup_host;
pub use tcp::{ListenOptions, ReadHalf, Reservation, TcpListener, TcpStream, WriteHalf};
pub use tcp::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
