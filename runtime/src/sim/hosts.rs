//! The hosts of a simulated world as its kernel's clock sees them: who runs, and when.

use super::Faults;
use crate::builder::{Builder, Runtime, Settings};
use crate::core::Core;
use crate::driver::sim::{Sim, World};
use crate::task::{JoinError, JoinHandle, Payload, spawn_on};
use crate::turn;
use ringbolt_buffers::Pool;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

thread_local! {
    static HOSTS: RefCell<Option<Rc<Hosts>>> = const { RefCell::new(None) };
}

/// Every host of a world.
pub(super) struct Hosts {
    pub(super) world: Rc<World>,
    settings: Settings,
    pub(super) machines: RefCell<Vec<Rc<Machine>>>,
    fail_on_panic: bool,
    /// The first panic of a task that nobody awaited.
    failed: RefCell<Option<Payload>>,
}

pub(super) struct Machine {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) index: usize,
    pub(super) core: RefCell<Option<Rc<Core>>>,
    /// Whether code of this host is running.
    running: Cell<bool>,
    /// How the host ends after its current turn.
    ending: Cell<Option<End>>,
}

/// How a host stops.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The power fails.
    Power,
    /// The program ends.
    Program,
}

/// Ends the world for this thread, also after a panic.
struct Stage;

impl Drop for Stage {
    fn drop(&mut self) {
        let hosts = HOSTS.take();
        if let Some(hosts) = hosts {
            hosts.machines.borrow().iter().for_each(|machine| machine.stop(End::Power));
        }
    }
}

/// The world of the calling thread.
pub(super) fn current() -> Rc<Hosts> {
    HOSTS.with_borrow(Clone::clone).expect("hosts exist in a simulated world: see sim::run")
}

impl Hosts {
    pub(super) fn new(seed: u64, faults: Faults, builder: Builder, fail_on_panic: bool) -> Hosts {
        Hosts {
            world: World::new(seed, faults, false),
            settings: builder.without_driver(),
            machines: RefCell::default(),
            fail_on_panic,
            failed: RefCell::default(),
        }
    }

    pub(super) fn add(&self, name: &str) -> Rc<Machine> {
        assert!(self.find(name).is_none(), "there is a host \"{name}\" already");
        let nth = self.machines.borrow().len() as u32 + 1;
        let address = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + nth));
        let machine = Rc::new(Machine {
            name: name.into(),
            address,
            index: self.world.add_host(address),
            core: RefCell::new(None),
            running: Cell::new(false),
            ending: Cell::new(None),
        });
        self.machines.borrow_mut().push(machine.clone());
        self.switch_on(&machine);
        machine
    }

    pub(super) fn find(&self, name: &str) -> Option<Rc<Machine>> {
        self.machines.borrow().iter().find(|machine| machine.name == name).cloned()
    }

    pub(super) fn switch_on(&self, machine: &Machine) -> Rc<Core> {
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
        let mut main = machine.spawn(main);
        loop {
            let busy = hosts.turns();
            let Some(core) = machine.core.borrow().clone() else {
                panic!("the host \"main\" cannot be switched off");
            };
            if main.is_finished() {
                return hosts.finish(&core, &mut main);
            }
            hosts.pass_time(busy);
            assert!(hosts.world.elapsed() < limit, "the world did not end within {limit:?}");
        }
    }

    /// The output of `main`, which is ready, unless a panic has been overlooked.
    fn finish<T>(&self, core: &Rc<Core>, main: &mut JoinHandle<T>) -> T {
        let entered = core.enter();
        let output = turn::block_on(core, main);
        drop(entered);
        let output = output.unwrap_or_else(|error| match error {
            JoinError::Panicked(payload) => resume_unwind(payload),
            error => panic!("{error}"),
        });
        // Handles that tasks hold on others go away here.
        self.machines.borrow().iter().for_each(|machine| machine.stop(End::Power));
        self.check();
        output
    }

    /// Fails if a task has panicked that nobody awaits.
    fn check(&self) {
        if let Some(payload) = self.failed.take() {
            resume_unwind(payload);
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
            machine.running.set(true);
            turn::turn(&core, &|| false);
            machine.running.set(false);
            drop((entered, core));
            if let Some(end) = machine.ending.take() {
                machine.stop(end);
            }
            self.check();
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

impl Machine {
    fn wake_at(&self) -> Option<Duration> {
        let core = self.core.borrow();
        let driver = core.as_ref()?.driver();
        driver.simulation()?.wake_at()
    }

    /// Runs the future that `make` makes on this host.
    pub(super) fn spawn<F>(&self, make: impl FnOnce() -> F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let core = self.core.borrow().clone();
        let core = core.unwrap_or_else(|| panic!("the host \"{}\" is switched off", self.name));
        let _outside = Core::step_out();
        let _inside = core.enter();
        spawn_on(&core, make())
    }

    /// Stops the host: at once, or if this is called by itself, at the end of its turn.
    pub(super) fn end(&self, end: End) {
        if self.running.get() {
            self.ending.set(Some(end));
        } else {
            self.stop(end);
        }
    }

    /// Ends the host's runtime; its requests end at once.
    fn stop(&self, end: End) {
        let Some(core) = self.core.take() else { return };
        if let Some(world) = core.world() {
            match end {
                End::Power => world.kernel().switch_off(self.index),
                End::Program => world.kernel().end_program(self.index),
            }
        }
        let _outside = Core::step_out();
        let Some(entered) = core.try_enter() else { return };
        turn::shut_down(&core, Duration::from_secs(1));
        drop(entered);
        if let (End::Power, Some(world)) = (end, core.world()) {
            world.kernel().cut_power(self.index);
        }
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

/// Says which host a task has just panicked on.
pub(crate) fn say_panic(core: &Core) {
    let Some(hosts) = HOSTS.with_borrow(Clone::clone) else { return };
    let Some(index) = core.driver().simulation().map(Sim::host) else { return };
    let name = hosts.machines.borrow()[index].name.clone();
    eprintln!(
        "ringbolt: a task of the simulated host \"{name}\" panicked at {:?}",
        hosts.world.elapsed()
    );
}

/// Notes a panic that nobody has taken; gives it back where that is no failure.
pub(crate) fn unobserved(payload: Payload) -> Option<Payload> {
    let hosts = HOSTS.try_with(|hosts| hosts.borrow().clone()).ok().flatten();
    let Some(hosts) = hosts.filter(|hosts| hosts.fail_on_panic) else { return Some(payload) };
    let mut failed = hosts.failed.borrow_mut();
    match *failed {
        Some(_) => Some(payload),
        None => {
            *failed = Some(payload);
            None
        }
    }
}

/// The address of the host that is called `name` in the simulated world of the caller.
#[doc(hidden)]
pub fn resolve(name: &str) -> Option<Option<IpAddr>> {
    super::is_simulated().then(|| {
        if name == "localhost" {
            return Some(Ipv4Addr::LOCALHOST.into());
        }
        let hosts = HOSTS.with_borrow(Clone::clone)?;
        hosts.find(name).map(|machine| machine.address)
    })
}
