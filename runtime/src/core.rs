//! One core: the state of one thread's runtime, and how operations, timers and tasks reach it.
//!
//! Everything here belongs to one thread. No borrow of a part is held while foreign code runs: a
//! waker or a destructor may come back in here at any point.

use crate::builder::Settings;
use crate::driver::{Driver, Facts};
use crate::mailbox::{Call, Mailbox};
use crate::metrics::{Counters, Metrics};
use crate::op::Scope;
use crate::op::slot::Slots;
use crate::sqe::{Cqe, Key, OpMeta, Sqe};
use crate::sys::{Origin, new_pool};
use crate::task::{Payload, Runnable};
use crate::timer::Wheel;
use ringbolt_buffers::Pool;
use slab::Slab;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;
use std::time::Instant;

#[cfg(not(ringbolt_loom))]
thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

#[cfg(ringbolt_loom)]
loom::thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = RefCell::new(None);
}

/// One thread's runtime.
pub(crate) struct Core {
    number: u32,
    pub(crate) slots: Slots,
    origin: Origin,
    driver: RefCell<Driver>,
    facts: Facts,
    pool: Pool,
    timers: RefCell<Wheel>,
    ready: RefCell<VecDeque<Runnable>>,
    tasks: RefCell<Slab<TaskEntry>>,
    mailbox: Arc<Mailbox>,
    counters: Counters,
    scope: RefCell<Option<Rc<Scope>>>,
    closed: Cell<bool>,
    /// The turn in which the pool grew last.
    pool_grown: Cell<u64>,
    pub(crate) work: Work,
    /// The simulated world that this core is in.
    #[cfg(feature = "sim")]
    world: Option<Rc<crate::driver::sim::World>>,
}

/// Vectors of the turn loop, kept for their memory.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) results: Cell<Vec<Cqe>>,
    pub(crate) wakers: Cell<Vec<Waker>>,
    pub(crate) runnables: Cell<Vec<Runnable>>,
    pub(crate) calls: Cell<Vec<Call>>,
    /// Cancels that were refused while their operation went on, and when to try again.
    pub(crate) refused: RefCell<Vec<Key>>,
    pub(crate) retry_at: Cell<Option<Instant>>,
}

/// A task that has not ended.
#[derive(Default)]
struct TaskEntry {
    waker: Option<Waker>,
    aborted: bool,
}

impl Core {
    pub(crate) fn new(settings: &Settings) -> io::Result<Rc<Core>> {
        let pool = new_pool(settings.pool)?;
        let (driver, facts) = Driver::new(settings, &pool)?;
        Ok(Core::assemble(pool, driver, facts))
    }

    pub(crate) fn assemble(pool: Pool, driver: Driver, facts: Facts) -> Rc<Core> {
        #[cfg(feature = "sim")]
        let world = driver.simulation().map(|sim| sim.world().clone());
        #[cfg(feature = "sim")]
        let start = world.as_ref().map_or_else(Instant::now, |world| world.now());
        #[cfg(not(feature = "sim"))]
        let start = Instant::now();
        static CORES: AtomicU32 = AtomicU32::new(0);
        let mailbox = Arc::new(Mailbox::new(driver.bell()));
        Rc::new(Core {
            number: CORES.fetch_add(1, Ordering::Relaxed),
            slots: Slots::new(),
            origin: Origin::here(),
            driver: RefCell::new(driver),
            facts,
            pool,
            timers: RefCell::new(Wheel::new(start)),
            ready: RefCell::new(VecDeque::with_capacity(64)),
            tasks: RefCell::new(Slab::with_capacity(64)),
            mailbox,
            counters: Counters::default(),
            scope: RefCell::new(None),
            closed: Cell::new(false),
            pool_grown: Cell::new(0),
            work: Work::default(),
            #[cfg(feature = "sim")]
            world,
        })
    }

    /// The core of the calling thread.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn current() -> Rc<Core> {
        Core::try_current().unwrap_or_else(|| no_runtime())
    }

    /// Calls `f` with the core of the calling thread. `f` runs no foreign code.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn with<T>(f: impl FnOnce(&Core) -> T) -> T {
        CURRENT.with(|current| match &*current.borrow() {
            Some(core) => f(core),
            None => no_runtime(),
        })
    }

    /// The core of the calling thread, if there is one.
    pub(crate) fn try_current() -> Option<Rc<Core>> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// What the clock of the simulated world shows that the calling thread is in.
    #[cfg(feature = "sim")]
    pub(crate) fn virtual_now() -> Option<Instant> {
        let now = |current: &RefCell<Option<Rc<Core>>>| {
            Some(current.borrow().as_ref()?.world.as_ref()?.now())
        };
        CURRENT.try_with(now).ok().flatten()
    }

    /// Puts a woken task into the run queue of the calling thread's core if that is its own, else
    /// into the mailbox of its core.
    pub(crate) fn schedule(mailbox: &Mailbox, runnable: Runnable) {
        let mut runnable = Some(runnable);
        // A thread that is ending has no current core any more; its tasks are in the mailbox then.
        let _ = CURRENT.try_with(|current| {
            if let Some(core) = &*current.borrow()
                && std::ptr::eq(&*core.mailbox, mailbox)
                && let Some(runnable) = runnable.take()
            {
                core.ready.borrow_mut().push_back(runnable);
            }
        });
        if let Some(runnable) = runnable {
            mailbox.push(runnable);
        }
    }

    /// Whether this process is a child that has got a copy of its parent's core.
    pub(crate) fn is_copy(&self) -> bool {
        !self.origin.is_here()
    }

    /// Ends a child that uses its parent's core.
    pub(crate) fn check_origin(&self) {
        self.origin.check();
    }

    /// Makes this the current core until the guard is dropped.
    ///
    /// # Panics
    ///
    /// If another runtime runs on this thread.
    pub(crate) fn enter(self: &Rc<Core>) -> Entered {
        self.try_enter()
            .expect("a ringbolt runtime already runs on this thread: await instead of blocking")
    }

    /// As [`Core::enter`]; `None` if another runtime runs on this thread, or if the thread is
    /// ending and has given up its storage.
    pub(crate) fn try_enter(self: &Rc<Core>) -> Option<Entered> {
        self.origin.check();
        let entered = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            if current.as_ref().is_some_and(|core| core.is_copy()) {
                // That one runs in the parent only, whose future forked.
                std::mem::forget(current.take());
            }
            let free = current.is_none();
            if free {
                *current = Some(self.clone());
            }
            free
        });
        // Made only then, since its destructor ends what it stands for.
        entered.unwrap_or(false).then(|| Entered(()))
    }

    /// Leaves the core of the calling thread, if there is one, until the guard is dropped.
    #[cfg(feature = "sim")]
    pub(crate) fn step_out() -> SteppedOut {
        SteppedOut(CURRENT.with(|current| current.borrow_mut().take()))
    }

    /// What the clock of this core shows.
    pub(crate) fn now(&self) -> Instant {
        #[cfg(feature = "sim")]
        if let Some(world) = &self.world {
            return world.now();
        }
        Instant::now()
    }

    /// The simulated world that this core is in.
    #[cfg(feature = "sim")]
    pub(crate) fn world(&self) -> Option<&Rc<crate::driver::sim::World>> {
        self.world.as_ref()
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Lets the pool grow after it was found empty, once per turn: when many connections find it
    /// empty together, what the first of them brings is for all. False if it cannot grow, and
    /// nothing came back from other threads.
    pub(crate) fn grow_pool(&self) -> bool {
        let returned = self.pool.collect();
        let turn = self.counters.turns.get();
        if self.pool_grown.replace(turn) == turn && self.pool.introduced() < self.pool.buffers_max()
        {
            return true;
        }
        self.pool.grow() + returned > 0
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Tells this core from all others of the process.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a panic that was caught where nobody can be told. A simulated world fails for it,
    /// unless its host is being switched off.
    pub(crate) fn note_panic(&self, payload: Payload) {
        self.counters.panics.add(1);
        #[cfg(feature = "sim")]
        let payload =
            if self.closed.get() { Some(payload) } else { crate::sim::unobserved(payload) };
        drop(payload);
    }

    pub(crate) fn timers(&self) -> RefMut<'_, Wheel> {
        self.timers.borrow_mut()
    }

    pub(crate) fn driver(&self) -> RefMut<'_, Driver> {
        self.driver.borrow_mut()
    }

    /// Hands a request to the driver.
    pub(crate) fn submit(&self, sqe: &Sqe, meta: &'static OpMeta) {
        self.origin.check();
        self.driver.borrow_mut().submit(sqe, meta);
    }

    /// Tells the driver that a descriptor is about to be closed.
    pub(crate) fn forget(&self, raw: i32) {
        // A child closes its own copy, of which the shared poller must not hear.
        if !self.is_copy() {
            self.driver.borrow_mut().forget(raw);
        }
    }

    /// Whether the runtime is shutting down: nothing new starts.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    pub(crate) fn with_scope<T>(&self, f: impl FnOnce(Option<&Scope>) -> T) -> T {
        f(self.scope.borrow().as_deref())
    }

    pub(crate) fn swap_scope(&self, scope: Option<Rc<Scope>>) -> Option<Rc<Scope>> {
        std::mem::replace(&mut *self.scope.borrow_mut(), scope)
    }

    /// Puts a task at the end of the run queue.
    pub(crate) fn enqueue(&self, runnable: Runnable) {
        self.ready.borrow_mut().push_back(runnable);
    }

    /// The task at the head of the run queue.
    pub(crate) fn next_ready(&self) -> Option<Runnable> {
        self.ready.borrow_mut().pop_front()
    }

    /// Tasks in the run queue.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.borrow().len()
    }

    /// A place in the list of tasks, to be filled by `register_task`.
    pub(crate) fn next_task(&self) -> usize {
        self.tasks.borrow_mut().insert(TaskEntry::default())
    }

    pub(crate) fn register_task(&self, index: usize, waker: Waker) {
        self.tasks.borrow_mut()[index].waker = Some(waker);
    }

    pub(crate) fn unregister_task(&self, index: usize) {
        let entry = self.tasks.borrow_mut().remove(index);
        drop(entry);
    }

    /// Tasks that have not ended.
    pub(crate) fn task_count(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Makes the next turn of a task its last, without a poll.
    pub(crate) fn abort_task(&self, index: usize) {
        let waker = self.tasks.borrow_mut().get_mut(index).and_then(|entry| {
            entry.aborted = true;
            entry.waker.clone()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_aborted(&self, index: usize) -> bool {
        self.tasks.borrow().get(index).is_some_and(|entry| entry.aborted)
    }

    pub(crate) fn wake_all_tasks(&self) {
        // Wakers are called after the borrow has ended.
        let mut wakers = Vec::with_capacity(self.task_count());
        wakers.extend(self.tasks.borrow().iter().filter_map(|(_, entry)| entry.waker.clone()));
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let tally = self.driver.borrow().tally();
        let c = &self.counters;
        Metrics {
            turns: c.turns.get(),
            enters: tally.enters,
            submitted: tally.submitted,
            completions: c.completions.get(),
            stale_completions: self.slots.stale(),
            overflows: tally.overflows,
            cancels: c.cancels.get(),
            in_flight: self.slots.live().into(),
            descriptors: c.descriptors.get(),
            spawned: c.spawned.get(),
            tasks: self.task_count() as u64,
            polls: c.polls.get(),
            panics: c.panics.get(),
            timers_fired: c.timers.get(),
            timers: self.timers.borrow().len() as u64,
            remote_wakes: c.remote_wakes.get(),
            accept_pauses: c.accept_pauses.get(),
            buffers_leased: self.pool.leased() as u64,
            buffers: self.pool.introduced() as u64,
            pool_empty: c.pool_empty.get(),
            copied_out: c.copied_out.get(),
            received_alone: c.received_alone.get(),
        }
    }
}

#[cold]
fn no_runtime() -> ! {
    panic!(
        "no ringbolt runtime runs on this thread: use #[ringbolt::main], Runtime::block_on or \
         ringbolt::cores"
    )
}

/// Keeps a core current.
pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        let core = CURRENT.try_with(|current| current.borrow_mut().take());
        drop(core);
    }
}

/// Keeps the core of a thread aside while another one is used.
#[cfg(feature = "sim")]
pub(crate) struct SteppedOut(Option<Rc<Core>>);

#[cfg(feature = "sim")]
impl Drop for SteppedOut {
    fn drop(&mut self) {
        let core = self.0.take();
        CURRENT.with(|current| *current.borrow_mut() = core);
    }
}
