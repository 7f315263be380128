//! The ringbolt runtime: everything that talks to the operating system.
//!
//! Applications use the facade crate `ringbolt`; this crate is for those who add operations or
//! drivers. Data flows one way: operations fill requests ([`sqe`]), a driver executes them and
//! gives results back, slots hand them to futures, and `turn` joins the parts.
//!
//! | module | holds |
//! |---|---|
//! | `sqe` | the request and the result that every driver speaks |
//! | `sys` | the operating system behind one set of names |
//! | `driver` | io_uring, readiness, helper threads, the simulated kernel |
//! | `op` | slots, futures, and one file per operation |
//! | `task`, `timer`, `turn` | what runs when |
//! | `worker`, `mailbox` | several cores |
//! | `io` | reading and writing with owned buffers |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(feature = "sim", not(unix)))]
compile_error!("the simulator (feature `sim`) needs Linux or another Unix to run on");

// Tests compile sources of the crates above this one, which name it so.
#[cfg(test)]
extern crate self as ringbolt_runtime;

mod blocking;
mod builder;
mod core;
mod driver;
mod error;
mod fd;
#[cfg(any(all(test, not(ringbolt_loom)), fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod io;
mod mailbox;
mod metrics;
pub mod op;
pub mod signal;
#[cfg(feature = "sim")]
pub mod sim;
mod socket;
pub mod sqe;
mod sync;
mod sys;
mod task;
#[cfg(all(test, target_os = "linux", not(ringbolt_loom)))]
mod tests;
mod timer;
mod turn;
mod worker;

pub use blocking::{spawn_blocking, spawn_resolver};
pub use builder::{Builder, DriverKind, Runtime, facts, metrics};
pub use driver::Facts;
#[doc(hidden)]
pub use error::explain;
pub use error::{is_cancelled, raw_os_error};
pub use fd::Fd;
pub use metrics::Metrics;
pub use op::{Elapsed, Timeout, timeout};
pub use ringbolt_buffers as buffers;
pub use task::{JoinError, JoinHandle, spawn, yield_now};
pub use timer::{Interval, Missed, Sleep, interval, now, sleep, sleep_until};
pub use turn::ShutdownReport;
pub use worker::{Cores, Remote, Worker, cores};
