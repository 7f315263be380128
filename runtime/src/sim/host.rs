//! A machine of a simulated world, in the hands of a test.

use super::Faults;
use super::hosts::{End, Machine, current};
use crate::core::Core;
use crate::driver::sim::Sim;
use crate::task::JoinHandle;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;

/// A machine of a simulated world, with a runtime, an address and a disk of its own.
///
/// ```
/// use ringbolt_runtime::sim;
///
/// let sum = sim::run(1, || async {
///     let other = sim::host("other");
///     other.spawn(|| async { 1 + 1 }).await.unwrap()
/// });
/// assert_eq!(sum, 2);
/// ```
#[derive(Clone)]
pub struct Host(Rc<Machine>);

/// Adds a host to the world. Its name leads to its address in the whole world.
///
/// # Panics
///
/// Outside of a simulated world; if there is a host of that name.
pub fn host(name: &str) -> Host {
    Host(current().add(name))
}

/// The host that the calling code runs on.
///
/// ```
/// use ringbolt_runtime::sim;
///
/// sim::run(1, || async { assert_eq!(sim::this_host().name(), "main") });
/// ```
///
/// # Panics
///
/// Outside of a simulated world.
pub fn this_host() -> Host {
    let index = Core::current().driver().simulation().map(Sim::host);
    let index = index.expect("this runtime is not in a simulated world: see sim::run");
    Host(current().machines.borrow()[index].clone())
}

/// All hosts in the order in which they were added, "main" first.
///
/// # Panics
///
/// Outside of a simulated world.
pub fn hosts() -> Vec<Host> {
    current().machines.borrow().iter().cloned().map(Host).collect()
}

impl Host {
    /// The address that other hosts reach it at.
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is switched on and its program runs.
    pub fn is_on(&self) -> bool {
        self.0.core.borrow().is_some()
    }

    /// Runs the future that `make` makes on this host. If it panics and nobody awaits the handle,
    /// the world fails, see [`World::fail_on_panic`](super::World::fail_on_panic).
    ///
    /// # Panics
    ///
    /// If the host is switched off.
    pub fn spawn<F>(&self, make: impl FnOnce() -> F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.0.spawn(make)
    }

    /// The power fails: its tasks are gone, its connections break without a word, and its disk
    /// keeps what was synced, and of the rest what luck decides. A host that does this to itself
    /// goes on to the end of its current turn.
    ///
    /// The destructors of its tasks run, since this is a simulation; they reach neither network nor
    /// disk any more.
    pub fn crash(&self) {
        self.0.end(End::Power);
    }

    /// The program ends, as one does that is killed: its tasks are gone, its connections are closed
    /// by the system, and its disk keeps everything that was written. A host that does this to
    /// itself goes on to the end of its current turn.
    pub fn shutdown(&self) {
        self.0.end(End::Program);
    }

    /// Starts it again after a [`crash`](Host::crash) or a [`shutdown`](Host::shutdown), with its
    /// disk as that left it and nothing running.
    ///
    /// # Panics
    ///
    /// If it is switched on.
    pub fn restart(&self) {
        assert!(!self.is_on(), "the host \"{}\" is switched on", self.0.name);
        current().switch_on(&self.0);
    }

    /// Cuts the network between this host and `other`: packets wait, connection attempts get no
    /// answer. Nothing cuts a host from itself.
    pub fn cut(&self, other: &Host) {
        current().world.kernel().cut(self.0.index, other.0.index);
    }

    /// Heals a [`cut`](Host::cut): what waited is delivered.
    pub fn heal(&self, other: &Host) {
        current().world.kernel().heal(self.0.index, other.0.index);
    }

    /// Cuts this host from all others that there are.
    pub fn isolate(&self) {
        hosts().iter().for_each(|other| self.cut(other));
    }

    /// Heals every cut of this host.
    pub fn rejoin(&self) {
        hosts().iter().for_each(|other| self.heal(other));
    }

    /// Gives the packets between this host and `other` the [`latency`](Faults::latency) and the
    /// [`loss`](Faults::loss) of `faults`, whatever the world says.
    pub fn set_link(&self, other: &Host, faults: Faults) {
        current().world.kernel().set_link(self.0.index, other.0.index, faults);
    }

    /// Gives this host a disk with the [speed](Faults::disk), the [size](Faults::disk_len) and the
    /// [failing syncs](Faults::sync_error) of `faults`, whatever the world says.
    ///
    /// ```
    /// use ringbolt_runtime::sim::{self, Faults};
    /// use std::time::Duration;
    ///
    /// sim::run(1, || async {
    ///     let mut slow = Faults::usual();
    ///     slow.disk = Duration::from_millis(100)..Duration::from_secs(1);
    ///     sim::host("storage").set_disk(slow);
    /// });
    /// ```
    pub fn set_disk(&self, faults: Faults) {
        current().world.kernel().set_disk(self.0.index, faults);
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Host) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Host {}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("name", &self.name())
            .field("address", &self.address())
            .finish()
    }
}
