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
//! | to | use |
//! |---|---|
//! | run one world, or many | [`run`], [`explore`], [`World`] |
//! | have several machines | [`host`], [`Host::spawn`] |
//! | cut and slow the network | [`Host::cut`], [`Host::heal`], [`Host::set_link`] |
//! | stop machines and programs | [`Host::crash`], [`Host::shutdown`], [`Host::restart`] |
//! | choose what goes wrong | [`Faults`], [`set_faults`], [`Host::set_disk`] |
//! | ask the world | [`elapsed`], [`random`], [`below`], [`chance`], [`this_host`] |
//!
//! What has to be kept in mind: ask [`now`](crate::now) for the time and [`random`] for random
//! numbers, and keep no state in the order of a `HashMap`. Calls that block a thread take no
//! virtual time, and other threads are not part of the world. Sockets and files of `std` are those
//! of the real system. Streams, listeners and files of the runtime are virtual, and belong to the
//! host that made them; options of sockets that [`SockRef`](https://docs.rs/socket2) sets fail on
//! them.

mod host;
mod hosts;

use crate::builder::Builder;
use crate::core::Core;
pub use crate::driver::sim::Faults;
use crate::driver::sim::Kernel;
pub use host::{Host, host, hosts, this_host};
use hosts::Hosts;
pub use hosts::resolve;
pub(crate) use hosts::{say_panic, unobserved};
use ringbolt_buffers::PoolConfig;
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

/// Runs `main` in `count` worlds with the usual faults, see [`World::explore`].
///
/// # Panics
///
/// As [`World::explore`].
pub fn explore<F>(count: u64, main: impl Fn() -> F)
where
    F: Future<Output = ()> + 'static,
{
    World::new(0).explore(count, main);
}

/// A world that is about to begin.
#[derive(Clone, Debug)]
pub struct World {
    seed: u64,
    faults: Faults,
    builder: Builder,
    limit: Duration,
    fail_on_panic: bool,
}

impl World {
    /// A world with the faults of a bad day, see [`Faults::usual`].
    pub fn new(seed: u64) -> World {
        let limit = Duration::from_secs(24 * 60 * 60);
        let sizes = PoolConfig::default();
        let pool = PoolConfig { buffer_len: 4096, buffers: 16, buffers_max: 256, ..sizes };
        let (faults, builder) = (Faults::usual(), Builder::new().pool(pool));
        World { seed, faults, builder, limit, fail_on_panic: true }
    }

    /// What may go wrong.
    pub fn faults(mut self, faults: Faults) -> World {
        self.faults = faults;
        self
    }

    /// The settings of every host's runtime; the driver in it is not looked at. The default has
    /// a pool of 16 to 256 buffers of 4 KiB, so that a world begins quickly.
    pub fn builder(mut self, builder: Builder) -> World {
        self.builder = builder;
        self
    }

    /// How long the world may last in virtual time (default one day).
    pub fn limit(mut self, limit: Duration) -> World {
        self.limit = limit;
        self
    }

    /// Whether a task that panics fails the world although nobody awaits it (default yes: an
    /// assertion in a server that runs by itself is an assertion of the test). A panic that
    /// somebody gets from a [`JoinHandle`](crate::JoinHandle) is theirs in any case.
    pub fn fail_on_panic(mut self, on: bool) -> World {
        self.fail_on_panic = on;
        self
    }

    /// Runs `main` on the host "main" until it is ready; then all hosts are switched off.
    ///
    /// # Panics
    ///
    /// If `main` panics, or a task whose panic nobody takes; if every task waits for something that
    /// never happens; if the limit of the world passes; if a task closes or changes what the kernel
    /// is working on. The seed is printed. Also inside of another runtime.
    pub fn run<F>(self, main: impl FnOnce() -> F) -> F::Output
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let seed = self.seed;
        let run = || {
            let hosts = Hosts::new(self.seed, self.faults, self.builder, self.fail_on_panic);
            hosts.run(main, self.limit)
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
            eprintln!(
                "ringbolt: the simulated world failed; seed {seed} fails in the same way again \
                 (RINGBOLT_SEED={seed} makes `explore` run it alone)"
            );
            resume_unwind(payload)
        })
    }

    /// Runs `main` in `count` worlds like this one, whose seeds go up from its own. With
    /// `RINGBOLT_SEED` set only that seed runs, which replays a failure.
    ///
    /// # Panics
    ///
    /// As [`World::run`], at the first seed that fails; if `RINGBOLT_SEED` is not a number.
    pub fn explore<F>(self, count: u64, main: impl Fn() -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let run = |seed| World { seed, ..self.clone() }.run(&main);
        match std::env::var("RINGBOLT_SEED") {
            Ok(seed) => run(seed.parse().expect("RINGBOLT_SEED is a number")),
            Err(_) => (0..count).for_each(|i| run(self.seed.wrapping_add(i))),
        }
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

/// A random number below `end`.
///
/// # Panics
///
/// Outside of a simulated world; if `end` is 0.
pub fn below(end: u64) -> u64 {
    assert!(end > 0, "no number is below 0");
    // The error of this is as small as `end` is compared to 2^64.
    random() % end
}

/// True with probability `p`, from 0 (never) to 1 (always).
///
/// # Panics
///
/// Outside of a simulated world.
pub fn chance(p: f64) -> bool {
    with_world(|world| world.kernel().chance(p))
}

/// How long the world has lasted.
///
/// # Panics
///
/// Outside of a simulated world.
pub fn elapsed() -> Duration {
    with_world(|world| world.elapsed())
}

/// Changes what may go wrong from now on, where [`Host::set_disk`] and [`Host::set_link`] have not
/// said otherwise.
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
    with_host(|kernel, host| kernel.lent_count(host))
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
