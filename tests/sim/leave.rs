//! Ways to leave a future: at a poll, at a time, for good or by mistake.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// When and how a future is left that is not ready by then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    Never,
    /// It is dropped when it is pending after so many polls.
    Drop(usize),
    /// It is forgotten when it is pending after so many polls.
    Forget(usize),
    /// It is dropped, as the branch of a `select` that lost.
    DropAt(Duration),
    /// Its time limit passes.
    Limit(Duration),
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Left<T> {
    Ready(T),
    Dropped,
    Forgotten,
}

impl<T> Left<T> {
    pub(crate) fn ready(self) -> Option<T> {
        match self {
            Left::Ready(value) => Some(value),
            _ => None,
        }
    }
}

impl Leave {
    pub(crate) async fn run<F: Future>(self, future: F) -> Left<F::Output> {
        match self {
            Leave::Never => Left::Ready(future.await),
            Leave::Limit(limit) => match ringbolt::timeout(limit, future).await {
                Ok(value) => Left::Ready(value),
                Err(_) => Left::Dropped,
            },
            Leave::Drop(polls) => after(polls, &mut Box::pin(future)).await,
            Leave::Forget(polls) => {
                let mut future = Box::pin(future);
                match after(polls, &mut future).await {
                    Left::Dropped => {
                        std::mem::forget(future);
                        Left::Forgotten
                    }
                    left => left,
                }
            }
            Leave::DropAt(limit) => {
                let mut future = pin!(future);
                let mut sleep = pin!(ringbolt::sleep(limit));
                poll_fn(|cx| match future.as_mut().poll(cx) {
                    Poll::Ready(value) => Poll::Ready(Left::Ready(value)),
                    Poll::Pending => sleep.as_mut().poll(cx).map(|()| Left::Dropped),
                })
                .await
            }
        }
    }
}

async fn after<F: Future>(polls: usize, future: &mut Pin<Box<F>>) -> Left<F::Output> {
    let mut count = 0;
    poll_fn(|cx| {
        count += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Left::Ready(value)),
            Poll::Pending if count >= polls => Poll::Ready(Left::Dropped),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
