//! Every operation, cancelled, dropped and forgotten before and while it is in flight.

use crate::support::*;
use ringbolt::op::{
    Accept, CreateDir, Fd, Fsync, Nop, Open, OpenWish, Read, ReadVectored, Readable, Recv, RecvMsg,
    Remove, Rename, Send, SendMsg, Shutdown, Stat, Submit, Writable, Write, WriteVectored,
};
use ringbolt::{is_cancelled, metrics, timeout};
use std::io::Read as _;
use std::net;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Descriptors on which nothing happens.
struct Quiet {
    listener: Fd,
    empty: Fd,
    full: Fd,
    peers: [net::TcpStream; 2],
    #[cfg(target_os = "linux")]
    unanswered: (net::SocketAddr, Vec<socket2::Socket>),
}

impl Quiet {
    fn new() -> Quiet {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (empty, a) = fd_pair();
        let (full, b) = full_pair();
        Quiet {
            listener: Fd::socket(listener.into()).unwrap(),
            empty,
            full,
            peers: [a, b],
            #[cfg(target_os = "linux")]
            unanswered: full_listener(),
        }
    }

    /// Operations that wait for ever, with buffers that are watched.
    fn waiting(&self, watch: &Watch) -> Vec<(&'static str, Try)> {
        let (empty, full) = (|| self.empty.clone(), || self.full.clone());
        let room = || watch.buffer(64);
        let data = || watch.holding(b"data");
        let all = vec![
            ("accept", io(Submit::new(Accept::new(self.listener.clone())))),
            ("poll in", io(Submit::new(Readable::new(empty())))),
            ("recv", buf(Submit::new(Recv::new(empty(), room())))),
            ("recvmsg", buf(Submit::new(RecvMsg::new(empty(), vec![room(), room()])))),
            ("poll out", io(Submit::new(Writable::new(full())))),
            ("send", buf(Submit::new(Send::new(full(), data())))),
            ("sendmsg", buf(Submit::new(SendMsg::new(full(), [data(), data()])))),
        ];
        #[cfg(target_os = "linux")]
        let all = {
            let mut all = all;
            let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
            let socket = Fd::socket(socket2::Socket::new(domain, kind, None).unwrap()).unwrap();
            let connect = ringbolt::op::Connect::new(socket, self.unanswered.0.into());
            all.push(("connect", io(Submit::new(connect))));
            all
        };
        all
    }
}

#[test]
fn a_waiting_operation_is_cancelled_by_a_limit() {
    on_every_driver(async |_| {
        let (quiet, watch) = (Quiet::new(), Watched::watch());
        for limit in [Duration::ZERO, SHORT] {
            for (name, future) in quiet.waiting(&watch) {
                let result = timeout(limit, future).await;
                let result = result.unwrap_or_else(|_| panic!("{name} could not be cancelled"));
                let error = result.expect_err(name);
                assert!(is_cancelled(&error), "{name}: {error}");
            }
        }
        assert_eq!(watch.alive(), 0);
    });
}

#[test]
fn a_waiting_operation_is_dropped() {
    on_every_driver(async |_| {
        let (quiet, watch) = (Quiet::new(), Watched::watch());
        for wait in [0, 1, 5] {
            drop(quiet.waiting(&watch));
            assert_eq!((watch.alive(), metrics().in_flight), (0, 0), "none was polled");
            for (name, mut future) in quiet.waiting(&watch) {
                assert!(poll_once(&mut future).await.is_pending(), "{name}");
                turns(wait).await;
                assert!(poll_once(&mut future).await.is_pending(), "{name}");
                drop(future);
                no_operation().await;
                assert!(watch.untouched(), "{name}");
            }
            assert_eq!(watch.alive(), 0);
        }
    });
}

#[test]
fn a_waiting_operation_is_forgotten() {
    for case in cases() {
        let _deadline = deadline(case.name, std::panic::Location::caller());
        let runtime = case.builder.build().unwrap();
        let watch = Watched::watch();
        let (count, buffers, mut peers) = runtime.block_on(async {
            let quiet = Quiet::new();
            let mut count = 0;
            for (name, mut future) in quiet.waiting(&watch) {
                assert!(poll_once(&mut future).await.is_pending(), "{name}");
                std::mem::forget(future);
                count += 1;
                turns(1).await;
            }
            (count, watch.alive(), quiet.peers)
        });
        assert!(buffers >= 6);
        assert_eq!(runtime.metrics().in_flight, count);
        let report = runtime.shutdown(Duration::from_secs(10));
        assert_eq!(report.operations_leaked, 0, "{}", case.name);
        assert_eq!(watch.alive(), 0, "{}", case.name);
        let _ = std::io::Write::write(&mut peers[0], &[1; 64]);
        assert!(watch.untouched());
    }
}

/// What was asked for, as a test can see it from outside.
type Happened = Box<dyn Fn() -> bool>;

/// Operations that end by themselves, each with what it does.
fn acting(dir: &Path, watch: &Watch) -> Vec<(&'static str, Try, Happened)> {
    let path = |name: &str| dir.join(name);
    let fresh = |name: &str, content: &str| {
        std::fs::write(path(name), content).unwrap();
        path(name)
    };
    let file = |at: &PathBuf| {
        let options = std::fs::OpenOptions::new().read(true).write(true).open(at);
        Fd::file(options.unwrap())
    };
    let exists = |at: PathBuf| -> Happened { Box::new(move || at.exists()) };
    let gone = |at: PathBuf| -> Happened { Box::new(move || !at.exists()) };
    let holds = |at: PathBuf, wanted: &'static str| -> Happened {
        Box::new(move || std::fs::read(&at).unwrap() == wanted.as_bytes())
    };
    let nothing = || -> Happened { Box::new(|| true) };
    let wish = OpenWish { write: true, create_new: true, mode: 0o666, ..OpenWish::default() };
    let (source, write, writev) = (fresh("r", "read"), fresh("w", "old"), fresh("v", "old"));
    let (from, to, removed) = (fresh("from", ""), path("to"), fresh("removed", ""));
    let remove_dir = path("remove");
    std::fs::create_dir(&remove_dir).unwrap();
    let (socket, peer) = fd_pair();
    peer.set_nonblocking(true).unwrap();
    let keep = socket.clone();
    let ended = Box::new(move || {
        // The socket is still open, so that an end can only come from the operation.
        let _ = &keep;
        (&peer).read(&mut [0]).is_ok_and(|n| n == 0)
    });
    let room = || watch.buffer(4);
    let parts = [watch.holding(b"ne"), watch.holding(b"w")];
    let (read, readv) = (file(&source), file(&source));
    vec![
        ("nop", io(Submit::new(Nop)), nothing()),
        ("open", io(Submit::new(Open::new(&path("o"), &wish).unwrap())), exists(path("o"))),
        ("mkdir", io(Submit::new(CreateDir::new(&path("d"), 0o777).unwrap())), exists(path("d"))),
        ("rename", io(Submit::new(Rename::new(&from, &to).unwrap())), exists(to)),
        ("unlink", io(Submit::new(Remove::file(&removed).unwrap())), gone(removed)),
        ("rmdir", io(Submit::new(Remove::dir(&remove_dir).unwrap())), gone(remove_dir)),
        ("stat", io(Submit::new(Stat::path(&source, true).unwrap())), nothing()),
        ("fstat", io(Submit::new(Stat::fd(file(&source)))), nothing()),
        ("read", buf(Submit::new(Read::new(read, room(), 0))), nothing()),
        ("readv", buf(Submit::new(ReadVectored::new(readv, [room(), room()], 0))), nothing()),
        (
            "write",
            buf(Submit::new(Write::new(file(&write), watch.holding(b"new"), 0))),
            holds(write, "new"),
        ),
        (
            "writev",
            buf(Submit::new(WriteVectored::new(file(&writev), parts, 0))),
            holds(writev, "new"),
        ),
        ("fsync", io(Submit::new(Fsync::new(file(&source), false))), nothing()),
        ("close", io(Submit::new(file(&source).into_close().unwrap())), nothing()),
        ("shutdown", io(Submit::new(Shutdown::new(socket, net::Shutdown::Write))), ended),
    ]
}

/// A fresh directory for each round.
fn rounds(count: usize) -> impl Iterator<Item = tempfile::TempDir> {
    (0..count).map(|_| tempfile::tempdir().unwrap())
}

#[test]
fn an_operation_under_a_limit_happens_or_says_cancelled() {
    on_every_driver(async |_| {
        let watch = Watched::watch();
        for dir in rounds(20) {
            for (name, future, happened) in acting(dir.path(), &watch) {
                match timeout(Duration::ZERO, future).await.expect(name) {
                    Ok(()) => assert!(happened(), "{name}"),
                    Err(error) => {
                        assert!(is_cancelled(&error), "{name}: {error}");
                        let harmless = ["nop", "stat", "fstat", "read", "readv", "fsync"];
                        assert_ne!(name, "close", "a close is not cancelled");
                        assert!(harmless.contains(&name) || !happened(), "{name} happened");
                    }
                }
            }
            no_operation().await;
            assert_eq!(watch.alive(), 0);
        }
    });
}

#[test]
fn an_operation_whose_future_is_dropped_leaves_nothing() {
    on_every_driver(async |_| {
        let watch = Watched::watch();
        for (wait, dir) in rounds(12).enumerate() {
            for (name, mut future, _) in acting(dir.path(), &watch) {
                assert!(poll_once(&mut future).await.is_pending(), "{name}");
                turns(wait % 4).await;
            }
            until("all buffers are free", || watch.alive() == 0).await;
            assert!(watch.untouched());
            until("all is closed", || metrics().descriptors == 0).await;
        }
    });
}

#[test]
fn an_operation_whose_future_is_forgotten_happens() {
    for case in cases() {
        let _deadline = deadline(case.name, std::panic::Location::caller());
        let runtime = case.builder.build().unwrap();
        let (watch, dir) = (Watched::watch(), tempfile::tempdir().unwrap());
        runtime.block_on(async {
            for (name, mut future, happened) in acting(dir.path(), &watch) {
                assert!(poll_once(&mut future).await.is_pending(), "{name}");
                std::mem::forget(future);
                until(name, happened).await;
            }
        });
        let report = runtime.shutdown(Duration::from_secs(10));
        assert_eq!((report.operations_leaked, watch.alive()), (0, 0), "{}", case.name);
    }
}

#[test]
fn forgotten_streams_and_receives_lose_no_byte() {
    on_every_driver(async |case| {
        let (mut stream, mut peer) = pair_with_std().await;
        for round in 0..4 {
            // A receive through the pool, or into a buffer of the caller's, is in flight.
            if round % 2 == 0 {
                let mut recv = Box::pin(stream.recv());
                assert!(poll_once(&mut recv).await.is_pending());
                std::mem::forget(recv);
            } else {
                let mut read = Box::pin(stream.read(Vec::with_capacity(8)));
                assert!(poll_once(&mut read).await.is_pending());
                std::mem::forget(read);
            }
            std::io::Write::write_all(&mut peer, b"12345").unwrap();
            turns(round * 3).await;
            let mut got = Vec::new();
            while got.len() < 5 {
                got.extend_from_slice(&stream.recv().await.unwrap().expect("bytes"));
            }
            assert_eq!(got, b"12345", "round {round} on {}", case.name);
            let pending = timeout(SHORT, stream.recv()).await;
            assert!(pending.is_err() || pending.is_ok_and(|r| r.is_err()));
        }
        case.leaves_work();
    });
}
