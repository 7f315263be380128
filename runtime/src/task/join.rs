//! Handles on tasks, blocking calls and tasks of other cores.

use super::Meta;
use crate::core::Core;
use crate::sync::{AtomicBool, oneshot};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// What a panic carried.
pub(crate) type Payload = Box<dyn Any + Send>;

/// What a task made, until somebody takes it. A panic in its destructor ends here: the cell of the
/// task would make it the end of the process.
pub(crate) struct Made<T>(Option<Result<T, Payload>>);

impl<T> Made<T> {
    pub(super) fn new(result: Result<T, Payload>) -> Made<T> {
        Made(Some(result))
    }

    fn take(mut self) -> Result<T, Payload> {
        self.0.take().expect("taken once, by the handle")
    }
}

impl<T> Drop for Made<T> {
    fn drop(&mut self) {
        let Some(result) = self.0.take() else { return };
        #[cfg(feature = "sim")]
        let result = match result {
            // Nobody will hear of this panic: a simulated world fails.
            Err(payload) => match crate::sim::unobserved(payload) {
                Some(payload) => Err(payload),
                None => return,
            },
            made => made,
        };
        if catch_unwind(AssertUnwindSafe(|| drop(result))).is_err()
            && let Some(core) = Core::try_current()
        {
            core.counters().panics.add(1);
        }
    }
}

/// Awaits the end of a task. Dropping it lets the task run on.
pub struct JoinHandle<T> {
    inner: Inner<T>,
}

enum Inner<T> {
    Task(Option<async_task::FallibleTask<Made<T>, Meta>>, Meta),
    /// A task that was aborted from elsewhere.
    Aborted,
    Channel(oneshot::Receiver<Result<T, Payload>>),
    Remote(oneshot::Receiver<Result<T, Payload>>, Arc<AtomicBool>),
}

impl<T> JoinHandle<T> {
    pub(super) fn of_task(
        task: async_task::FallibleTask<Made<T>, Meta>,
        meta: Meta,
    ) -> JoinHandle<T> {
        JoinHandle { inner: Inner::Task(Some(task), meta) }
    }

    pub(crate) fn of_channel(receiver: oneshot::Receiver<Result<T, Payload>>) -> JoinHandle<T> {
        JoinHandle { inner: Inner::Channel(receiver) }
    }

    /// The handle on a task of another core, which looks at `aborted` before it begins.
    pub(crate) fn of_remote(
        receiver: oneshot::Receiver<Result<T, Payload>>,
        aborted: Arc<AtomicBool>,
    ) -> JoinHandle<T> {
        JoinHandle { inner: Inner::Remote(receiver, aborted) }
    }

    /// Ends the task at its next turn; its future is dropped on its own core. A task that has
    /// finished keeps its result. A blocking call or a task of another core that has begun runs on,
    /// and its result is thrown away.
    pub fn abort(&mut self) {
        match &mut self.inner {
            Inner::Task(Some(task), meta) if !task.is_finished() => match Core::try_current() {
                Some(core) if core.number() == meta.core => core.abort_task(meta.index as usize),
                // Elsewhere that place may be another task's. Dropping this half of the task
                // cancels it, and sends it home, where its future is dropped.
                _ => self.inner = Inner::Aborted,
            },
            Inner::Task(..) | Inner::Aborted => {}
            Inner::Channel(receiver) => receiver.close(),
            Inner::Remote(receiver, aborted) => {
                aborted.store(true, Ordering::Relaxed);
                receiver.close();
            }
        }
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        match &self.inner {
            Inner::Task(task, _) => task.as_ref().is_none_or(|t| t.is_finished()),
            Inner::Aborted => true,
            Inner::Channel(_) | Inner::Remote(..) => false,
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = match &mut self.inner {
            Inner::Task(Some(task), _) => Pin::new(task).poll(cx).map(|made| made.map(Made::take)),
            Inner::Task(None, _) => panic!("a join handle was polled after it had finished"),
            Inner::Aborted => Poll::Ready(None),
            Inner::Channel(receiver) | Inner::Remote(receiver, _) => {
                Pin::new(receiver).poll(cx).map(Result::ok)
            }
        };
        ended.map(|result| match result {
            Some(Ok(value)) => Ok(value),
            Some(Err(payload)) => Err(JoinError::Panicked(payload)),
            None => Err(JoinError::Aborted),
        })
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Inner::Task(task, _) = &mut self.inner
            && let Some(task) = task.take()
        {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// Why a task has no result.
#[non_exhaustive]
pub enum JoinError {
    /// It was aborted, or its core shut down.
    Aborted,
    /// It panicked; the payload is that of the panic.
    Panicked(Box<dyn Any + Send>),
}

impl JoinError {
    /// Whether it was aborted.
    pub fn is_aborted(&self) -> bool {
        matches!(self, JoinError::Aborted)
    }

    /// Whether it panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, JoinError::Panicked(_))
    }

    /// What the panic said, if it was text.
    fn message(&self) -> Option<&str> {
        let JoinError::Panicked(payload) = self else { return None };
        payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.message()) {
            (JoinError::Aborted, _) => f.write_str("the task was aborted"),
            (_, Some(message)) => write!(f, "the task panicked: {message}"),
            (_, None) => f.write_str("the task panicked"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> std::io::Error {
        std::io::Error::other(error.to_string())
    }
}
