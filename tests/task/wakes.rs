//! Wakes from other threads.

use crate::support::*;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};

/// A number that another thread raises, and who is to be told.
#[derive(Default)]
struct Signal {
    count: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    fn raise(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        waker.into_iter().for_each(Waker::wake);
    }

    async fn reaches(&self, wanted: usize) {
        poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            if self.count.load(Ordering::SeqCst) >= wanted {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

#[test]
fn a_hundred_thousand_wakes_from_another_thread() {
    const WAKES: usize = 100_000;
    on_every_roomy_driver(async |_| {
        let signal = Arc::new(Signal::default());
        let theirs = signal.clone();
        let thread = std::thread::spawn(move || (0..WAKES).for_each(|_| theirs.raise()));
        let task = ringbolt::spawn({
            let signal = signal.clone();
            async move { signal.reaches(WAKES).await }
        });
        task.await.unwrap();
        // The future of `block_on` is woken in another way than a task.
        signal.reaches(WAKES).await;
        thread.join().unwrap();
    });
}

#[test]
fn no_wake_is_lost_between_two_threads() {
    const ROUNDS: usize = 10_000;
    on_every_driver(async |case| {
        let rounds = if case.tiny { ROUNDS / 10 } else { ROUNDS };
        let signal = Arc::new(Signal::default());
        let theirs = signal.clone();
        let (ask, asked) = mpsc::channel();
        let thread = std::thread::spawn(move || asked.iter().for_each(|()| theirs.raise()));
        // Half of the rounds in a task, half in the future of `block_on`. Each is a full round trip
        // with a core that goes to sleep in between, so that a lost wake ends the test.
        let task = ringbolt::spawn({
            let (signal, ask) = (signal.clone(), ask.clone());
            async move {
                for round in 1..=rounds / 2 {
                    ask.send(()).unwrap();
                    signal.reaches(round).await;
                }
            }
        });
        task.await.unwrap();
        for round in rounds / 2 + 1..=rounds {
            ask.send(()).unwrap();
            signal.reaches(round).await;
        }
        drop(ask);
        thread.join().unwrap();
    });
}

#[test]
fn many_threads_wake_many_tasks() {
    on_every_driver(async |_| {
        let signals: Vec<_> = (0..50).map(|_| Arc::new(Signal::default())).collect();
        let mut threads = Vec::new();
        for _ in 0..4 {
            let signals = signals.clone();
            threads.push(std::thread::spawn(move || {
                for _ in 0..100 {
                    signals.iter().for_each(|signal| signal.raise());
                }
            }));
        }
        let tasks: Vec<_> = signals
            .into_iter()
            .map(|signal| ringbolt::spawn(async move { signal.reaches(400).await }))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn wakers_outlive_their_runtime() {
    for case in cases() {
        let runtime = case.builder.build().unwrap();
        let (sender, wakers) = mpsc::channel();
        runtime.block_on(async {
            for _ in 0..10 {
                let sender = sender.clone();
                drop(ringbolt::spawn(async move {
                    poll_fn(|cx| {
                        sender.send(cx.waker().clone()).unwrap();
                        Poll::Ready(())
                    })
                    .await;
                    pending::<()>().await;
                }));
            }
            turns(3).await;
            poll_fn(|cx| {
                sender.send(cx.waker().clone()).unwrap();
                Poll::Ready(())
            })
            .await;
        });
        let wakers: Vec<Waker> = wakers.try_iter().collect();
        assert_eq!(wakers.len(), 11);
        let racing = wakers.clone();
        let thread = std::thread::spawn(move || racing.iter().for_each(Waker::wake_by_ref));
        drop(runtime);
        thread.join().unwrap();
        // Also after another runtime has begun on this thread, and on none at all.
        wakers[0].wake_by_ref();
        let next = case.builder.build().unwrap();
        next.block_on(async { wakers.iter().for_each(Waker::wake_by_ref) });
        drop(next);
        std::thread::spawn(move || wakers.into_iter().for_each(Waker::wake)).join().unwrap();
    }
}

/// A waker that sends mail to its own core. It is called where timers fire, which is after the mail
/// of the turn was taken and before the core goes to sleep.
struct MailToSelf {
    core: ringbolt::Remote,
    signal: Arc<Signal>,
}

impl std::task::Wake for MailToSelf {
    fn wake(self: Arc<Self>) {
        let signal = self.signal.clone();
        drop(self.core.spawn(move || async move { signal.raise() }));
    }
}

#[test]
fn mail_that_comes_just_before_a_sleep_is_seen() {
    on_every_driver(async |_| {
        let signal = Arc::new(Signal::default());
        let core = ringbolt::Remote::current();
        let waker = Waker::from(Arc::new(MailToSelf { core, signal: signal.clone() }));
        let mut sleep = Box::pin(ringbolt::sleep(std::time::Duration::from_millis(2)));
        let polled = Future::poll(sleep.as_mut(), &mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        // Nothing but the mail can end this wait.
        signal.reaches(1).await;
    });
}
