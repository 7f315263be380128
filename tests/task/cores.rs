//! Several cores and what passes between them.

use crate::support::*;
use ringbolt::{Builder, PoolConfig, Remote, cores};
use std::future::{pending, poll_fn};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

#[test]
fn results_come_in_the_order_of_the_cores() {
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        let names = Mutex::new(Vec::new());
        let results = cores(4).builder(case.builder).run(|worker| {
            let name = std::thread::current().name().unwrap_or_default().to_string();
            names.lock().unwrap().push(name);
            async move {
                assert_eq!((worker.count(), worker.remotes().len()), (4, 4));
                // The later ones are ready first.
                ringbolt::sleep(Duration::from_millis(8 - 2 * worker.index() as u64)).await;
                worker.index() * 10
            }
        });
        assert_eq!(results.unwrap(), [0, 10, 20, 30]);
        let mut names = names.into_inner().unwrap();
        names.sort();
        assert_eq!(names, ["ringbolt-0", "ringbolt-1", "ringbolt-2", "ringbolt-3"]);
    }
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(cores(0).pin(false).run(async |_| ()).unwrap().len(), all);
}

#[test]
fn cores_spawn_on_one_another() {
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        let sums = cores(3).builder(case.builder).run(async |worker| {
            let mut sum = 0;
            let mut calls = Vec::new();
            for round in 0..100 {
                for (target, remote) in worker.remotes().iter().enumerate() {
                    // The future is made over there, and need not be `Send`.
                    calls.push(remote.spawn(move || async move {
                        let local = std::rc::Rc::new(round);
                        let thread = std::thread::current();
                        assert_eq!(thread.name(), Some(format!("ringbolt-{target}").as_str()));
                        turns(round % 3).await;
                        *local
                    }));
                }
            }
            for call in calls {
                sum += call.await.unwrap();
            }
            // Nobody leaves while the others may still ask.
            arrive(&worker).await;
            sum
        });
        assert_eq!(sums.unwrap(), [3 * 4950; 3]);
    }
}

static ARRIVED: AtomicUsize = AtomicUsize::new(0);

/// Waits until all cores are here; used by one test only.
async fn arrive(worker: &ringbolt::Worker) {
    let count = worker.count();
    let target = (ARRIVED.fetch_add(1, Ordering::SeqCst) / count + 1) * count;
    until("all cores are here", || ARRIVED.load(Ordering::SeqCst) >= target).await;
}

#[test]
fn remote_tasks_panic_and_are_aborted() {
    on_every_driver(async |_| {
        let remote = Remote::current();
        let error = remote.spawn(|| async { panic!("over there") }).await.unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: over there");
        let error = remote.spawn(making_panics).await.map(|_| ()).unwrap_err();
        assert!(error.is_panic(), "{error}");
        // It runs on, and its result is thrown away.
        let mut waiting = remote.spawn(|| ringbolt::sleep(2 * SHORT));
        turns(3).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_aborted());
        // A thread without a runtime asks, too.
        let answer = std::thread::spawn(move || remote.spawn(|| async { 42 }));
        assert_eq!(answer.join().unwrap().await.unwrap(), 42);
    });
}

#[test]
fn a_handle_aborts_its_own_task_from_anywhere() {
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        let aborted = AtomicUsize::new(0);
        cores(2)
            .builder(case.builder.clone())
            .run(async |worker| {
                if worker.index() == 1 {
                    return until("the other core is done", || aborted.load(Ordering::SeqCst) == 1)
                        .await;
                }
                let mut theirs = ringbolt::spawn(pending::<()>());
                let there = worker.remotes()[1].spawn(move || async move {
                    // It has the place in the list of its core that the other has in its own.
                    let innocent = ringbolt::spawn(async {
                        turns(10).await;
                        1
                    });
                    theirs.abort();
                    assert!(theirs.is_finished());
                    assert!(theirs.await.unwrap_err().is_aborted());
                    innocent.await.unwrap()
                });
                assert_eq!(there.await.unwrap(), 1);
                until("the task is dropped", || ringbolt::metrics().tasks == 0).await;
                aborted.store(1, Ordering::SeqCst);
            })
            .unwrap();
        // Nor does it need a runtime that runs.
        let runtime = case.builder.build().unwrap();
        let endless = poll_fn(|_| Poll::Ready(ringbolt::spawn(pending::<()>())));
        let mut handle = runtime.block_on(endless);
        handle.abort();
        assert!(runtime.block_on(handle).unwrap_err().is_aborted());
        runtime.block_on(until("it is dropped", || ringbolt::metrics().tasks == 0));
    }
}

fn making_panics() -> std::future::Ready<()> {
    panic!("while it was made")
}

#[test]
fn a_core_that_has_gone_aborts_what_is_sent_to_it() {
    for case in cases() {
        let runtime = case.builder.build().unwrap();
        let remote = runtime.remote();
        let early = remote.spawn(|| async { 1 });
        drop(runtime);
        let late = remote.spawn(|| async { 2 });
        let next = case.builder.build().unwrap();
        next.block_on(async {
            assert!(early.await.unwrap_err().is_aborted());
            assert!(late.await.unwrap_err().is_aborted());
        });
    }
}

#[test]
fn a_runtime_that_cannot_start_says_why() {
    let bad = PoolConfig { buffer_len: 1, ..PoolConfig::default() };
    let error = Builder::new().pool(bad).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("buffer_len is 1"), "{error}");
    let ran = AtomicUsize::new(0);
    let result = cores(3).builder(Builder::new().pool(bad)).run(async |_| {
        ran.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(ran.into_inner(), 0);
}

#[test]
fn a_panic_on_a_core_reaches_the_caller() {
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        let ended = AtomicUsize::new(0);
        let run = || {
            cores(3).builder(case.builder.clone()).run(async |worker| {
                assert!(worker.index() != 1, "core {} is broken", worker.index());
                ringbolt::sleep(SHORT).await;
                ended.fetch_add(1, Ordering::SeqCst);
            })
        };
        let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic_text(&*payload), "core 1 is broken");
        assert_eq!(ended.into_inner(), 2, "the others ended in peace");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn every_core_serves_its_share_of_a_port() {
    use ringbolt::net::{ListenOptions, TcpStream};
    use ringbolt::spawn;
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        // Keeps the port for the listeners, and has no share in it, since it does not listen.
        let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
        let keeper = socket2::Socket::new(domain, kind, None).unwrap();
        keeper.set_reuse_port(true).unwrap();
        keeper.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = keeper.local_addr().unwrap().as_socket().unwrap();
        let served = AtomicUsize::new(0);
        let shares = cores(2).builder(case.builder).run(async |worker| {
            let options = ListenOptions::new().reuse_port(true);
            let mut listener = options.listen(port).await.unwrap();
            let clients = (worker.index() == 0).then(|| {
                spawn(async move {
                    for _ in 0..60 {
                        let mut stream = TcpStream::connect(port).await.unwrap();
                        stream.write_all("x").await.unwrap();
                        assert!(stream.recv().await.unwrap().is_none());
                    }
                })
            });
            let mut share = 0;
            while served.load(Ordering::SeqCst) < 60 {
                if let Ok(Ok((mut stream, _))) = ringbolt::timeout(SHORT, listener.accept()).await {
                    assert_eq!(&*stream.recv().await.unwrap().expect("a byte"), b"x");
                    served.fetch_add(1, Ordering::SeqCst);
                    share += 1;
                }
            }
            if let Some(clients) = clients {
                clients.await.unwrap();
            }
            share
        });
        assert_eq!(shares.unwrap().iter().sum::<usize>(), 60);
    }
}

#[test]
fn a_handle_aborts_its_own_task_from_any_core_and_from_none() {
    for case in cases() {
        let _deadline = deadline(case.name, Location::caller());
        let (sender, receiver) = std::sync::mpsc::channel();
        let receiver = Mutex::new(receiver);
        let arrived = AtomicUsize::new(0);
        let ended = cores(2).builder(case.builder.clone()).run(async |worker| {
            // The first task of each core.
            let mut mine = ringbolt::spawn(std::future::pending::<()>());
            turns(3).await;
            let ended = if worker.index() == 0 {
                sender.send(mine).unwrap();
                until("the task has gone", || ringbolt::metrics().tasks == 1).await;
                true
            } else {
                let mut other = receiver.lock().unwrap().recv().unwrap();
                other.abort();
                assert!(other.await.unwrap_err().is_aborted());
                turns(3).await;
                let untouched = !mine.is_finished();
                mine.abort();
                untouched && mine.await.unwrap_err().is_aborted()
            };
            arrived.fetch_add(1, Ordering::SeqCst);
            until("both cores are here", || arrived.load(Ordering::SeqCst) == 2).await;
            ended
        });
        assert_eq!(ended.unwrap(), [true, true]);
        let runtime = case.builder.build().unwrap();
        let spawned = async { [ringbolt::spawn(std::future::pending::<()>())] };
        let [mut left] = runtime.block_on(spawned);
        left.abort();
        runtime.block_on(until("the task has gone", || ringbolt::metrics().tasks == 0));
    }
}
