//! Time limits that lose nothing: cancel, wait for the end, and hand over what was there.

use crate::core::Core;
use crate::timer::Sleep;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a cancelled operation may take to end before it is left to itself.
const GRACE: Duration = Duration::from_millis(100);

/// A time limit around a future, as its operations see it.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    expired: Cell<bool>,
    waiting: Cell<u32>,
}

/// Whether a new operation must not start, because the limit around it has passed.
pub(super) fn is_expired(core: &Core) -> bool {
    core.with_scope(|scope| scope.is_some_and(|s| s.expired.get()))
}

/// Notes that an operation is still in flight; true if it is to be cancelled.
pub(super) fn note_waiting(core: &Core) -> bool {
    core.with_scope(|scope| {
        let Some(scope) = scope.filter(|s| s.expired.get()) else { return false };
        scope.waiting.set(scope.waiting.get() + 1);
        true
    })
}

/// The limit passed before the future was ready, and nothing had to be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit passed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs `future` for at most `limit`.
///
/// When the limit passes, the operations that `future` waits for are cancelled, and their end is
/// awaited: if one of them won, `future` goes on with its data and the result is `Ok`. An operation
/// that was cancelled gives its buffer back with an error for which
/// [`is_cancelled`](crate::is_cancelled) is true, so the result is `Ok` with that error inside. A
/// future that waits for something else (a queue, a timer) is dropped, and the result is
/// [`Elapsed`]; received bytes and accepted connections stay with their stream or listener.
///
/// # Errors
///
/// [`Elapsed`], also when an operation could not be cancelled within 100 ms (a read of a file on
/// a slow disk); its buffer is then freed when it ends.
///
/// # Panics
///
/// Outside of a runtime, when polled.
///
/// ```
/// use std::time::Duration;
/// # fn main() -> std::io::Result<()> {
/// ringbolt_runtime::Builder::new().build()?.block_on(async {
///     let never = std::future::pending::<()>();
///     assert!(ringbolt_runtime::timeout(Duration::from_millis(1), never).await.is_err());
/// });
/// # Ok(())
/// # }
/// ```
pub fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout { sleep: Sleep::new(limit), scope: Rc::default(), future: Some(future) }
}

/// The future of [`timeout`].
#[must_use = "a time limit does nothing before it is awaited"]
pub struct Timeout<F> {
    sleep: Sleep,
    scope: Rc<Scope>,
    future: Option<F>,
}

impl<F: Future> Timeout<F> {
    /// Polls the future with this limit around its operations.
    fn poll_inner(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is structurally pinned: it is never moved out, only dropped in place.
        let this = unsafe { self.get_unchecked_mut() };
        let Some(future) = &mut this.future else {
            panic!("a time limit was polled after it had finished")
        };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(future) };
        let core = Core::current();
        this.scope.waiting.set(0);
        let outer = core.swap_scope(Some(this.scope.clone()));
        if outer.as_ref().is_some_and(|s| s.expired.get()) {
            this.scope.expired.set(true);
        }
        let _restore = Restore { core: &core, outer: outer.clone() };
        let polled = future.poll(cx);
        if let Some(outer) = outer {
            outer.waiting.set(outer.waiting.get() + this.scope.waiting.get());
        }
        polled
    }

    fn give_up(self: Pin<&mut Self>) -> Poll<Result<F::Output, Elapsed>> {
        // SAFETY: the pinned future is dropped in place.
        unsafe { self.get_unchecked_mut() }.future = None;
        Poll::Ready(Err(Elapsed))
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.as_mut().poll_inner(cx) {
            return Poll::Ready(Ok(output));
        }
        // SAFETY: `sleep` is not pinned structurally.
        let this = unsafe { self.as_mut().get_unchecked_mut() };
        if Pin::new(&mut this.sleep).poll(cx).is_pending() {
            // After the limit, what is left to wait for are operations on their way out.
            if this.scope.expired.get() && this.scope.waiting.get() == 0 {
                return self.give_up();
            }
            return Poll::Pending;
        }
        if this.scope.expired.get() {
            return self.give_up();
        }
        this.scope.expired.set(true);
        this.sleep = Sleep::new(GRACE);
        if let Poll::Ready(output) = self.as_mut().poll_inner(cx) {
            return Poll::Ready(Ok(output));
        }
        // SAFETY: as above.
        let this = unsafe { self.as_mut().get_unchecked_mut() };
        if this.scope.waiting.get() == 0 || Pin::new(&mut this.sleep).poll(cx).is_ready() {
            return self.give_up();
        }
        Poll::Pending
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("sleep", &self.sleep).finish()
    }
}

/// Puts the outer limit back, also when the future panics.
struct Restore<'a> {
    core: &'a Rc<Core>,
    outer: Option<Rc<Scope>>,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.core.swap_scope(self.outer.take());
    }
}
