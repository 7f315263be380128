//! Tasks: futures that a core polls, and the handles on them.
//!
//! The cell of a task comes from `async-task`. Its waker may be used on any thread: on the task's
//! own core it puts the task into the run queue, elsewhere into the core's mailbox. The future is
//! polled and dropped on its own core only (SAFETY.md, S2). A panic in a task ends that task, and
//! goes to whoever joins it.

mod join;

use crate::core::Core;
use join::Made;
pub(crate) use join::Payload;
pub use join::{JoinError, JoinHandle};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub(crate) type Runnable = async_task::Runnable<Meta>;

/// What is kept with a task besides its future.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// The task's place in its core's list, as long as it has not ended.
    index: u32,
    /// The number of its core, since others have tasks at the same place of their lists.
    core: u32,
}

/// Spawns `future` on the current core. It runs to its end even if the handle is dropped.
///
/// # Panics
///
/// Outside of a runtime.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let sum = ringbolt_runtime::Builder::new().build()?.block_on(async {
///     let task = ringbolt_runtime::spawn(async { 1 + 1 });
///     task.await.unwrap()
/// });
/// assert_eq!(sum, 2);
/// # Ok(())
/// # }
/// ```
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_on(&Core::current(), future)
}

/// Spawns `future` on the core of the calling thread.
pub(crate) fn spawn_on<F>(core: &Rc<Core>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let index = core.next_task();
    core.counters().spawned.add(1);
    let place = Place { core: core.clone(), index };
    let tracked = Tracked { future: ManuallyDrop::new(future), place };
    let mailbox = core.mailbox().clone();
    let schedule = move |runnable: Runnable| Core::schedule(&mailbox, runnable);
    let short = u32::try_from(index).expect("memory for four billion tasks is not to be had");
    let meta = Meta { index: short, core: core.number() };
    let builder = async_task::Builder::new().metadata(meta);
    // SAFETY: the future is not `Send`, and the runnable is only run and dropped on this thread:
    // `schedule` moves it to the mailbox of this core, which forgets it once the core has gone.
    // The future is `'static`, and `schedule` is `Send`, `Sync` and `'static`.
    let (runnable, task) = unsafe { builder.spawn_unchecked(|_| tracked, schedule) };
    core.register_task(index, runnable.waker());
    if core.is_closed() {
        // Nothing is polled any more; the handle will say that the task was aborted.
        drop(runnable);
    } else {
        core.enqueue(runnable);
    }
    JoinHandle::of_task(task.fallible(), meta)
}

/// Runs a task once, or drops it if it was aborted.
pub(crate) fn run(core: &Core, runnable: Runnable) {
    if core.is_aborted(runnable.metadata().index as usize) {
        drop(runnable);
    } else {
        runnable.run();
    }
}

/// A future that turns a panic into a result and leaves its core's list when it is dropped. A panic
/// in its destructor ends here: the cell of the task would make it the end of the process.
struct Tracked<F> {
    future: ManuallyDrop<F>,
    place: Place,
}

struct Place {
    core: Rc<Core>,
    index: usize,
}

impl<F: Future> Future for Tracked<F> {
    type Output = Made<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned structurally; it is never moved out, and dropped in place.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Made::new(Ok(output))),
            Err(payload) => {
                this.place.core.counters().panics.add(1);
                #[cfg(feature = "sim")]
                crate::sim::say_panic(&this.place.core);
                Poll::Ready(Made::new(Err(payload)))
            }
        }
    }
}

impl<F> Drop for Tracked<F> {
    fn drop(&mut self) {
        let future = &mut self.future;
        // SAFETY: the future is dropped here only, and not used afterwards.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ManuallyDrop::drop(future) }));
        if let Err(payload) = dropped {
            self.place.core.note_panic(payload);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.unregister_task(self.index);
    }
}

/// Lets every other ready task of this core run once.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(all(test, ringbolt_loom))]
mod models;

#[cfg(all(test, not(ringbolt_loom)))]
mod tests;
