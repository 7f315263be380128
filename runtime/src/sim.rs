//! Simulated worlds: a program's servers, clients, network, disks and clock in one deterministic
//! run.
//!
//! The same code that runs on a real kernel runs here on a virtual one. Everything that could go
//! one way or the other is decided by a seed: which result comes first, which packet is late or
//! lost, which write is short, what a power cut leaves on a disk. Time is virtual as well, so that
//! a minute of timeouts takes milliseconds. A run that fails prints its seed, and the same seed
//! fails in the same way again.
//!
//! ```
//! use ringbolt_runtime::{now, sim, sleep};
//! use std::time::Duration;
//!
//! let waited = sim::run(7, || async {
//!     let start = now();
//!     sleep(Duration::from_secs(3600)).await;
//!     now() - start
//! });
//! assert!(waited >= Duration::from_secs(3600));
//! ```
//!
//! What has to be kept in mind: ask [`now`](crate::now) for the time and [`random`] for random
//! numbers, and keep no state in the order of a `HashMap`. Calls that block a thread take no
//! virtual time, and other threads are not part of the world. Sockets and files of `std` are those
//! of the real system. Streams, listeners and files of the runtime are virtual; options of sockets
//! that [`SockRef`](https://docs.rs/socket2) sets fail on them.

mod hosts;

use crate::builder::Builder;
use crate::core::Core;
pub use crate::driver::sim::Faults;
use crate::driver::sim::Kernel;
use hosts::Hosts;
pub use hosts::{Host, host, resolve};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// Runs `main` on the host "main" of a world with the usual faults, see [`World`].
///
/// # Panics
///
/// As [`World::run`].
pub fn run<F>(seed: u64, main: impl FnOnce() -> F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    World::new(seed).run(main)
}

/// Runs `main` in `count` worlds with different seeds. With `RINGBOLT_SEED` set only that seed
/// runs, which replays a failure.
///
/// # Panics
///
/// As [`World::run`], at the first seed that fails.
pub fn explore<F>(count: u64, main: impl Fn() -> F)
where
    F: Future<Output = ()> + 'static,
{
    match std::env::var("RINGBOLT_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => run(seed, &main),
        None => (0..count).for_each(|seed| run(seed, &main)),
    }
}

/// A world that is about to begin.
#[derive(Clone, Debug)]
pub struct World {
    seed: u64,
    faults: Faults,
    builder: Builder,
    limit: Duration,
}

impl World {
    /// A world with the faults of a bad day, see [`Faults::usual`].
    pub fn new(seed: u64) -> World {
        let limit = Duration::from_secs(24 * 60 * 60);
        World { seed, faults: Faults::usual(), builder: Builder::new(), limit }
    }

    /// What may go wrong.
    pub fn faults(mut self, faults: Faults) -> World {
        self.faults = faults;
        self
    }

    /// The settings of every host's runtime; the driver in it is not looked at.
    pub fn builder(mut self, builder: Builder) -> World {
        self.builder = builder;
        self
    }

    /// How long the world may last in virtual time (default one day).
    pub fn limit(mut self, limit: Duration) -> World {
        self.limit = limit;
        self
    }

    /// Runs `main` on the host "main" until it is ready; then all hosts are switched off.
    ///
    /// # Panics
    ///
    /// If `main` panics; if every task waits for something that never happens; if the limit of the
    /// world passes; if a task closes or changes what the kernel is working on. The seed is
    /// printed. Also inside of another runtime.
    pub fn run<F>(self, main: impl FnOnce() -> F) -> F::Output
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let seed = self.seed;
        let run = || Hosts::new(self.seed, self.faults, self.builder).run(main, self.limit);
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
            eprintln!(
                "ringbolt: the simulated world failed; seed {seed} fails in the same way again"
            );
            resume_unwind(payload)
        })
    }
}

/// A random number that the seed of the world determines.
///
/// # Panics
///
/// Outside of a simulated world.
pub fn random() -> u64 {
    with_world(|world| world.kernel().rng())
}

/// Changes what may go wrong from now on.
///
/// # Panics
///
/// Outside of a simulated world.
pub fn set_faults(faults: Faults) {
    with_world(|world| world.kernel().set_faults(faults));
}

/// Whether the calling code runs in a simulated world.
pub fn is_simulated() -> bool {
    Core::virtual_now().is_some()
}

fn with_world<T>(f: impl FnOnce(&crate::driver::sim::World) -> T) -> T {
    let core = Core::current();
    f(core.world().expect("this runtime is not in a simulated world: see sim::run"))
}

/// A single runtime on a simulated kernel, for tests of the runtime itself.
#[doc(hidden)]
pub fn runtime(seed: u64, faults: Faults, builder: &Builder) -> std::io::Result<crate::Runtime> {
    hosts::alone(seed, faults, builder)
}

/// Makes the request with `opcode` that comes after `skip` others end with `res` on this host.
#[doc(hidden)]
pub fn force(opcode: u8, skip: u32, res: i32) {
    let rule = crate::driver::sim::Forced { opcode, skip, res };
    with_host(|kernel, host| kernel.force(host, rule));
}

/// Calls of [`force`] on this host whose request has not come yet.
#[doc(hidden)]
pub fn forced_left() -> usize {
    with_host(|kernel, host| kernel.forced_left(host))
}

/// Lets the kernels of runtimes that left operations behind do what they still have to do with the
/// memory of those.
#[doc(hidden)]
pub fn finish_late() {
    crate::driver::sim::finish_late();
}

/// Buffers of the pool that the kernel of this host has.
#[doc(hidden)]
pub fn lent() -> usize {
    let core = Core::current();
    let driver = core.driver();
    let sim = driver.simulation().expect("this runtime is not in a simulated world");
    sim.world().kernel().lent_count(sim.host())
}

/// Virtual descriptors that are open on this host.
#[doc(hidden)]
pub fn descriptors() -> usize {
    with_host(|kernel, host| kernel.open_count(host))
}

fn with_host<T>(f: impl FnOnce(&mut Kernel, usize) -> T) -> T {
    let core = Core::current();
    let driver = core.driver();
    let sim = driver.simulation().expect("this runtime is not in a simulated world: see sim::run");
    f(&mut sim.world().kernel(), sim.host())
}
