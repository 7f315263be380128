//! ringbolt: a completion-based async runtime, one thread and one io_uring per core.
//!
//! A program hands owned buffers to the kernel and gets them back, or asks for bytes and is lent
//! the buffer that the kernel filled. Dropping a future never loses a byte, a descriptor or memory
//! safety. Where io_uring is missing or forbidden, the same program runs on the readiness interface
//! of its system (epoll, kqueue, Windows' AFD) with the same results.
//!
//! ```
//! use ringbolt::net::{TcpListener, TcpStream};
//!
//! #[ringbolt::main]
//! async fn main() -> std::io::Result<()> {
//!     let mut listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let client = ringbolt::spawn(async move {
//!         let mut stream = TcpStream::connect(address).await?;
//!         stream.write_all("hello").await.0?;
//!         std::io::Result::Ok(stream.recv().await?.map(|chunk| chunk.to_vec()))
//!     });
//!     let (mut stream, _) = listener.accept().await?;
//!     while let Some(chunk) = stream.recv().await? {
//!         stream.write_all(chunk).await.0?;
//!         break;
//!     }
//!     assert_eq!(client.await??.as_deref(), Some(&b"hello"[..]));
//!     Ok(())
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | start | [`main`], [`cores`], [`Builder`] |
//! | run tasks | [`spawn`], [`spawn_blocking`], [`Remote::spawn`] |
//! | wait | [`sleep`], [`timeout`], [`interval`], [`signal`] |
//! | talk | [`net`] |
//! | store | [`fs`] |
//! | own buffers | [`buffers`], [`io`] |

#![forbid(unsafe_code)]

pub use ringbolt_buffers as buffers;
pub use ringbolt_buffers::{BufResult, Chunk, IoBuf, IoBufMut, PoolConfig};
pub use ringbolt_macros::{main, test};
#[cfg(feature = "sim")]
pub use ringbolt_runtime::sim;
pub use ringbolt_runtime::{Builder, DriverKind, Facts, Metrics, Runtime, ShutdownReport};
pub use ringbolt_runtime::{Cores, Remote, Worker, cores};
pub use ringbolt_runtime::{Elapsed, Interval, Missed, Sleep, Timeout};
pub use ringbolt_runtime::{JoinError, JoinHandle, spawn, spawn_blocking, yield_now};
pub use ringbolt_runtime::{facts, is_cancelled, metrics, raw_os_error};
pub use ringbolt_runtime::{interval, now, sleep, sleep_until, timeout};
pub use ringbolt_runtime::{io, signal};

/// Operations, for those who add their own or need one without a method.
pub mod op {
    pub use ringbolt_runtime::Fd;
    pub use ringbolt_runtime::op::*;
}

// The program in the README compiles.
#[cfg(all(doctest, feature = "net"))]
#[doc = include_str!("../README.md")]
mod readme {}

// The programs in the guide to the simulator run.
#[cfg(all(doctest, feature = "sim", feature = "net", feature = "fs"))]
#[doc = include_str!("../docs/simulation.md")]
mod simulation {}

#[cfg(feature = "fs")]
pub use ringbolt_fs as fs;
#[cfg(feature = "net")]
pub use ringbolt_net as net;
