//! Calls that block, on helper threads.

use crate::driver::helper::{BLOCKING, Helpers, RESOLVER};
use crate::sync::oneshot;
use crate::task::JoinHandle;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `call` on a helper thread and awaits its result.
///
/// At most 256 such calls run at a time; more wait for their turn. The call runs to its end even if
/// the handle is dropped, unless it has not begun. A panic goes to whoever awaits the handle.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let sum = ringbolt_runtime::Builder::new().build()?.block_on(async {
///     ringbolt_runtime::spawn_blocking(|| (1..=100).sum::<u32>()).await.unwrap()
/// });
/// assert_eq!(sum, 5050);
/// # Ok(())
/// # }
/// ```
pub fn spawn_blocking<T, F>(call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    run_on(&BLOCKING, call)
}

/// Runs a name resolution, in a small pool of its own: a resolver that hangs delays no other call.
#[doc(hidden)]
pub fn spawn_resolver<T, F>(call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    run_on(&RESOLVER, call)
}

fn run_on<T, F>(helpers: &'static Helpers, call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let job = move || {
        if sender.is_canceled() {
            return;
        }
        let result = catch_unwind(AssertUnwindSafe(call));
        // Nobody waits any more if this fails.
        let _ = sender.send(result);
    };
    #[cfg(feature = "sim")]
    if crate::core::Core::virtual_now().is_some() {
        // A simulated world has one thread: what blocks takes no time in it.
        job();
        return JoinHandle::of_channel(receiver);
    }
    // Without a thread the job is dropped, and the handle says that the call was aborted.
    let _ = helpers.run(Box::new(job));
    JoinHandle::of_channel(receiver)
}
