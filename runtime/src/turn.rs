//! One turn of a core, the loop around it, and the end.
//!
//! A turn runs the tasks that are ready, once each; takes the mail of other threads; fires timers;
//! and then makes one call to the driver, which submits what the tasks started and waits if there
//! is nothing else to do. Results are handed to their slots after that call. This is the only file
//! that joins the parts.

use crate::core::Core;
use crate::driver::Driver;
use crate::mailbox::Mailbox;
use crate::sqe::{Cqe, Kind};
use crate::sync::{AtomicBool, thread};
use crate::task;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Tasks that run in one turn before the driver gets its share.
const TASKS_MAX: usize = 256;
/// How long to leave an operation alone whose cancel was refused.
const RETRY: Duration = Duration::from_millis(5);

/// Wakes the future that `block_on` was given.
struct MainWaker {
    woken: AtomicBool,
    mailbox: Arc<Mailbox>,
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.swap(true, Ordering::SeqCst);
        self.mailbox.nudge();
    }
}

/// Runs `future` and all tasks of `core` until `future` is ready.
pub(crate) fn block_on<F: Future>(core: &Rc<Core>, future: F) -> F::Output {
    let mailbox = core.mailbox().clone();
    let main = Arc::new(MainWaker { woken: AtomicBool::new(true), mailbox });
    let waker = Waker::from(main.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if main.woken.swap(false, Ordering::SeqCst)
            && let Poll::Ready(output) = future.as_mut().poll(&mut cx)
        {
            return output;
        }
        turn(core, &|| main.woken.load(Ordering::SeqCst));
    }
}

/// One turn. `busy` tells whether something outside of the core's queues is ready.
pub(crate) fn turn(core: &Rc<Core>, busy: &dyn Fn() -> bool) {
    core.counters().turns.add(1);
    run_ready(core);
    take_mail(core);
    fire_timers(core);
    core.mailbox().set_asleep(true);
    let idle = core.ready_len() == 0 && !core.mailbox().has_mail() && !busy();
    if !idle {
        core.mailbox().set_asleep(false);
    }
    let waited = wait(core, if idle { time_left(core) } else { Some(Duration::ZERO) });
    core.mailbox().set_asleep(false);
    if let Err(Broken { error, left }) = waited {
        panic!(
            "the {} driver broke down: {error}; {left} operations are left to the system, and \
             nothing new starts on this runtime",
            core.facts().driver
        );
    }
}

/// The driver gave up.
struct Broken {
    error: std::io::Error,
    /// Operations that were in flight.
    left: u32,
}

fn run_ready(core: &Core) {
    let count = core.ready_len().min(TASKS_MAX);
    for _ in 0..count {
        let Some(runnable) = core.next_ready() else { return };
        core.counters().polls.add(1);
        // A panic in a future or a destructor is caught inside the task. Should one get past that,
        // the core goes on all the same.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| task::run(core, runnable))) {
            core.note_panic(payload);
        }
    }
}

fn take_mail(core: &Rc<Core>) {
    if core.mailbox().has_mail() {
        open_mail(core);
    }
}

fn open_mail(core: &Rc<Core>) {
    let (mut runnables, mut calls) = (core.work.runnables.take(), core.work.calls.take());
    core.mailbox().take(&mut runnables, &mut calls);
    core.counters().remote_wakes.add(runnables.len() as u64);
    runnables.drain(..).for_each(|runnable| core.enqueue(runnable));
    calls.drain(..).for_each(|call| call(core));
    core.work.runnables.set(runnables);
    core.work.calls.set(calls);
}

fn fire_timers(core: &Core) {
    if core.timers().len() == 0 {
        return;
    }
    let mut wakers = core.work.wakers.take();
    core.timers().advance(core.now(), &mut wakers);
    core.counters().timers.add(wakers.len() as u64);
    wakers.drain(..).for_each(Waker::wake);
    core.work.wakers.set(wakers);
}

/// How long the driver may sleep.
fn time_left(core: &Core) -> Option<Duration> {
    let timer = core.timers().next();
    let until = match (timer, core.work.retry_at.get()) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some(until.saturating_duration_since(core.now()))
}

/// Sends the cancels, lets the driver work, and hands its results to their slots.
fn wait(core: &Core, limit: Option<Duration>) -> Result<(), Broken> {
    core.check_origin();
    retry_cancels(core);
    let mut results = core.work.results.take();
    {
        let mut driver = core.driver();
        while let Some(key) = core.slots.next_cancel() {
            core.counters().cancels.add(1);
            driver.cancel(key);
        }
        if let Err(error) = driver.wait(limit, &mut results) {
            // Whatever is in flight stays owned by its slot and is never freed. Nothing may start
            // any more: it would get a key that the system still knows.
            core.close();
            let left = core.slots.pending();
            leave_behind(core, &mut driver);
            return Err(Broken { error, left });
        }
    }
    // A destructor or a waker that panics must not cost the results behind it.
    let mut queue = results.drain(..);
    while let Err(payload) =
        catch_unwind(AssertUnwindSafe(|| queue.by_ref().for_each(|cqe| complete(core, cqe))))
    {
        core.note_panic(payload);
    }
    drop(queue);
    core.work.results.set(results);
    Ok(())
}

fn complete(core: &Core, cqe: Cqe) {
    if cqe.key.kind() == Kind::Op {
        core.counters().completions.add(1);
        core.slots.complete(cqe);
        return;
    }
    // Not found, not stopped, or not even looked for: the wish stands in any case.
    let refused = cqe.res < 0;
    let key = cqe.key.with_kind(Kind::Op);
    if refused && core.slots.cancel_refused(key) {
        core.work.refused.borrow_mut().push(key);
        if core.work.retry_at.get().is_none() {
            core.work.retry_at.set(Some(core.now() + RETRY));
        }
    }
}

/// Asks again for the ends that were refused, after a while.
fn retry_cancels(core: &Core) {
    if core.work.retry_at.get().is_some_and(|at| at <= core.now()) {
        core.work.retry_at.set(None);
        core.work.refused.borrow_mut().drain(..).for_each(|key| core.slots.cancel(key));
    }
}

/// What a runtime had to leave behind when it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Operations that had not ended at the deadline. Their buffers are never freed, since the
    /// system may still write to them.
    pub operations_leaked: u32,
}

/// Ends a core: nothing new starts, tasks are dropped, operations are cancelled and awaited until
/// `deadline`, and what the system still holds then is left to it for ever.
pub(crate) fn shut_down(core: &Rc<Core>, drain: Duration) -> ShutdownReport {
    let deadline = core.now().checked_add(drain);
    core.close();
    drop_tasks(core);
    core.mailbox().close();
    // Not only if there is said to be mail: a sender may have left something and be about to say
    // so, and whoever waits for an answer to it would wait for ever.
    open_mail(core);
    // Nothing starts any more, so this reaches everything; what is refused is asked again.
    core.slots.cancel_all();
    let mut broken = 0;
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(core.now()));
        if core.slots.pending() == 0 || left == Some(Duration::ZERO) {
            break;
        }
        let limit = left.unwrap_or(RETRY).min(RETRY);
        if let Err(Broken { left, .. }) = wait(core, Some(limit)) {
            broken = left;
            break;
        }
    }
    core.slots.abandon_finished();
    let operations_leaked = broken + core.slots.pending();
    let mut driver = std::mem::replace(&mut *core.driver(), Driver::Closed);
    if operations_leaked > 0 {
        leave_behind(core, &mut driver);
    }
    drop(driver);
    ShutdownReport { operations_leaked }
}

/// Keeps for ever what the system may still read or write for operations in flight.
fn leave_behind(core: &Core, driver: &mut Driver) {
    driver.leak();
    core.slots.leak();
    core.pool().leak();
}

/// Drops every task on this thread, with the tasks that their destructors wake.
fn drop_tasks(core: &Rc<Core>) {
    while core.task_count() > 0 {
        core.wake_all_tasks();
        take_mail(core);
        if core.ready_len() == 0 {
            // Another thread has woken the last tasks, and not yet put them into the mailbox.
            thread::yield_now();
        }
        while let Some(runnable) = core.next_ready() {
            if catch_unwind(AssertUnwindSafe(|| drop(runnable))).is_err() {
                core.counters().panics.add(1);
            }
        }
    }
}

#[cfg(all(test, ringbolt_loom))]
pub(crate) mod models;
