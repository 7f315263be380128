//! The driver on a simulated kernel: seeded, deterministic, and as hostile as a kernel may be.
//!
//! It takes the same requests as the others. Behind it is a world of hosts with virtual sockets,
//! files and time, in which every choice (what ends first, what is short, what is refused, what is
//! scribbled over) comes from one seed. The world of a single runtime advances its clock whenever
//! the runtime has nothing to do; that of several hosts is advanced by whoever runs them.
//!
//! | file | holds |
//! |---|---|
//! | `kernel`, `control` | hosts, requests, events; what is done to them from outside |
//! | `net`, `sockets`, `calls` | packets; requests on sockets; calls on them without a request |
//! | `files`, `disk` | files, and what a power cut leaves of them |
//! | `memory` | how the kernel reaches the buffers of requests |
//! | `faults` | how often it makes trouble |

mod calls;
mod control;
mod disk;
mod faults;
mod files;
mod kernel;
mod memory;
mod net;
mod sockets;

use super::{Bell, Driver, Facts, Tally};
use crate::sqe::{Cqe, Key, OpMeta, Sqe};
pub(crate) use calls::{Calls, socket};
pub use faults::Faults;
pub(crate) use kernel::{FIRST_FD, Forced, Kernel};
use ringbolt_buffers::Pool;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much time one turn of a core takes, so that a busy loop does not stop the clock.
const TURN: Duration = Duration::from_micros(1);

/// What the hosts of one simulation share.
pub(crate) struct World {
    kernel: RefCell<Kernel>,
    /// What the clock stood at when the world began.
    epoch: Instant,
    now: Cell<Instant>,
    /// Whether the one host advances the clock itself.
    alone: bool,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults, alone: bool) -> Rc<World> {
        let epoch = Instant::now();
        let kernel = RefCell::new(Kernel::new(seed, faults));
        Rc::new(World { kernel, epoch, now: Cell::new(epoch), alone })
    }

    pub(crate) fn kernel(&self) -> RefMut<'_, Kernel> {
        self.kernel.borrow_mut()
    }

    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now.get() - self.epoch
    }

    /// Lets everything happen that is due by `until`.
    pub(crate) fn advance(&self, until: Duration) {
        let mut kernel = self.kernel();
        while kernel.step(until) {}
        kernel.now = kernel.now.max(until);
        self.now.set(self.epoch + kernel.now);
    }

    /// When the kernel has something to do.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.kernel().next_due()
    }

    pub(crate) fn add_host(&self, address: IpAddr) -> usize {
        self.kernel().add_host(address)
    }
}

/// The driver of one host of a simulated world.
pub(crate) struct Sim {
    world: Rc<World>,
    host: usize,
    /// Requests that the kernel has not taken yet.
    staged: VecDeque<(Sqe, &'static OpMeta)>,
    cancels: VecDeque<Key>,
    /// When this host wants to be woken although nothing happens.
    wake_at: Option<Duration>,
    tally: Tally,
}

struct NoBell;

impl Bell for NoBell {
    // The world looks at every host after every turn, and there are no other threads in it.
    fn ring(&self) {}
}

impl Sim {
    /// Switches host `host` of `world` on.
    pub(crate) fn start(world: &Rc<World>, host: usize, pool: &Pool) -> (Driver, Facts) {
        let mut kernel = world.kernel();
        kernel.switch_on(host);
        kernel.hosts[host].buffers = (pool.ptr(0).as_ptr(), pool.buffer_len());
        kernel.hosts[host].pool = Some(pool.clone());
        kernel.hosts[host].lent.clear();
        drop(kernel);
        let sim = Sim {
            world: world.clone(),
            host,
            staged: VecDeque::new(),
            cancels: VecDeque::new(),
            wake_at: None,
            tally: Tally::default(),
        };
        let facts = Facts {
            driver: "simulation",
            fallback_reason: None,
            nonblocking_sockets: false,
            lends_buffers: true,
            features: vec![format!("seed {}", world.kernel().seed)],
        };
        (Driver::Sim(Box::new(sim)), facts)
    }

    pub(crate) fn world(&self) -> &Rc<World> {
        &self.world
    }

    pub(crate) fn host(&self) -> usize {
        self.host
    }

    /// Until when this host has nothing to do by itself; `None` for ever.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.wake_at
    }

    /// Whether a result has arrived that the host has not seen.
    pub(crate) fn has_arrived(&self) -> bool {
        !self.world.kernel().hosts[self.host].arrived.is_empty()
    }

    pub(crate) fn bell(&self) -> Arc<dyn Bell> {
        Arc::new(NoBell)
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn submit(&mut self, sqe: &Sqe, meta: &'static OpMeta) {
        self.tally.submitted += 1;
        self.staged.push_back((*sqe, meta));
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.cancels.push_back(key);
    }

    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        results: &mut Vec<Cqe>,
    ) -> io::Result<()> {
        self.tally.enters += 1;
        let all_taken = self.hand_over();
        let now = self.world.elapsed() + TURN;
        self.wake_at =
            if all_taken { limit.map(|limit| now.saturating_add(limit)) } else { Some(now) };
        self.world.advance(now);
        if self.world.alone {
            self.sleep();
        }
        let mut kernel = self.world.kernel();
        if !kernel.hosts[self.host].up {
            kernel.end_requests(self.host);
        }
        results.append(&mut kernel.hosts[self.host].arrived);
        Ok(())
    }

    /// Gives the kernel what was staged, maybe not all of it; false if something is left.
    fn hand_over(&mut self) -> bool {
        let mut kernel = self.world.kernel();
        kernel.refill(self.host);
        let cut = kernel.faults.interrupted;
        let mut taken = self.staged.len();
        if taken > 0 && kernel.chance(cut) {
            taken = kernel.rng.usize(..taken);
        }
        for (sqe, meta) in self.staged.drain(..taken) {
            kernel.submit(self.host, sqe, meta);
        }
        if !self.staged.is_empty() {
            // The queue keeps its order: cancels go behind their requests.
            return false;
        }
        for key in self.cancels.drain(..) {
            kernel.submit_cancel(self.host, key);
        }
        // An interrupted call returns without a result, and without an error that matters.
        !kernel.chance(cut)
    }

    /// Lets time pass until something has arrived or the limit of the wait is over.
    fn sleep(&self) {
        loop {
            if !self.world.kernel().hosts[self.host].arrived.is_empty() {
                return;
            }
            let due = self.world.next_due();
            let next = match (due, self.wake_at) {
                (Some(due), Some(end)) => due.min(end),
                (due, end) => due.or(end).unwrap_or_else(|| self.nothing_left()),
            };
            self.world.advance(next);
            if self.wake_at.is_some_and(|end| end <= next) {
                return;
            }
        }
    }

    fn nothing_left(&self) -> ! {
        let seed = self.world.kernel().seed;
        panic!("every task waits for something that never happens (seed {seed})")
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let mut kernel = self.world.kernel();
        kernel.hosts[self.host].pool = None;
        if self.world.alone && kernel.has_requests(self.host) {
            // The end of a ring does not end what the kernel does with its memory.
            drop(kernel);
            let _ = LATE.try_with(|late| late.borrow_mut().push(self.world.clone()));
            return;
        }
        kernel.switch_off(self.host);
        kernel.hosts[self.host].lent.clear();
        kernel.hosts[self.host].arrived.clear();
    }
}

thread_local! {
    /// Kernels that go on after the end of the runtimes that used them.
    static LATE: RefCell<Vec<Rc<World>>> = const { RefCell::new(Vec::new()) };
}

/// Lets kernels whose runtimes have ended do what they still have to do.
pub(crate) fn finish_late() {
    for world in LATE.take() {
        let mut kernel = world.kernel();
        while kernel.step(Duration::MAX) {}
        kernel.end_requests(0);
    }
}
