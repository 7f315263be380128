//! The hosts of a simulated world, and the loop that gives each its turns.

use super::Faults;
use crate::builder::{Builder, Runtime, Settings};
use crate::core::Core;
use crate::driver::sim::{Sim, World};
use crate::task::{JoinHandle, spawn_on};
use crate::turn;
use ringbolt_buffers::Pool;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

thread_local! {
    static HOSTS: RefCell<Option<Rc<Hosts>>> = const { RefCell::new(None) };
}

/// Every host of a world.
pub(super) struct Hosts {
    world: Rc<World>,
    settings: Settings,
    machines: RefCell<Vec<Rc<Machine>>>,
}

struct Machine {
    name: String,
    address: IpAddr,
    index: usize,
    core: RefCell<Option<Rc<Core>>>,
    /// Whether the power fails at the end of the current turn.
    failing: Cell<bool>,
}

/// Ends the world for this thread, also after a panic.
struct Stage;

impl Drop for Stage {
    fn drop(&mut self) {
        let hosts = HOSTS.take();
        if let Some(hosts) = hosts {
            hosts.machines.borrow().iter().for_each(|machine| machine.switch_off());
        }
    }
}

impl Hosts {
    pub(super) fn new(seed: u64, faults: Faults, builder: Builder) -> Hosts {
        let world = World::new(seed, faults, false);
        Hosts { world, settings: builder.without_driver(), machines: RefCell::default() }
    }

    fn add(&self, name: &str) -> Rc<Machine> {
        let nth = self.machines.borrow().len() as u32 + 1;
        let address = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + nth));
        let machine = Rc::new(Machine {
            name: name.into(),
            address,
            index: self.world.add_host(address),
            core: RefCell::new(None),
            failing: Cell::new(false),
        });
        self.machines.borrow_mut().push(machine.clone());
        self.switch_on(&machine);
        machine
    }

    fn switch_on(&self, machine: &Machine) -> Rc<Core> {
        let core = start(&self.world, machine.index, &self.settings)
            .expect("the pool of a simulated host could not be allocated");
        *machine.core.borrow_mut() = Some(core.clone());
        core
    }

    pub(super) fn run<F>(self, main: impl FnOnce() -> F, limit: Duration) -> F::Output
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let hosts = Rc::new(self);
        let free = HOSTS.with_borrow_mut(|current| {
            let free = current.is_none() && Core::try_current().is_none();
            if free {
                *current = Some(hosts.clone());
            }
            free
        });
        assert!(free, "a simulated world cannot run inside of a runtime or of another world");
        let _stage = Stage;
        let machine = hosts.add("main");
        let core = machine.core.borrow().clone().expect("it was just switched on");
        let entered = core.enter();
        let mut main = spawn_on(&core, main());
        drop((entered, core));
        loop {
            let busy = hosts.turns();
            let Some(core) = machine.core.borrow().clone() else {
                panic!("the host \"main\" cannot be switched off");
            };
            if main.is_finished() {
                let entered = core.enter();
                let output = turn::block_on(&core, &mut main);
                drop(entered);
                return output.unwrap_or_else(|error| match error {
                    crate::JoinError::Panicked(payload) => std::panic::resume_unwind(payload),
                    error => panic!("{error}"),
                });
            }
            hosts.pass_time(busy);
            assert!(self::elapsed(&hosts) < limit, "the world did not end within {limit:?}");
        }
    }

    /// One turn of every host, in an order that the seed determines; true if one has more to do.
    fn turns(&self) -> bool {
        let mut machines = self.machines.borrow().clone();
        self.world.kernel().shuffle(&mut machines);
        let mut busy = false;
        for machine in machines {
            let core = machine.core.borrow().clone();
            let Some(core) = core else { continue };
            let entered = core.enter();
            turn::turn(&core, &|| false);
            drop(entered);
            if machine.failing.replace(false) {
                machine.switch_off();
                self.world.kernel().cut_power(machine.index);
            }
        }
        for machine in &*self.machines.borrow() {
            if let Some(core) = &*machine.core.borrow() {
                busy |= core.ready_len() > 0 || core.mailbox().has_mail();
                busy |= core.driver().simulation().is_some_and(Sim::has_arrived);
            }
        }
        busy
    }

    /// Lets the clock go on to where something happens.
    fn pass_time(&self, busy: bool) {
        let now = self.world.elapsed();
        if busy {
            return self.world.advance(now + Duration::from_nanos(1));
        }
        let wakes = self.machines.borrow().iter().filter_map(|m| m.wake_at()).min();
        let next = match (wakes, self.world.next_due()) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or_else(|| {
                panic!("every task of every host waits for something that never happens")
            }),
        };
        self.world.advance(next.max(now));
    }
}

fn elapsed(hosts: &Hosts) -> Duration {
    hosts.world.elapsed()
}

impl Machine {
    fn wake_at(&self) -> Option<Duration> {
        let core = self.core.borrow();
        let driver = core.as_ref()?.driver();
        driver.simulation()?.wake_at()
    }

    /// Ends the host's runtime; its requests end at once.
    fn switch_off(&self) {
        let Some(core) = self.core.take() else { return };
        if let Some(world) = core.world() {
            world.kernel().switch_off(self.index);
        }
        let Some(entered) = core.try_enter() else { return };
        turn::shut_down(&core, Duration::from_secs(1));
        drop(entered);
    }
}

fn start(world: &Rc<World>, index: usize, settings: &Settings) -> io::Result<Rc<Core>> {
    let pool = Pool::new(settings.pool)?;
    let (driver, facts) = Sim::start(world, index, &pool);
    Ok(Core::assemble(pool, driver, facts))
}

/// A runtime on a world of its own.
pub(super) fn alone(seed: u64, faults: Faults, builder: &Builder) -> io::Result<Runtime> {
    let settings = builder.without_driver();
    let world = World::new(seed, faults, true);
    let index = world.add_host(IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)));
    Ok(Runtime::on(start(&world, index, &settings)?, settings.drain))
}

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
/// Outside of a simulated world.
pub fn host(name: &str) -> Host {
    Host(current().add(name))
}

fn current() -> Rc<Hosts> {
    HOSTS.with_borrow(Clone::clone).expect("hosts exist in a simulated world: see sim::run")
}

/// The address of the host that is called `name` in the simulated world of the caller.
#[doc(hidden)]
pub fn resolve(name: &str) -> Option<Option<IpAddr>> {
    super::is_simulated().then(|| {
        if name == "localhost" {
            return Some(Ipv4Addr::LOCALHOST.into());
        }
        let hosts = HOSTS.with_borrow(Clone::clone)?;
        let machines = hosts.machines.borrow();
        machines.iter().find(|machine| machine.name == name).map(|machine| machine.address)
    })
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

    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.0.core.borrow().is_some()
    }

    /// Runs the future that `make` makes on this host.
    ///
    /// # Panics
    ///
    /// If the host is switched off.
    pub fn spawn<F>(&self, make: impl FnOnce() -> F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let core = self.0.core.borrow().clone();
        let core = core.unwrap_or_else(|| panic!("the host \"{}\" is switched off", self.0.name));
        spawn_on(&core, make())
    }

    /// The power fails when the current turn of this host ends: its tasks are gone, its connections
    /// break without a word, and its disk keeps what was synced, and of the rest what luck decides.
    pub fn crash(&self) {
        self.0.failing.set(true);
    }

    /// Switches it on again after a [`crash`](Host::crash), with its disk as that left it.
    ///
    /// # Panics
    ///
    /// If it is switched on.
    pub fn restart(&self) {
        assert!(!self.is_on(), "the host \"{}\" is switched on", self.0.name);
        current().switch_on(&self.0);
    }

    /// Cuts the network between this host and `other`: packets wait, connection attempts get no
    /// answer.
    pub fn cut(&self, other: &Host) {
        current().world.kernel().cut(self.0.index, other.0.index);
    }

    /// Heals a [`cut`](Host::cut): what waited is delivered.
    pub fn heal(&self, other: &Host) {
        current().world.kernel().heal(self.0.index, other.0.index);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("name", &self.name())
            .field("address", &self.address())
            .finish()
    }
}
