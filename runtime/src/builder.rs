//! Settings of a runtime, and the runtime itself.

use crate::core::Core;
use crate::driver::Facts;
use crate::metrics::Metrics;
use crate::turn::{self, ShutdownReport};
use ringbolt_buffers::PoolConfig;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Which driver a runtime uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverKind {
    /// io_uring where it is to be had, else readiness, which is then said once on stderr.
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// epoll, kqueue or Windows' AFD.
    Readiness,
}

impl std::str::FromStr for DriverKind {
    type Err = io::Error;

    /// Reads `auto`, `uring` or `readiness`.
    fn from_str(text: &str) -> io::Result<DriverKind> {
        match text {
            "auto" => Ok(DriverKind::Auto),
            "uring" => Ok(DriverKind::Uring),
            "readiness" => Ok(DriverKind::Readiness),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("unknown driver `{text}`: it is auto, uring or readiness"),
            )),
        }
    }
}

/// The settings as the parts of the runtime read them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) driver: DriverKind,
    pub(crate) ring_entries: u32,
    pub(crate) pool: PoolConfig,
    pub(crate) drain: Duration,
    pub(crate) harden: bool,
}

/// Makes a [`Runtime`].
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let runtime = ringbolt_runtime::Builder::new().ring_entries(64).build()?;
/// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    driver: Option<DriverKind>,
    settings: Settings,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// The default settings.
    pub fn new() -> Builder {
        let settings = Settings {
            driver: DriverKind::Auto,
            ring_entries: 256,
            pool: PoolConfig::default(),
            drain: Duration::from_secs(1),
            harden: false,
        };
        Builder { driver: None, settings }
    }

    /// Chooses the driver. Without this call the environment variable `RINGBOLT_DRIVER` (`auto`,
    /// `uring` or `readiness`) does, and without that it is [`DriverKind::Auto`].
    pub fn driver(mut self, driver: DriverKind) -> Builder {
        self.driver = Some(driver);
        self
    }

    /// Requests that fit into the submission queue of a ring (default 256); more wait outside of
    /// it. The kernel rounds up to a power of two, and the completion queue has eight times as
    /// many.
    pub fn ring_entries(mut self, entries: u32) -> Builder {
        self.settings.ring_entries = entries.clamp(1, 32768);
        self
    }

    /// The pool of buffers that receives borrow from (default 16 KiB each, 128 at first, at most
    /// 2,048).
    pub fn pool(mut self, pool: PoolConfig) -> Builder {
        self.settings.pool = pool;
        self
    }

    /// How long the end of the runtime waits for operations to end (default 1 s).
    pub fn drain_timeout(mut self, limit: Duration) -> Builder {
        self.settings.drain = limit;
        self
    }

    /// Whether the ring is told, before its first use, to take the operations of this runtime and
    /// no others (default false; `IORING_REGISTER_RESTRICTIONS` of io_uring_register(2)).
    ///
    /// seccomp filters and most monitors do not see what goes through a ring. With this, whoever
    /// gets hold of the ring, be it by a bug in the process, cannot make it do more than this
    /// runtime would: any other operation is answered with EACCES, there are no further
    /// registrations, and nothing lifts the limit. It costs one comparison per request. The
    /// [facts](Runtime::facts) then say "restricted to N operations"; SECURITY.md lists them.
    ///
    /// # Errors
    ///
    /// [`build`](Builder::build) fails where io_uring is used and the system refuses to restrict
    /// it, also with [`DriverKind::Auto`].
    ///
    /// # Platforms
    ///
    /// Only on io_uring. The readiness driver makes ordinary system calls, which a seccomp filter
    /// sees.
    pub fn harden(mut self, on: bool) -> Builder {
        self.settings.harden = on;
        self
    }

    /// Starts a runtime on the calling thread.
    ///
    /// # Errors
    ///
    /// When no driver can start, a limit of the process is in the way, or `RINGBOLT_DRIVER` is not
    /// one of its values.
    pub fn build(&self) -> io::Result<Runtime> {
        let settings = self.settings()?;
        Ok(Runtime { core: Core::new(&settings)?, drain: settings.drain })
    }

    /// The settings, with a driver that nobody looks at.
    #[cfg(feature = "sim")]
    pub(crate) fn without_driver(&self) -> Settings {
        self.settings
    }

    pub(crate) fn settings(&self) -> io::Result<Settings> {
        Ok(Settings { driver: self.chosen_driver()?, ..self.settings })
    }

    fn chosen_driver(&self) -> io::Result<DriverKind> {
        match (self.driver, std::env::var("RINGBOLT_DRIVER")) {
            (Some(driver), _) => Ok(driver),
            (None, Ok(text)) if !text.is_empty() => {
                text.parse().map_err(|error| crate::error::with_context(&error, "RINGBOLT_DRIVER"))
            }
            _ => Ok(DriverKind::Auto),
        }
    }
}

/// A runtime of one core, bound to the thread that built it.
///
/// Dropping it drops its tasks, cancels its operations and waits for their end, at most as long as
/// [`Builder::drain_timeout`] says; see [`Runtime::shutdown`].
pub struct Runtime {
    core: Rc<Core>,
    drain: Duration,
}

impl Runtime {
    /// A runtime with the default settings.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    /// The runtime of `core`.
    #[cfg(feature = "sim")]
    pub(crate) fn on(core: Rc<Core>, drain: Duration) -> Runtime {
        Runtime { core, drain }
    }

    /// Runs `future` to its end, and the tasks that it spawns along with it.
    ///
    /// # Panics
    ///
    /// If called inside of a runtime, if `future` panics, or if the driver breaks down.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.core.enter();
        turn::block_on(&self.core, future)
    }

    /// What the driver can do here.
    pub fn facts(&self) -> &Facts {
        self.core.facts()
    }

    /// What has been counted.
    pub fn metrics(&self) -> Metrics {
        self.core.metrics()
    }

    /// Ends the runtime: no operation or task starts any more, tasks are dropped, operations are
    /// cancelled, and their end is awaited for at most `limit`.
    pub fn shutdown(self, limit: Duration) -> ShutdownReport {
        let mut this = std::mem::ManuallyDrop::new(self);
        if this.core.is_copy() {
            return this.leave_to_parent();
        }
        let report = this.finish(limit);
        // SAFETY: `this` is not used again, and its destructor does not run.
        unsafe { std::ptr::drop_in_place(&mut this.core) };
        report
    }

    pub(crate) fn mailbox(&self) -> &std::sync::Arc<crate::mailbox::Mailbox> {
        self.core.mailbox()
    }

    /// In a child of fork(2) everything is the parent's: its memory and its descriptors.
    fn leave_to_parent(&self) -> ShutdownReport {
        std::mem::forget(self.core.clone());
        ShutdownReport { operations_leaked: self.core.slots.pending() }
    }

    fn finish(&mut self, limit: Duration) -> ShutdownReport {
        let _entered = self.core.enter();
        turn::shut_down(&self.core, limit)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.core.is_copy() {
            self.leave_to_parent();
            return;
        }
        // Inside of another runtime, or while the thread gives up its storage, this one cannot run;
        // its memory is left as it is. Whoever calls it from another thread is told.
        let Some(entered) = self.core.try_enter() else {
            self.core.mailbox().close();
            std::mem::forget(self.core.clone());
            return;
        };
        let report = turn::shut_down(&self.core, self.drain);
        drop(entered);
        if report.operations_leaked > 0 {
            eprintln!(
                "ringbolt: {} operations did not end within {:?}; their buffers are not freed",
                report.operations_leaked, self.drain
            );
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("driver", &self.core.facts().driver).finish()
    }
}

/// What the current core has counted.
///
/// # Panics
///
/// Outside of a runtime.
pub fn metrics() -> Metrics {
    Core::current().metrics()
}

/// What the driver of the current core can do.
///
/// # Panics
///
/// Outside of a runtime.
pub fn facts() -> Facts {
    Core::current().facts().clone()
}
