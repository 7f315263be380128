//! The end of a runtime with ten thousand operations pending.

use crate::process::allow_descriptors;
use crate::{alone, at_rest, drivers, figure, on_every_driver, until, watchdog};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::op::{Accept, Fd, Fsync, Op, Read, Recv, Submit, Write};
use ringbolt::{Builder, sleep, spawn};
use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Receives, half of them into buffers of the pool.
const RECEIVES: usize = 5000;
const ACCEPTS: usize = 1000;
const PIPE_READS: usize = 1000;
const TIMERS: usize = 2000;
const FILE_OPERATIONS: usize = 1000;
const ALL: usize = RECEIVES + ACCEPTS + PIPE_READS + TIMERS + FILE_OPERATIONS;

/// What keeps the operations from ending: the other ends.
#[derive(Default)]
struct Others {
    streams: Vec<UnixStream>,
    pipes: Vec<std::io::PipeWriter>,
}

/// Puts an operation in flight that nobody but its task waits for.
fn start<O: Op>(op: O) {
    drop(spawn(Submit::new(op)));
}

async fn begin() -> Others {
    let mut others = Others::default();
    for n in 0..RECEIVES {
        let (ours, theirs) = UnixStream::pair().unwrap();
        others.streams.push(theirs);
        let ours = OwnedFd::from(ours);
        if n % 2 == 0 {
            let mut stream = TcpStream::from_std(ours.into()).unwrap();
            drop(spawn(async move { stream.recv().await.map(drop) }));
        } else {
            let fd = Fd::socket(socket2::Socket::from(ours)).unwrap();
            start(Recv::new(fd, Vec::with_capacity(64)));
        }
    }
    for _ in 0..ACCEPTS / 100 {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let again = listener.socket().try_clone().unwrap();
        let fd = Fd::socket(again).unwrap();
        (1..100).for_each(|_| start(Accept::new(fd.clone())));
        drop(spawn(async move { listener.accept().await.map(drop) }));
    }
    for _ in 0..PIPE_READS / 10 {
        let (reader, writer) = std::io::pipe().unwrap();
        others.pipes.push(writer);
        let fd = Fd::file(OwnedFd::from(reader).into());
        (0..10).for_each(|_| start(Read::new(fd.clone(), Vec::with_capacity(64), u64::MAX)));
    }
    (0..TIMERS).for_each(|_| drop(spawn(sleep(Duration::from_secs(3600)))));
    others
}

type FileOp = Pin<Box<dyn Future<Output = ()>>>;

/// Operations on a file: they would end soon, so they are begun last and left without a turn.
fn file_operations(file: std::fs::File) -> Vec<FileOp> {
    let fd = Fd::file(file);
    let one = |n: usize| -> FileOp {
        let (fd, offset) = (fd.clone(), n as u64 * 4096);
        match n % 3 {
            0 => Box::pin(
                async move { drop(Submit::new(Write::new(fd, vec![1; 4096], offset)).await) },
            ),
            1 => Box::pin(
                async move { drop(Submit::new(Read::new(fd, vec![0; 4096], offset)).await) },
            ),
            _ => Box::pin(async move { drop(Submit::new(Fsync::new(fd, true)).await) }),
        }
    };
    (0..FILE_OPERATIONS).map(one).collect()
}

#[test]
fn ten_thousand_operations_end_with_their_runtime() {
    if !alone(module_path!(), "ten_thousand_operations_end_with_their_runtime") {
        return;
    }
    if !allow_descriptors(2 * RECEIVES as u64 + 1000) {
        return;
    }
    // A sync that a disk has begun cannot be cancelled, and takes as long as the disk is busy.
    let places = [("in memory", PathBuf::from("/dev/shm")), ("on a disk", std::env::temp_dir())];
    for (driver, (place, folder)) in
        drivers().into_iter().flat_map(|d| places.clone().map(|p| (d, p)))
    {
        let runtime = Builder::new().driver(driver).build().unwrap();
        let name = runtime.facts().driver;
        let _deadline = watchdog::deadline(name, Location::caller());
        let (others, files) = runtime.block_on(async {
            let others = begin().await;
            let waiting = (RECEIVES + ACCEPTS + PIPE_READS) as u64;
            until("all wait", || {
                let now = ringbolt::metrics();
                now.in_flight == waiting && now.timers as usize >= TIMERS
            })
            .await;
            let mut files = file_operations(tempfile::tempfile_in(&folder).unwrap());
            poll_fn(|cx| {
                let pending = |file: &mut FileOp| file.as_mut().poll(cx).is_pending();
                assert!(files.iter_mut().all(pending), "an operation ended before it was begun");
                Poll::Ready(())
            })
            .await;
            let now = ringbolt::metrics();
            assert_eq!(now.in_flight as usize + TIMERS, ALL, "{now:?}");
            (others, files)
        });
        let start = Instant::now();
        let report = runtime.shutdown(Duration::from_secs(20));
        let took = start.elapsed();
        let what = format!("end of {ALL} operations on {name}, files {place}");
        figure(&what, took.as_millis(), "ms");
        assert_eq!(report.operations_leaked, 0, "{name}");
        // This is for hangs; the figure above is what counts.
        assert!(took < Duration::from_secs(5), "the end took {took:?} on {name}");
        drop(files);
        // Nobody holds the sockets any more.
        for mut stream in others.streams {
            let n = std::io::Read::read(&mut stream, &mut [0]).unwrap();
            assert_eq!(n, 0, "the other side is still open");
        }
    }
}

#[test]
fn reads_of_empty_pipes_delay_no_file() {
    if !alone(module_path!(), "reads_of_empty_pipes_delay_no_file") {
        return;
    }
    // More than there are helper threads.
    const PIPES: usize = 100;
    on_every_driver(&Builder::new(), |runtime, name| {
        runtime.block_on(async {
            let mut pipes = Vec::new();
            for n in 0..PIPES {
                let (reader, writer) = std::io::pipe().unwrap();
                let fd = Fd::file(OwnedFd::from(reader).into());
                let read = Submit::new(Read::new(fd, Vec::with_capacity(8), u64::MAX));
                pipes.push((spawn(read), writer, n as u8));
            }
            until("all wait", || ringbolt::metrics().in_flight == PIPES as u64).await;
            let look = ringbolt::timeout(Duration::from_secs(5), ringbolt::fs::metadata("/"));
            look.await.unwrap_or_else(|_| panic!("a pipe holds a helper on {name}")).unwrap();
            // What comes late arrives, the end of a pipe is told, and the rest can be aborted.
            let last = pipes.split_off(PIPES / 2);
            for (read, mut writer, n) in pipes {
                if n % 2 == 0 {
                    std::io::Write::write_all(&mut writer, &[n]).unwrap();
                    assert_eq!(read.await.unwrap().into_result().unwrap().1, [n]);
                } else {
                    drop(writer);
                    assert_eq!(read.await.unwrap().into_result().unwrap().0, 0);
                }
            }
            for (mut read, writer, _) in last {
                read.abort();
                assert!(read.await.unwrap_err().is_aborted());
                drop(writer);
            }
            at_rest().await;
        });
    });
}
