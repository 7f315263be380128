//! A place for one number between two threads: nothing but a lock and a waker, so that a round trip
//! through two of them costs what the runtimes' wakes cost.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Clones share the place.
#[derive(Clone, Default)]
pub(crate) struct Mail(Arc<Mutex<Place>>);

#[derive(Default)]
struct Place {
    number: Option<u64>,
    waker: Option<Waker>,
}

impl Mail {
    /// Puts a number into the place and wakes who waits for it.
    pub(crate) fn send(&self, number: u64) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.number = Some(number);
        let waker = place.waker.take();
        drop(place);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the number out, as soon as there is one.
    pub(crate) async fn receive(&self) -> u64 {
        poll_fn(|cx| {
            let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match place.number.take() {
                Some(number) => Poll::Ready(number),
                None => {
                    place.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
