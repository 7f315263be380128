//! What models run on: loom's types, and a channel made of them.

pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use loom::thread;
pub(crate) use ringbolt_buffers::sync::{AtomicBool, AtomicUsize};

#[cfg(test)]
pub(crate) fn model(name: &str, model: impl Fn() + Send + Sync + 'static) {
    ringbolt_buffers::sync::explore("runtime", name, model);
}

loom::lazy_static! {
    /// Whether the limits of all waits have passed.
    static ref PASSED: AtomicBool = AtomicBool::new(false);
}

/// Time does not pass in a model before this. Who waits has to be notified after.
#[cfg(test)]
pub(crate) fn let_time_pass() {
    PASSED.store(true, std::sync::atomic::Ordering::SeqCst);
}

pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    _: std::time::Duration,
    mut condition: impl FnMut(&mut T) -> bool,
) -> (MutexGuard<'a, T>, bool) {
    while condition(&mut guard) {
        if PASSED.load(std::sync::atomic::Ordering::SeqCst) {
            return (guard, true);
        }
        guard = condvar.wait(guard).expect("loom poisons nothing");
    }
    (guard, false)
}

/// The one-shot channel of `futures-channel`, as far as it is used here. Loom cannot look into that
/// one, so this keeps its promises behind one lock.
pub(crate) mod oneshot {
    use loom::sync::Mutex;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    #[derive(Debug)]
    pub(crate) struct Canceled;

    struct State<T> {
        value: Option<T>,
        waker: Option<Waker>,
        sender_gone: bool,
        closed: bool,
    }

    pub(crate) struct Sender<T>(Arc<Mutex<State<T>>>);
    pub(crate) struct Receiver<T>(Arc<Mutex<State<T>>>);

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let state = State { value: None, waker: None, sender_gone: false, closed: false };
        let state = Arc::new(Mutex::new(state));
        (Sender(state.clone()), Receiver(state))
    }

    impl<T> Sender<T> {
        pub(crate) fn send(self, value: T) -> Result<(), T> {
            let mut state = self.0.lock().expect("loom poisons nothing");
            if state.closed {
                return Err(value);
            }
            state.value = Some(value);
            Ok(())
        }

        pub(crate) fn is_canceled(&self) -> bool {
            self.0.lock().expect("loom poisons nothing").closed
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            let mut state = self.0.lock().expect("loom poisons nothing");
            state.sender_gone = true;
            let waker = state.waker.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn close(&mut self) {
            self.0.lock().expect("loom poisons nothing").closed = true;
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, Canceled>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let mut state = self.0.lock().expect("loom poisons nothing");
            if let Some(value) = state.value.take() {
                return Poll::Ready(Ok(value));
            }
            if state.sender_gone || state.closed {
                return Poll::Ready(Err(Canceled));
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            let mut state = self.0.lock().expect("loom poisons nothing");
            state.closed = true;
            let left = (state.value.take(), state.waker.take());
            drop(state);
            drop(left);
        }
    }
}
