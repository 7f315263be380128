//! The laws that every driver keeps, see `runtime/src/driver/mod.rs`.

use crate::support::*;
use ringbolt::fs::{self, OpenOptions};
use ringbolt::op::{Accept, Fd, Nop, Open, OpenWish, Read, Readable, Recv, Send, Stat, Submit};
use ringbolt::{BufResult, Builder, DriverKind, is_cancelled, metrics, timeout};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

fn in_flight() -> u64 {
    metrics().in_flight
}

#[test]
fn l1_every_operation_ends_exactly_once() {
    const BATCHES: usize = 100;
    const BATCH: usize = 100;
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let before = metrics().completions;
        for _ in 0..BATCHES {
            let mut kept = Vec::new();
            for _ in 0..BATCH {
                let mut nop = Submit::new(Nop);
                assert!(poll_once(&mut nop).await.is_pending());
                if rng.chance(1, 2) {
                    kept.push(nop);
                }
            }
            for nop in kept {
                match nop.await {
                    Ok(()) => {}
                    Err(error) => assert!(is_cancelled(&error), "{error}"),
                }
            }
        }
        no_operation().await;
        assert_eq!(metrics().completions - before, (BATCHES * BATCH) as u64);
    });
}

#[test]
fn l1_a_cancelled_wait_ends_exactly_once() {
    on_every_driver(async |_| {
        let before = metrics().completions;
        for _ in 0..10 {
            let pairs: Vec<_> = (0..20).map(|_| fd_pair()).collect();
            for (fd, _) in &pairs {
                let mut recv = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(8)));
                assert!(poll_once(&mut recv).await.is_pending());
            }
            no_operation().await;
        }
        assert_eq!(metrics().completions - before, 200);
    });
}

#[test]
fn l2_l6_memory_is_used_until_the_end_and_never_after() {
    on_every_driver(async |_| {
        let watch = Watched::watch();
        let mut pairs: Vec<_> = (0..50).map(|_| fd_pair()).collect();
        for (fd, _) in &pairs {
            let mut recv = Submit::new(Recv::new(fd.clone(), watch.buffer(64)));
            assert!(poll_once(&mut recv).await.is_pending());
        }
        // The futures have gone, and the operations have had no chance to end.
        assert_eq!((watch.alive(), in_flight()), (50, 50));
        no_operation().await;
        assert_eq!(watch.alive(), 0);
        for (_, peer) in &mut pairs {
            peer.write_all(&[1; 64]).unwrap();
        }
        turns(10).await;
        assert!(watch.untouched());
        // What was not received by anybody is still in the sockets.
        for (fd, _) in pairs {
            let (n, _) = Submit::new(Recv::new(fd, Vec::with_capacity(100))).await.unwrap();
            assert_eq!(n, 64);
        }
    });
}

/// A future of any operation.
type Any = Pin<Box<dyn Future<Output = ()>>>;

fn any<T>(future: impl Future<Output = T> + 'static) -> Any {
    Box::pin(async move { drop(future.await) })
}

#[test]
fn l3_results_come_out_of_a_turn_only() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let (fd, mut peer) = fd_pair();
        peer.write_all(b"data").unwrap();
        Submit::new(Readable::new(fd.clone())).await.unwrap();
        let file = Fd::file(std::fs::File::open(&path).unwrap());
        // Each of these could answer at once.
        let all: [(&str, Any); 6] = [
            ("nop", any(Submit::new(Nop))),
            ("poll", any(Submit::new(Readable::new(fd.clone())))),
            ("send", any(Submit::new(Send::new(fd.clone(), "x")))),
            ("recv", any(Submit::new(Recv::new(fd.clone(), Vec::with_capacity(4))))),
            ("read", any(Submit::new(Read::new(file, Vec::with_capacity(4), 0)))),
            ("stat", any(Submit::new(Stat::path(&path, true).unwrap()))),
        ];
        for (name, mut future) in all {
            let waiting = in_flight();
            for _ in 0..3 {
                assert!(poll_once(&mut future).await.is_pending(), "{name}");
                assert_eq!(in_flight(), waiting + 1, "{name}");
            }
            future.await;
        }
    });
}

#[test]
fn l4_a_future_that_is_not_polled_does_nothing() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("old"), "old").unwrap();
        let (mut stream, mut peer) = pair_with_std().await;
        let (mut listener, address) = listen().await;
        let file = fs::OpenOptions::new().write(true).open(path("old")).await.unwrap();
        let before = metrics();
        {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let _open = options.open(path("new"));
            let _create = fs::File::create(path("old"));
            let _mkdir = fs::create_dir(path("dir"));
            let _rename = fs::rename(path("old"), path("moved"));
            let _remove = fs::remove_file(path("old"));
            let _write = file.write_at("new", 0);
            let _connect = ringbolt::net::TcpStream::connect(address);
            let _accept = listener.accept();
            let _send = stream.write_all("sent by nobody");
            turns(50).await;
        }
        let after = metrics();
        assert_eq!(after.submitted, before.submitted);
        assert_eq!(after.descriptors, before.descriptors);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(std::fs::read(path("old")).unwrap(), b"old");
        drop(stream);
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn l4_an_operation_starts_at_the_first_poll() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let wish = OpenWish { write: true, create_new: true, mode: 0o666, ..OpenWish::default() };
        let mut open = Submit::new(Open::new(&path, &wish).unwrap());
        let (fd, mut peer) = fd_pair();
        let mut send = Submit::new(Send::new(fd, "sent"));
        assert!(poll_once(&mut open).await.is_pending());
        assert!(poll_once(&mut send).await.is_pending());
        // Nobody polls them again.
        until("the file is there", || path.exists()).await;
        let mut text = [0; 4];
        until("the bytes are there", || peer.peek(&mut text).is_ok_and(|n| n == 4)).await;
        peer.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"sent");
        open.await.unwrap();
        send.await.unwrap();
    });
}

#[test]
fn l5_a_cancel_gives_the_result_or_says_cancelled() {
    on_every_driver(async |case| {
        let mut rng = Rng::new();
        let (fd, mut peer) = fd_pair();
        let (mut sent, mut received) = (0, 0);
        let (mut cancelled, mut won) = (0, 0);
        for round in 0..500 {
            if rng.chance(1, 2) {
                peer.write_all(&pattern(1 + round % 7)).unwrap();
                sent += 1 + round % 7;
            }
            let recv = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(100)));
            let limit = Duration::from_micros(rng.below(150) as u64);
            // The operation gives its buffer back whichever side wins.
            match timeout(limit, recv).await.expect("a receive can be cancelled") {
                BufResult(Ok(n), buf) => {
                    assert_eq!(n, buf.len());
                    received += n;
                    won += 1;
                }
                BufResult(Err(error), buf) => {
                    assert!(is_cancelled(&error), "{error}");
                    assert_eq!((buf.len(), buf.capacity() >= 100), (0, true));
                    cancelled += 1;
                }
            }
        }
        drop(peer);
        loop {
            let recv = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(100)));
            match recv.await.unwrap().0 {
                0 => break,
                n => received += n,
            }
        }
        assert_eq!(sent, received, "{}", case.name);
        assert!(cancelled > 0 && won > 0, "{cancelled} cancelled, {won} won");
    });
}

#[test]
fn l6_a_descriptor_that_nobody_waits_for_is_closed() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..50 {
            let path = dir.path().join(format!("{i}"));
            let wish =
                OpenWish { write: true, create_new: true, mode: 0o666, ..OpenWish::default() };
            let mut open = Submit::new(Open::new(&path, &wish).unwrap());
            assert!(poll_once(&mut open).await.is_pending());
            turns(i % 4).await;
        }
        no_operation().await;
        assert_eq!(metrics().descriptors, 0);
        assert_eq!(open_below(dir.path()), 0);
    });
}

/// Descriptors of this process that lead below `dir`.
fn open_below(dir: &std::path::Path) -> usize {
    let Ok(all) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let dir = dir.canonicalize().unwrap();
    let links = all.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|target| target.starts_with(&dir)).count()
}

#[test]
fn l6_a_connection_that_nobody_waits_for_is_closed_or_kept() {
    on_every_driver(async |_| {
        for round in 0..20 {
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let fd = Fd::socket(socket2::Socket::from(listener)).unwrap();
            let mut first = connect_std(address);
            let mut accept = Submit::new(Accept::new(fd.clone()));
            assert!(poll_once(&mut accept).await.is_pending());
            turns(round % 3).await;
            drop(accept);
            until("only the listener is open", || metrics().descriptors == 1).await;
            no_operation().await;
            // The next accept gets the first connection, unless that was accepted and closed.
            let second = connect_std(address);
            let taken = Submit::new(Accept::new(fd)).await.unwrap();
            let taken = socket2::SockRef::from(&taken).peer_addr().unwrap().as_socket();
            if taken == Some(second.local_addr().unwrap()) {
                let n = first.read(&mut [0]).unwrap_or(0);
                assert_eq!(n, 0, "the first connection is neither closed nor accepted");
            } else {
                assert_eq!(taken, Some(first.local_addr().unwrap()));
            }
        }
    });
}

#[test]
#[expect(clippy::async_yields_async, reason = "the future has to outlive its runtime")]
fn l7_the_end_of_a_runtime_ends_everything() {
    for case in cases() {
        let _deadline = deadline(case.name, std::panic::Location::caller());
        let runtime = case.builder.build().unwrap();
        let watch = Watched::watch();
        let mut peers = Vec::new();
        let outer = runtime.block_on(async {
            for _ in 0..100 {
                let (fd, peer) = fd_pair();
                peers.push(peer);
                let buf = watch.buffer(32);
                let task = async move { Submit::new(Recv::new(fd, buf)).await };
                drop(ringbolt::spawn(task));
                let (mut stream, peer) = pair_with_std().await;
                peers.push(peer);
                drop(ringbolt::spawn(async move { stream.recv().await }));
            }
            let (mut listener, _) = listen().await;
            drop(ringbolt::spawn(async move { listener.accept().await }));
            drop(ringbolt::spawn(ringbolt::sleep(Duration::MAX)));
            let (fd, peer) = fd_pair();
            peers.push(peer);
            let mut outer = Submit::new(Recv::new(fd, watch.buffer(32)));
            assert!(poll_once(&mut outer).await.is_pending());
            until("all wait", || in_flight() >= 202).await;
            outer
        });
        assert_eq!(watch.alive(), 101);
        let start = Instant::now();
        drop(runtime);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        // Also of a future that outlives the runtime nothing is kept, and it may be dropped.
        assert_eq!(watch.alive(), 0);
        drop(outer);
        for mut peer in peers {
            let _ = peer.write_all(&[1; 32]);
        }
        assert!(watch.untouched());
    }
}

#[test]
#[cfg(unix)]
fn l7_what_cannot_be_ended_is_reported_and_its_memory_kept() {
    for case in cases() {
        let _deadline = deadline(case.name, std::panic::Location::caller());
        let leaked = |_| {
            let runtime = case.builder.build().unwrap();
            let watch = Watched::watch();
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(b"x").unwrap();
            runtime.block_on(async {
                // Each would find the byte there is, and one of them does.
                let file = Fd::file(std::os::fd::OwnedFd::from(reader).into());
                let read = |_| Submit::new(Read::new(file.clone(), watch.buffer(32), u64::MAX));
                let mut reads = [0, 1].map(read);
                for read in &mut reads {
                    assert!(poll_once(read).await.is_pending());
                }
                until("one has read", || metrics().completions > 0).await;
            });
            let start = Instant::now();
            let report = runtime.shutdown(Duration::from_millis(50));
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
            assert_eq!(watch.alive(), report.operations_leaked as usize);
            drop(writer);
            report.operations_leaked == 1
        };
        if case.is_uring() {
            // The kernel calls its own threads back.
            assert!(!leaked(0));
        } else {
            // A thread that sits in read(2) cannot be called back, once it does.
            assert!((0..1000).any(leaked));
        }
    }
}

#[test]
fn l8_operations_in_flight_may_end_in_any_order() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let dir = tempfile::tempdir().unwrap();
        let content = pattern(100_000);
        std::fs::write(dir.path().join("file"), &content).unwrap();
        let fd = Fd::file(std::fs::File::open(dir.path().join("file")).unwrap());
        let mut reads = Vec::new();
        for _ in 0..200 {
            let (at, len) = (rng.below(90_000), 1 + rng.below(5_000));
            let mut read = Submit::new(Read::new(fd.clone(), Vec::with_capacity(len), at as u64));
            assert!(poll_once(&mut read).await.is_pending());
            reads.push((at, read));
        }
        while !reads.is_empty() {
            let (at, read) = reads.swap_remove(rng.below(reads.len()));
            let (n, buf) = read.await.unwrap();
            assert_eq!(buf, content[at..at + n]);
            assert!(n > 0);
        }
    });
}

#[test]
fn l9_transfers_may_be_short() {
    on_every_driver(async |_| {
        let (fd, mut peer) = fd_pair();
        peer.write_all(b"abc").unwrap();
        let (n, buf) = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(64))).await.unwrap();
        assert_eq!((n, &buf[..]), (3, &b"abc"[..]));

        // Nobody reads, so that a send takes only a part of this.
        let huge = vec![7_u8; 64 << 20];
        let mut send = Submit::new(Send::new(fd, huge));
        assert!(poll_once(&mut send).await.is_pending());
        let (n, huge) = match timeout(Duration::from_millis(100), send).await.unwrap() {
            BufResult(Ok(n), huge) => (n, huge),
            BufResult(Err(error), _) => panic!("a part was sent: {error}"),
        };
        assert!(0 < n && n < huge.len(), "{n}");
        let mut left = n;
        let mut scratch = vec![0; 1 << 20];
        while left > 0 {
            left -= peer.read(&mut scratch).unwrap();
        }
    });
}

#[test]
fn l10_what_is_not_to_be_had_says_so() {
    let explicit = Builder::new().driver(DriverKind::Uring).build();
    match uring_refused() {
        None => {
            let facts = explicit.unwrap().facts().clone();
            assert_eq!((facts.driver, facts.fallback_reason), ("io_uring", None));
        }
        Some(_) => {
            let error = explicit.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("the io_uring driver was required but cannot start"), "{text}");
            let facts = Builder::new().driver(DriverKind::Auto).build().unwrap().facts().clone();
            assert_ne!(facts.driver, "io_uring");
            let reason = facts.fallback_reason.expect("there is a reason");
            assert!(reason.contains("using readiness instead"), "{reason}");
        }
    }
    let facts = Builder::new().driver(DriverKind::Readiness).build().unwrap().facts().clone();
    assert_ne!(facts.driver, "io_uring");
    assert_eq!(facts.fallback_reason, None);
    assert!(facts.nonblocking_sockets && facts.lends_buffers);
    assert!(!facts.to_string().is_empty());
    assert_eq!("tokio".parse::<DriverKind>().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_operation_is_not_polled_after_its_end() {
    on_every_driver(async |_| {
        let mut nop = Submit::new(Nop);
        let result = loop {
            match poll_once(&mut nop).await {
                Poll::Ready(result) => break result,
                Poll::Pending => ringbolt::yield_now().await,
            }
        };
        result.unwrap();
        let again = ringbolt::spawn(async move { poll_once(&mut nop).await.is_pending() });
        let error = again.await.unwrap_err();
        assert!(error.to_string().contains("polled after it had finished"), "{error}");
    });
}
