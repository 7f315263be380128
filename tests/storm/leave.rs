//! The ways in which a future is left.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How a future is left that is not ready in time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    /// Dropped after so many polls, one in each turn.
    Drop(u32),
    /// Forgotten after so many polls.
    Forget(u32),
    /// By a time limit, which waits for the end of the operation.
    Limit(Duration),
    /// By a time limit, and then the limit itself is dropped after so many polls.
    LimitDropped(Duration, u32),
    /// As the branch of a `select` that lost against a timer.
    Select(Duration),
}

thread_local! {
    /// Futures that are never dropped while their runtime lives.
    static FORGOTTEN: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    static FOR_GOOD: Cell<usize> = const { Cell::new(0) };
    static MAY_LEAK: Cell<bool> = const { Cell::new(true) };
}

/// Says whether this round may forget for good, which costs the memory of its runtime.
pub(crate) fn may_leak(may: bool) {
    MAY_LEAK.set(may);
}

/// Futures of operations that were forgotten since [`forget_all`].
pub(crate) fn forgotten() -> usize {
    FORGOTTEN.with_borrow(Vec::len) + FOR_GOOD.get()
}

/// Notes the future of an operation that is gone for good, see [`run_borrowed`].
pub(crate) fn note_forgotten() {
    FOR_GOOD.set(FOR_GOOD.get() + 1);
}

/// Drops what was forgotten, or forgets it for good. The runtime must have ended.
pub(crate) fn forget_all(for_good: bool) {
    FOR_GOOD.set(0);
    let forgotten = FORGOTTEN.take();
    if for_good && MAY_LEAK.get() {
        std::mem::forget(forgotten);
    }
}

impl Leave {
    pub(crate) fn random() -> Leave {
        let limit = Duration::from_nanos(fastrand::u64(..1_000_000));
        match fastrand::u8(..32) {
            0..=3 => Leave::Forget(polls()),
            4..=5 => Leave::Limit(limit),
            6 => Leave::LimitDropped(limit, polls()),
            7..=8 => Leave::Select(limit),
            _ => Leave::Drop(polls()),
        }
    }
}

/// The first poll, the second or a later one.
fn polls() -> u32 {
    match fastrand::u8(..8) {
        0..=3 => 1,
        4..=5 => 2,
        _ => fastrand::u32(3..8),
    }
}

/// Runs `future` until it is ready or left as `leave` says.
pub(crate) async fn run<F>(mut future: F, leave: Leave) -> Option<F::Output>
where
    F: Future + Unpin + 'static,
{
    match leave {
        Leave::Drop(polls) => poll_some(&mut future, polls).await,
        Leave::Forget(polls) => {
            let output = poll_some(&mut future, polls).await;
            if output.is_none() {
                FORGOTTEN.with_borrow_mut(|forgotten| forgotten.push(Box::new(future)));
            }
            output
        }
        Leave::Limit(limit) => ringbolt::timeout(limit, future).await.ok(),
        Leave::LimitDropped(limit, polls) => {
            poll_some(&mut ringbolt::timeout(limit, future), polls).await.and_then(Result::ok)
        }
        Leave::Select(limit) => within(limit, future).await,
    }
}

/// Runs a future that may borrow; `Forget` forgets it for good. What it borrows from may keep the
/// operation; if nothing does, [`note_forgotten`] is to be called.
pub(crate) async fn run_borrowed<F: Future>(future: F, leave: Leave) -> Option<F::Output> {
    let mut future = Box::pin(future);
    match leave {
        Leave::Drop(polls) => poll_some(&mut future, polls).await,
        Leave::Forget(polls) => {
            let output = poll_some(&mut future, polls).await;
            if output.is_none() && MAY_LEAK.get() {
                std::mem::forget(future);
            }
            output
        }
        Leave::Limit(limit) => ringbolt::timeout(limit, future).await.ok(),
        Leave::LimitDropped(limit, polls) => {
            poll_some(&mut ringbolt::timeout(limit, future), polls).await.and_then(Result::ok)
        }
        Leave::Select(limit) => within(limit, future).await,
    }
}

/// Polls at most so many times, once a turn.
pub(crate) async fn poll_some<F: Future + Unpin>(future: &mut F, polls: u32) -> Option<F::Output> {
    let mut left = polls;
    poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        left -= 1;
        if left == 0 {
            return Poll::Ready(None);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// The future against a timer; what lost is dropped.
async fn within<F: Future + Unpin>(limit: Duration, mut future: F) -> Option<F::Output> {
    let mut sleep = ringbolt::sleep(limit);
    poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| None),
    })
    .await
}

/// Two futures against each other, and the first output; what lost is dropped.
pub(crate) async fn first_of<A, B>(mut a: A, mut b: B) -> Result<A::Output, B::Output>
where
    A: Future + Unpin,
    B: Future + Unpin,
{
    poll_fn(|cx| match Pin::new(&mut a).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => Pin::new(&mut b).poll(cx).map(Err),
    })
    .await
}
