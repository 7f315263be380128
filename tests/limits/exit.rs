//! Processes that end, or double, while operations are in flight.

use crate::{is_child, run_child, stderr_of};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{Builder, DriverKind, Runtime};
use std::io::{Read, Write};
use std::net;
use std::time::{Duration, Instant};

/// What a child says once it has come to the point.
const AT_WORK: &str = "at work";

/// A listener, and connections to it whose streams nobody sends to.
async fn connections(count: usize) -> (TcpListener, Vec<TcpStream>, Vec<net::TcpStream>) {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    let (mut streams, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        peers.push(net::TcpStream::connect(address).expect("a listener answers"));
        streams.push(listener.accept().await.expect("a connection").0);
    }
    (listener, streams, peers)
}

fn start(driver: DriverKind) -> Option<Runtime> {
    let runtime = Builder::new().driver(driver).build();
    runtime.map_err(|error| eprintln!("SKIPPED: {driver:?} cannot start here: {error}")).ok()
}

/// Exits without a word to the runtime, in the midst of everything.
fn exit_at_work(driver: DriverKind) {
    let Some(runtime) = start(driver) else { return };
    runtime.block_on(async {
        let (mut listener, streams, peers) = connections(100).await;
        for mut stream in streams {
            drop(ringbolt::spawn(async move { stream.recv().await }));
        }
        drop(ringbolt::spawn(async move { listener.accept().await }));
        drop(ringbolt::spawn(ringbolt::sleep(Duration::MAX)));
        // A helper thread, or one of the kernel's, sits in this read.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut pipe = ringbolt::fs::File::from_std(std::os::fd::OwnedFd::from(reader).into());
        drop(ringbolt::spawn(async move {
            use ringbolt::io::Read as _;
            pipe.read(Vec::with_capacity(8)).await
        }));
        while ringbolt::metrics().in_flight < 102 {
            ringbolt::yield_now().await;
        }
        eprintln!("{AT_WORK} with {} operations", ringbolt::metrics().in_flight);
        std::mem::forget((peers, writer));
        std::process::exit(0);
    });
}

fn exits_at_work(name: &str, driver: DriverKind) {
    if is_child(name) {
        return exit_at_work(driver);
    }
    let start = Instant::now();
    let text = stderr_of(&run_child(name, &[]));
    eprint!("{text}");
    assert!(text.contains(AT_WORK) || text.contains("SKIPPED"), "the child did nothing:\n{text}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_process_exits_at_work_on_uring() {
    exits_at_work("exit::a_process_exits_at_work_on_uring", DriverKind::Uring);
}

#[test]
fn a_process_exits_at_work_on_readiness() {
    exits_at_work("exit::a_process_exits_at_work_on_readiness", DriverKind::Readiness);
}

/// A child of the process comes and goes while operations are in flight here.
fn fork_at_work(driver: DriverKind) {
    let Some(runtime) = start(driver) else { return };
    runtime.block_on(async {
        let (_listener, streams, mut peers) = connections(100).await;
        let mut receives = Vec::new();
        for mut stream in streams {
            receives.push(ringbolt::spawn(async move {
                let mut received = Vec::new();
                while let Some(chunk) = stream.recv().await? {
                    received.extend_from_slice(&chunk);
                    stream.write_all("seen").await.0?;
                }
                std::io::Result::Ok(received)
            }));
        }
        while ringbolt::metrics().in_flight < 100 {
            ringbolt::yield_now().await;
        }
        // SAFETY: the child calls nothing but `_exit`, which is safe after any fork.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            // SAFETY: as above.
            unsafe { libc::_exit(0) };
        }
        eprintln!("{AT_WORK} with {} operations", ringbolt::metrics().in_flight);
        let mut status = 0;
        // SAFETY: the status is passed by a valid pointer.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        let talk = ringbolt::spawn_blocking(move || {
            for (i, peer) in peers.iter_mut().enumerate() {
                peer.write_all(&[i as u8; 10]).expect("an open connection");
            }
            for peer in &mut peers {
                let mut answer = [0; 4];
                peer.read_exact(&mut answer).expect("an answer");
                assert_eq!(&answer, b"seen");
            }
        });
        talk.await.expect("every connection answers");
        for (i, receive) in receives.into_iter().enumerate() {
            let received = receive.await.expect("no panic").expect("no error");
            assert_eq!(received, [i as u8; 10]);
        }
    });
}

fn forks_at_work(name: &str, driver: DriverKind) {
    // In a process with few threads, as a fork copies their locks.
    if is_child(name) {
        return fork_at_work(driver);
    }
    let text = stderr_of(&run_child(name, &[]));
    eprint!("{text}");
    assert!(text.contains(AT_WORK) || text.contains("SKIPPED"), "the child did nothing:\n{text}");
}

#[test]
fn a_fork_leaves_its_parent_alone_on_uring() {
    forks_at_work("exit::a_fork_leaves_its_parent_alone_on_uring", DriverKind::Uring);
}

#[test]
fn a_fork_leaves_its_parent_alone_on_readiness() {
    forks_at_work("exit::a_fork_leaves_its_parent_alone_on_readiness", DriverKind::Readiness);
}
