//! No heap allocation per operation once a connection, a file or a timer is in use.

use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{Builder, DriverKind};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

/// Counts the allocations of each thread by itself.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn note() {
    // A thread that is ending has no counter any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's obligations are the call's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the call's.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's obligations are the call's.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: usize = 200;
const ROUNDS: usize = 10_000;

/// Runs `round` often on every driver and asserts that it stopped allocating after a while.
fn assert_steady<S, M>(what: &str, make: M, round: impl AsyncFn(&mut S))
where
    M: AsyncFn() -> S,
{
    for driver in [DriverKind::Uring, DriverKind::Readiness] {
        let runtime = match Builder::new().driver(driver).build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("SKIPPED: {driver:?} cannot start here: {error}");
                continue;
            }
        };
        let (allocations, turns, enters) = runtime.block_on(async {
            let mut state = make().await;
            for _ in 0..WARM_UP {
                round(&mut state).await;
            }
            let (count, before) = (COUNT.get(), ringbolt::metrics());
            for _ in 0..ROUNDS {
                round(&mut state).await;
            }
            let after = ringbolt::metrics();
            let counted = COUNT.get() - count;
            (counted, after.turns - before.turns, after.enters - before.enters)
        });
        eprintln!(
            "{what} on {}: {allocations} allocations, {turns} turns and {enters} enters in \
             {ROUNDS} rounds",
            runtime.facts().driver
        );
        assert_eq!(allocations, 0, "{what} on {driver:?} allocates");
        assert!(enters <= turns, "{what} on {driver:?} enters the kernel more than once per turn");
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[test]
fn lent_receive_and_send() {
    assert_steady("recv and write_all", pair, async |(a, b)| {
        a.write_all("0123456789").await.0.unwrap();
        let chunk = b.recv().await.unwrap().unwrap();
        assert_eq!(chunk.len(), 10);
        b.write_all(chunk).await.0.unwrap();
        assert_eq!(a.recv().await.unwrap().unwrap().len(), 10);
    });
}

#[test]
fn owned_receive_and_send() {
    let make = async || (pair().await, Some(Vec::with_capacity(64)));
    assert_steady("read and write", make, async |((a, b), buf)| {
        a.write("0123456789").await.0.unwrap();
        let (n, mut bytes) = b.read(buf.take().unwrap()).await.into_result().unwrap();
        assert_eq!(n, 10);
        bytes.clear();
        *buf = Some(bytes);
    });
}

#[test]
fn positional_reads_and_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, [1; 8192]).unwrap();
    let make = async || {
        let mut options = ringbolt::fs::OpenOptions::new();
        let file = options.read(true).write(true).open(&path).await.unwrap();
        // Where helper threads do the work, all of them are there before the count: starting one
        // allocates.
        let tasks: Vec<_> =
            (0..64).map(|_| ringbolt::spawn(ringbolt::fs::read(path.clone()))).collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        (file, Some(vec![0u8; 4096]))
    };
    assert_steady("read_at and write_at", make, async |(file, buf)| {
        let (n, bytes) = file.read_at(buf.take().unwrap(), 100).await.into_result().unwrap();
        assert_eq!(n, 4096);
        let (n, bytes) = file.write_at(bytes, 4000).await.into_result().unwrap();
        assert_eq!(n, 4096);
        *buf = Some(bytes);
    });
}

#[test]
fn sleeps() {
    assert_steady(
        "sleep",
        async || (),
        async |()| {
            ringbolt::sleep(Duration::from_micros(2)).await;
        },
    );
}

/// What the measurement itself would miss: an allocation on this thread is counted.
#[test]
fn the_counter_counts() {
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(1u64)));
    assert_eq!(COUNT.get(), before + 1);
}
