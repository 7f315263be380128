//! Panics at every await and in destructors, with operations in flight: others go on.

use crate::{alone, at_rest, figure, on_every_driver, until};
use ringbolt::fs::{File, OpenOptions};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::op::{Fd, Read, Recv, Submit};
use ringbolt::{Builder, IoBuf, IoBufMut, sleep, spawn, timeout};
use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Panics at the poll whose turn it is.
#[derive(Clone)]
struct Mine {
    polls_left: Rc<Cell<u64>>,
    /// After the poll, so that its operation is in flight, or before it.
    after: bool,
}

/// Without the message that a panic prints.
fn panic_on_purpose() -> ! {
    std::panic::resume_unwind(Box::new("on purpose"))
}

impl Mine {
    async fn on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let left = self.polls_left.get();
            self.polls_left.set(left.wrapping_sub(1));
            if left == 0 && !self.after {
                panic_on_purpose();
            }
            let polled = future.as_mut().poll(cx);
            if left == 0 {
                panic_on_purpose();
            }
            polled
        })
        .await
    }
}

/// A program that awaits everything there is, each await under the mine.
async fn script(mine: Mine, path: &Path) {
    let mut listener = mine.on(TcpListener::bind("127.0.0.1:0")).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = mine.on(TcpStream::connect(address)).await.unwrap();
    let (mut server, _) = mine.on(listener.accept()).await.unwrap();
    mine.on(client.write_all(vec![7; 100])).await.unwrap();
    let chunk = mine.on(server.recv()).await.unwrap().expect("bytes");
    mine.on(server.write_all(chunk)).await.unwrap();
    mine.on(client.read(Vec::with_capacity(100))).await.unwrap();
    let idle = mine.on(timeout(Duration::from_millis(1), server.recv())).await;
    assert!(!matches!(idle, Ok(Ok(_))));
    // Larger than what the sockets hold, so that both directions are in flight.
    let (sent, got) = (vec![1; 4 << 20], Rc::new(Cell::new(0)));
    let theirs = got.clone();
    let reading = spawn(async move {
        while let Ok(Some(chunk)) = server.recv().await {
            theirs.set(theirs.get() + chunk.len());
        }
    });
    mine.on(client.write_all(sent)).await.unwrap();
    mine.on(client.shutdown(std::net::Shutdown::Write)).await.unwrap();
    mine.on(reading).await.unwrap();
    assert_eq!(got.get(), 4 << 20);
    let mut options = OpenOptions::new();
    let file = mine.on(options.read(true).write(true).create(true).open(path)).await.unwrap();
    mine.on(file.write_all_at(vec![3; 1000], 0)).await.unwrap();
    mine.on(file.sync_data()).await.unwrap();
    mine.on(file.read_at(Vec::with_capacity(1000), 0)).await.unwrap();
    mine.on(file.metadata()).await.unwrap();
    mine.on(file.close()).await.unwrap();
    mine.on(ringbolt::fs::read(path)).await.unwrap();
    mine.on(ringbolt::fs::remove_file(path)).await.unwrap();
    mine.on(sleep(Duration::from_micros(100))).await;
    mine.on(ringbolt::spawn_blocking(|| 1)).await.unwrap();
    mine.on(ringbolt::yield_now()).await;
}

/// A connection that does not care: it tells how often it was answered.
async fn bystander() -> (ringbolt::JoinHandle<()>, Rc<Cell<u64>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut ours = TcpStream::from_std(OwnedFd::from(ours).into()).unwrap();
    let mut theirs = TcpStream::from_std(OwnedFd::from(theirs).into()).unwrap();
    drop(spawn(async move {
        while let Some(chunk) = theirs.recv().await.unwrap() {
            theirs.write_all(chunk).await.unwrap();
        }
    }));
    let trips = Rc::new(Cell::new(0u64));
    let counted = trips.clone();
    let task = spawn(async move {
        loop {
            let sent = counted.get().to_le_bytes().to_vec();
            let sent = ours.write_all(sent).await.unwrap().1;
            assert_eq!(*ours.recv().await.unwrap().expect("an echo"), *sent);
            counted.set(counted.get() + 1);
            sleep(Duration::from_micros(50)).await;
        }
    });
    (task, trips)
}

#[test]
fn a_panic_at_any_await_ends_its_task_only() {
    if !alone(module_path!(), "a_panic_at_any_await_ends_its_task_only") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path: Rc<Path> = dir.path().join("file").into();
    on_every_driver(&Builder::new(), |runtime, name| {
        runtime.block_on(async {
            let (mut bystander, trips) = bystander().await;
            let mut panics = 0;
            for after in [false, true] {
                for polls in 0.. {
                    let before = trips.get();
                    let mine = Mine { polls_left: Rc::new(Cell::new(polls)), after };
                    let (left, path) = (mine.polls_left.clone(), path.clone());
                    let ended = spawn(async move { script(mine, &path).await }).await;
                    until("the others go on", || trips.get() > before).await;
                    match ended {
                        Err(error) => assert!(error.is_panic(), "{error}"),
                        // The end was reached before its turn came.
                        Ok(()) => {
                            assert!(left.get() < polls, "the mine did not go off");
                            break;
                        }
                    }
                    panics += 1;
                }
            }
            figure(&format!("panics at an await on {name}"), panics, "");
            assert!(panics > 40, "the script awaits more than that: {panics}");
            assert_eq!(ringbolt::metrics().panics, panics);
            bystander.abort();
            drop(bystander.await);
            at_rest().await;
        });
    });
}

/// A buffer that panics when it is dropped.
struct Bomb {
    memory: Option<Box<[u8]>>,
    drops: Rc<Cell<u64>>,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        drop(self.memory.take());
        self.drops.set(self.drops.get() + 1);
        panic_on_purpose();
    }
}

impl Bomb {
    fn bytes(&self) -> &[u8] {
        self.memory.as_deref().expect("taken by the destructor only")
    }
}

// SAFETY: the memory is on the heap, owned by this buffer alone, and neither moves nor changes.
unsafe impl IoBuf for Bomb {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        (NonNull::from(self.bytes()).cast(), self.bytes().len())
    }
}

// SAFETY: as above, and all of it is initialised.
unsafe impl IoBufMut for Bomb {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        let memory = self.memory.as_deref_mut().expect("taken by the destructor only");
        let len = memory.len();
        (NonNull::from(memory).cast(), len)
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

/// Polls once, so that an operation is in flight.
async fn begin<F: Future>(future: &mut Pin<Box<F>>) {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
}

#[test]
fn a_panic_in_a_destructor_costs_nothing_else() {
    if !alone(module_path!(), "a_panic_in_a_destructor_costs_nothing_else") {
        return;
    }
    const EACH: u64 = 50;
    let drops = Rc::new(Cell::new(0u64));
    let bomb = || Bomb { memory: Some(vec![0; 64].into()), drops: drops.clone() };
    let mut made = 0;
    on_every_driver(&Builder::new(), |runtime, name| {
        let start = made;
        runtime.block_on(async {
            let (mut bystander, trips) = bystander().await;
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let fd = Fd::socket(OwnedFd::from(ours).into()).unwrap();
            for round in 0..EACH {
                let before = trips.get();
                // The result of an operation whose future has gone.
                let mut recv = Box::pin(Submit::new(Recv::new(fd.clone(), bomb())));
                begin(&mut recv).await;
                drop(recv);
                let file = File::open("/proc/self/status").await.unwrap();
                let mut read = Box::pin(file.read_at(bomb(), 0));
                begin(&mut read).await;
                drop(read);
                // What a task made that nobody takes, and what an aborted one held.
                let output = bomb();
                drop(spawn(async move { output }));
                let held = bomb();
                let mut aborted = spawn(async move {
                    let _held = held;
                    pending::<()>().await;
                });
                if round % 2 == 0 {
                    ringbolt::yield_now().await;
                }
                aborted.abort();
                drop(aborted.await);
                // What a task has in its hands when it ends.
                let raw = Fd::file(std::fs::File::open("/dev/zero").unwrap());
                let held = bomb();
                let task = spawn(async move {
                    let read = Submit::new(Read::new(raw, held, 0)).await;
                    drop(read);
                });
                assert!(task.await.unwrap_err().is_panic());
                made += 5;
                until("the others go on", || trips.get() > before).await;
            }
            until("all are dropped", || drops.get() == made).await;
            assert_eq!(ringbolt::metrics().panics, made - start);
            figure(&format!("panics in destructors on {name}"), made - start, "");
            bystander.abort();
            drop((bystander.await, fd));
            at_rest().await;
        });
        // And those that the end of the runtime drops.
        let held = bomb();
        runtime.block_on(async {
            drop(spawn(async move {
                let _held = held;
                pending::<()>().await;
            }));
            ringbolt::yield_now().await;
        });
        made += 1;
    });
    assert_eq!(drops.get(), made);
}
