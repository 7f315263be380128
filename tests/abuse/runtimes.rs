//! Ten thousand runtimes come and go, each with something pending or something that outlives it.

use crate::process::{count, memory};
use crate::{alone, drivers, figure, scaled, watchdog};
use ringbolt::net::TcpStream;
use ringbolt::op::{Fd, Nop, Read, Recv, Submit};
use ringbolt::{Builder, Chunk, DriverKind, JoinHandle, Remote, Runtime, sleep, spawn};
use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// What the second half of all runtimes may add: a tenth of a kilobyte for each would be more.
const NOISE: u64 = 512 << 10;

/// What outlives a runtime. It is dropped after the next ones have come and gone.
#[derive(Default)]
struct Left {
    chunk: Option<Chunk>,
    bytes: Option<bytes::Bytes>,
    waker: Option<Waker>,
    remote: Option<Remote>,
    task: Option<JoinHandle<()>>,
    stream: Option<TcpStream>,
    flight: Option<Pin<Box<dyn Future<Output = ()>>>>,
    _peers: Vec<UnixStream>,
}

fn pair() -> (OwnedFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours.into(), theirs)
}

async fn one(n: u64, left: &mut Left) {
    match n % 8 {
        0 => Submit::new(Nop).await.unwrap(),
        1 => {
            // Tasks and operations are pending.
            let (ours, theirs) = pair();
            let fd = Fd::socket(ours.into()).unwrap();
            drop(spawn(Submit::new(Recv::new(fd, Vec::with_capacity(64)))));
            drop(spawn(sleep(Duration::MAX)));
            drop(spawn(pending::<()>()));
            ringbolt::yield_now().await;
            left._peers.push(theirs);
        }
        2 | 3 => {
            let (ours, mut theirs) = pair();
            theirs.write_all(b"something").unwrap();
            let mut stream = TcpStream::from_std(ours.into()).unwrap();
            let chunk = stream.recv().await.unwrap().expect("bytes");
            match n % 2 {
                0 => left.chunk = Some(chunk),
                _ => left.bytes = Some(chunk.into()),
            }
        }
        4 => {
            let waker = Rc::new(Cell::new(None));
            let theirs = waker.clone();
            drop(spawn(poll_fn(move |cx| {
                theirs.set(Some(cx.waker().clone()));
                Poll::<()>::Pending
            })));
            ringbolt::yield_now().await;
            left.waker = Some(waker.take().expect("the task was polled"));
            left.remote = Some(Remote::current());
            left.task = Some(spawn(pending()));
        }
        5 => {
            let (ours, theirs) = pair();
            let mut stream = TcpStream::from_std(ours.into()).unwrap();
            drop(ringbolt::timeout(Duration::ZERO, stream.recv()).await);
            left.stream = Some(stream);
            left._peers.push(theirs);
        }
        6 => {
            // An operation on a file that was just begun, or maybe not yet.
            let file = Fd::file(std::fs::File::open("/proc/self/status").unwrap());
            let read = Submit::new(Read::new(file, Vec::with_capacity(512), 0));
            let mut flight: Pin<Box<dyn Future<Output = ()>>> =
                Box::pin(async move { drop(read.await) });
            poll_fn(|cx| Poll::Ready(flight.as_mut().poll(cx).is_ready())).await;
            left.flight = Some(flight);
        }
        _ => {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(writer);
            let fd = Fd::file(OwnedFd::from(reader).into());
            let read = Submit::new(Read::new(fd, Vec::with_capacity(8), u64::MAX));
            assert_eq!(read.await.into_result().unwrap_or_default().0, 0);
        }
    }
}

/// Uses what a runtime left, which must do no harm.
fn use_late(left: Left) {
    if let Some(chunk) = &left.chunk {
        assert_eq!(**chunk, *b"something");
    }
    if let Some(bytes) = &left.bytes {
        assert_eq!(**bytes, *b"something");
    }
    if let Some(waker) = &left.waker {
        waker.wake_by_ref();
    }
    if let Some(remote) = &left.remote {
        drop(remote.spawn(async || ()));
    }
}

#[derive(Debug)]
struct Counts {
    descriptors: usize,
    threads: usize,
    locked: u64,
    resident: u64,
}

fn counts() -> Counts {
    Counts {
        // A helper may still hold the bell of the last runtime, for a moment.
        descriptors: (0..1000).map(|_| count("fd")).min().unwrap(),
        threads: count("task"),
        locked: memory("VmLck") + memory("VmPin"),
        resident: memory("VmRSS"),
    }
}

fn come_and_go(driver: DriverKind) {
    if !drivers().contains(&driver) {
        return;
    }
    let all = scaled(200, 10_000, 50_000);
    let build = || -> Runtime { Builder::new().driver(driver).build().unwrap() };
    let name = build().facts().driver;
    let mut left: Vec<Left> = Vec::new();
    let mut half = None;
    let start = Instant::now();
    for n in 0..all {
        let _deadline = watchdog::deadline(name, Location::caller());
        if n == all / 2 {
            left.drain(..).for_each(use_late);
            half = Some(counts());
        }
        let runtime = build();
        let mut mine = Left::default();
        runtime.block_on(one(n, &mut mine));
        drop(runtime);
        left.push(mine);
        if left.len() > 16 {
            use_late(left.remove(0));
        }
    }
    let took = start.elapsed();
    left.drain(..).for_each(use_late);
    let (half, end) = (half.expect("there was a half"), counts());
    figure(&format!("runtimes on {name}"), all, "");
    let each = took.as_micros() / u128::from(all);
    figure(&format!("life of a runtime on {name}"), each, "us");
    let grown = end.resident as i64 - half.resident as i64;
    figure(&format!("growth in the second half on {name}"), grown, "bytes");
    eprintln!("{half:?} {end:?}");
    assert!(end.descriptors <= half.descriptors, "descriptors: {half:?}, then {end:?}");
    assert!(end.locked <= half.locked, "locked memory: {half:?}, then {end:?}");
    // Helpers are shared by all runtimes, at most sixteen.
    assert!(end.threads <= half.threads.max(17) + 1, "threads: {half:?}, then {end:?}");
    assert!(end.resident <= half.resident + NOISE, "memory: {half:?}, then {end:?}");
}

#[test]
fn runtimes_leave_no_trace_on_uring() {
    if alone(module_path!(), "runtimes_leave_no_trace_on_uring") {
        come_and_go(DriverKind::Uring);
    }
}

#[test]
fn runtimes_leave_no_trace_on_readiness() {
    if alone(module_path!(), "runtimes_leave_no_trace_on_readiness") {
        come_and_go(DriverKind::Readiness);
    }
}
