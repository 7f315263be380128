//! Drivers: small kernels that take a request and later give back its results.
//!
//! Laws, each with a test in `tests/conformance/laws.rs` that runs on every driver:
//!
//! | law | what every driver promises |
//! |---|---|
//! | L1 | a submitted key yields exactly one final result, and any number with `MORE` before it |
//! | L2 | the memory that a request names may be touched until the final result, never after |
//! | L3 | results come out of `wait` only |
//! | L4 | an operation starts at the first poll of its future; before that nothing happens |
//! | L5 | a cancel gives the real result or "cancelled", never both and never none |
//! | L6 | the buffer of a dropped future lives to the final result; a late descriptor is closed |
//! | L7 | dropping a runtime returns when all keys have ended, or reports what it had to leave |
//! | L8 | no order is promised between two requests |
//! | L9 | any transfer may be short |
//! | L10 | what a driver lacks fails with "unsupported" or is emulated, never silently |
//!
//! A driver sees requests, metadata and keys; it never sees an operation, a waker or a task.

pub(crate) mod helper;
#[cfg(ringbolt_loom)]
pub(crate) mod model;
mod readiness;
#[cfg(feature = "sim")]
pub(crate) mod sim;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

use crate::builder::{DriverKind, Settings};
use crate::error;
use crate::sqe::{Cqe, Key, OpMeta, Sqe};
use readiness::Readiness;
use ringbolt_buffers::Pool;
use std::fmt;
use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;
#[cfg(target_os = "linux")]
use uring::Uring;

/// What a driver can do, found out by trying it when it starts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// `io_uring`, or the readiness interface of this system.
    pub driver: &'static str,
    /// Why it is not the driver that was preferred.
    pub fallback_reason: Option<String>,
    /// Whether sockets have to be in non-blocking mode.
    pub nonblocking_sockets: bool,
    /// Whether receives can be given buffers of the pool.
    pub lends_buffers: bool,
    /// Features in use, and what was tried and refused.
    pub features: Vec<String>,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.driver)?;
        if !self.features.is_empty() {
            write!(f, " ({})", self.features.join(", "))?;
        }
        match &self.fallback_reason {
            Some(reason) => write!(f, "; {reason}"),
            None => Ok(()),
        }
    }
}

/// What a driver counts for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// System calls that submitted or waited.
    pub(crate) enters: u64,
    /// Requests given to the system.
    pub(crate) submitted: u64,
    /// Times the completion queue of the kernel overflowed.
    pub(crate) overflows: u64,
}

/// Wakes a core that sleeps in `wait`, from any thread. It does nothing once the core has gone.
pub(crate) trait Bell: Send + Sync {
    fn ring(&self);
}

/// The driver of one core.
pub(crate) enum Driver {
    #[cfg(ringbolt_loom)]
    Model(model::Model),
    #[cfg(target_os = "linux")]
    Uring(Box<Uring>),
    Readiness(Box<Readiness>),
    #[cfg(feature = "sim")]
    Sim(Box<sim::Sim>),
    /// The runtime has shut down.
    Closed,
}

impl Driver {
    /// The driver that `settings` ask for.
    ///
    /// # Errors
    ///
    /// When the driver that was required is not to be had, or no driver is.
    pub(crate) fn new(settings: &Settings, pool: &Pool) -> io::Result<(Driver, Facts)> {
        #[cfg(ringbolt_loom)]
        if settings.driver == DriverKind::Auto {
            let (model, facts) = model::Model::new();
            return Ok((Driver::Model(model), facts));
        }
        match settings.driver {
            DriverKind::Readiness => Driver::readiness(pool, None),
            DriverKind::Uring => Driver::uring(settings, pool).map_err(|error| {
                let required = "the io_uring driver was required but cannot start";
                let error = error::with_context(&error, required);
                match cause(&error) {
                    Some(cause) => io::Error::new(error.kind(), format!("{error}: {cause}")),
                    None => error,
                }
            }),
            DriverKind::Auto => match Driver::uring(settings, pool) {
                Ok(started) => Ok(started),
                Err(error) => match cause(&error) {
                    Some(cause) => {
                        let reason = format!(
                            "io_uring is not available ({error}): {cause}; using readiness instead"
                        );
                        say_once(&reason);
                        Driver::readiness(pool, Some(reason))
                    }
                    None => Err(error::with_context(&error, "io_uring cannot start")),
                },
            },
        }
    }

    #[cfg(target_os = "linux")]
    fn uring(settings: &Settings, pool: &Pool) -> io::Result<(Driver, Facts)> {
        let (uring, facts) = Uring::new(settings, pool)?;
        Ok((Driver::Uring(Box::new(uring)), facts))
    }

    #[cfg(not(target_os = "linux"))]
    fn uring(_: &Settings, _: &Pool) -> io::Result<(Driver, Facts)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring exists on Linux only"))
    }

    fn readiness(pool: &Pool, reason: Option<String>) -> io::Result<(Driver, Facts)> {
        let (readiness, mut facts) = Readiness::new(pool)?;
        facts.fallback_reason = reason;
        Ok((Driver::Readiness(Box::new(readiness)), facts))
    }

    /// Takes a request. It never completes here, never blocks and never fails.
    pub(crate) fn submit(&mut self, sqe: &Sqe, meta: &'static OpMeta) {
        match self {
            #[cfg(ringbolt_loom)]
            Driver::Model(_) => unreachable!("models start no operation"),
            #[cfg(target_os = "linux")]
            Driver::Uring(uring) => uring.submit(sqe),
            Driver::Readiness(readiness) => readiness.submit(sqe, meta),
            #[cfg(feature = "sim")]
            Driver::Sim(sim) => sim.submit(sqe, meta),
            Driver::Closed => unreachable!("a closed core starts no operation"),
        }
    }

    /// Asks for an end of a request.
    pub(crate) fn cancel(&mut self, key: Key) {
        match self {
            #[cfg(ringbolt_loom)]
            Driver::Model(_) => unreachable!("models start no operation"),
            #[cfg(target_os = "linux")]
            Driver::Uring(uring) => uring.cancel(key),
            Driver::Readiness(readiness) => readiness.cancel(key),
            #[cfg(feature = "sim")]
            Driver::Sim(sim) => sim.cancel(key),
            Driver::Closed => {}
        }
    }

    /// Submits what was taken, waits up to `limit` (for ever without one) for results, and appends
    /// them to `results`. The only call that may sleep.
    ///
    /// # Errors
    ///
    /// When the driver has broken down; requests in flight then stay where they are.
    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        results: &mut Vec<Cqe>,
    ) -> io::Result<()> {
        match self {
            #[cfg(ringbolt_loom)]
            Driver::Model(model) => {
                model.wait(limit);
                Ok(())
            }
            #[cfg(target_os = "linux")]
            Driver::Uring(uring) => uring.wait(limit, results),
            Driver::Readiness(readiness) => readiness.wait(limit, results),
            #[cfg(feature = "sim")]
            Driver::Sim(sim) => sim.wait(limit, results),
            Driver::Closed => Ok(()),
        }
    }

    /// A descriptor is about to be closed.
    pub(crate) fn forget(&mut self, raw: i32) {
        if let Driver::Readiness(readiness) = self {
            readiness.forget(raw);
        }
    }

    /// What wakes the core from another thread.
    pub(crate) fn bell(&self) -> Arc<dyn Bell> {
        match self {
            #[cfg(ringbolt_loom)]
            Driver::Model(model) => model.bell(),
            #[cfg(target_os = "linux")]
            Driver::Uring(uring) => uring.bell(),
            Driver::Readiness(readiness) => readiness.bell(),
            #[cfg(feature = "sim")]
            Driver::Sim(sim) => sim.bell(),
            Driver::Closed => unreachable!("the bell is fetched when the core starts"),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        match self {
            #[cfg(ringbolt_loom)]
            Driver::Model(model) => model.tally(),
            #[cfg(target_os = "linux")]
            Driver::Uring(uring) => uring.tally(),
            Driver::Readiness(readiness) => readiness.tally(),
            #[cfg(feature = "sim")]
            Driver::Sim(sim) => sim.tally(),
            Driver::Closed => Tally::default(),
        }
    }

    /// The simulated kernel's side, if this is one.
    #[cfg(feature = "sim")]
    pub(crate) fn simulation(&self) -> Option<&sim::Sim> {
        match self {
            Driver::Sim(sim) => Some(sim),
            _ => None,
        }
    }

    /// Keeps all memory that the system may still write to for ever.
    pub(crate) fn leak(&mut self) {
        #[cfg(target_os = "linux")]
        if let Driver::Uring(uring) = self {
            uring.leak();
        }
    }
}

/// Why io_uring cannot start, if it is forbidden, absent or without memory; then another driver is
/// worth a try.
fn cause(error: &io::Error) -> Option<String> {
    use io::ErrorKind::{InvalidInput, OutOfMemory, PermissionDenied, Unsupported};
    Some(match error.kind() {
        PermissionDenied => forbidden_by(),
        OutOfMemory => "RLIMIT_MEMLOCK leaves no room for a ring; raise it".into(),
        InvalidInput | Unsupported if cfg!(not(target_os = "linux")) => {
            "this system has none".into()
        }
        InvalidInput | Unsupported => "this kernel lacks what is needed".into(),
        _ => return None,
    })
}

/// Who forbids io_uring: the sysctl says so itself, else it is a sandbox.
fn forbidden_by() -> String {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    match sysctl.as_deref().map(str::trim) {
        Ok("1") | Ok("2") => {
            "sysctl kernel.io_uring_disabled forbids it; set it to 0 to allow it".into()
        }
        _ => "a sandbox (seccomp or a security module) forbids it; allow io_uring_setup, \
              io_uring_enter and io_uring_register there"
            .into(),
    }
}

/// Says `reason` on stderr, once per process.
fn say_once(reason: &str) {
    static SAID: Once = Once::new();
    // Elsewhere there is no io_uring to be missed.
    if cfg!(target_os = "linux") {
        SAID.call_once(|| eprintln!("ringbolt: {reason}"));
    }
}
