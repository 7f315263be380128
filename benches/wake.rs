//! Wakes: of a task by another one, and of a core by another thread.

mod shared;

use criterion::{Criterion, criterion_group, criterion_main};
use ringbolt::{Builder, DriverKind, Remote, spawn, yield_now};
use shared::{DRIVERS, runtime, settings, time};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;

fn local(c: &mut Criterion) {
    let runtime = runtime(DriverKind::Auto);
    c.bench_function("wake/self", |b| {
        time(b, &runtime, async |rounds| {
            for _ in 0..rounds {
                yield_now().await;
            }
        });
    });
    c.bench_function("wake/other task and back", |b| {
        time(b, &runtime, async |rounds| {
            let (there, back) = (Turn::default(), Turn::default());
            let answers = spawn({
                let (there, back) = (there.clone(), back.clone());
                async move {
                    for _ in 0..rounds {
                        there.take().await;
                        back.give();
                    }
                }
            });
            for _ in 0..rounds {
                there.give();
                back.take().await;
            }
            answers.await.expect("it has no reason to panic");
        });
    });
}

fn remote(c: &mut Criterion) {
    for driver in DRIVERS {
        let (hand_over, remote) = mpsc::channel();
        let (stop, until) = futures_channel::oneshot::channel::<()>();
        let other = thread::spawn(move || {
            let runtime = Builder::new().driver(driver).build().expect("the driver starts");
            hand_over.send(runtime.remote()).expect("the other side waits");
            // An error says that the sender has gone, which is as good.
            let _ = runtime.block_on(until);
        });
        let remote: Remote = remote.recv().expect("the other thread runs");
        let runtime = runtime(driver);
        c.bench_function(&format!("wake/other core and back/{driver:?}"), |b| {
            time(b, &runtime, async |rounds| {
                for _ in 0..rounds {
                    let task = remote.spawn(|| async {});
                    task.await.expect("it has no reason to panic");
                }
            });
        });
        drop(stop);
        other.join().expect("the other thread ends");
    }
}

/// One task waits for it, another one gives it.
#[derive(Clone, Default)]
struct Turn(Rc<RefCell<(bool, Option<Waker>)>>);

impl Turn {
    fn give(&self) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn take(&self) {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if std::mem::take(&mut state.0) {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

criterion_group! { name = benches; config = settings(); targets = local, remote }
criterion_main!(benches);
