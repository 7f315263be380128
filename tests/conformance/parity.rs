//! Orders of events that the kernel's own tests for io_uring go through, where no other test here
//! does; `tests/liburing_parity.toml` says which is where.

use crate::support::*;
use ringbolt::op::{Recv, Submit};
use ringbolt::{BufResult, metrics};
use std::io::Write as _;
use std::net::Shutdown;

#[test]
fn bytes_and_the_end_behind_them_both_arrive() {
    // The end may come while the request takes the bytes in, and must neither overtake them nor
    // get lost.
    const ROUNDS: usize = 200;
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        for round in 0..ROUNDS {
            let (mut stream, mut peer) = pair_with_std().await;
            let sent = pattern(1 + rng.below(3000));
            let (turns_before, wanted) = (round % 4, sent.clone());
            let receiver = ringbolt::spawn(async move {
                let mut received = Vec::new();
                while let Some(chunk) = stream.recv().await.unwrap() {
                    received.extend_from_slice(&chunk);
                }
                received
            });
            turns(turns_before).await;
            let sender = std::thread::spawn(move || {
                peer.write_all(&sent).unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
                peer
            });
            assert_eq!(receiver.await.unwrap(), wanted);
            sender.join().unwrap();
        }
    });
}

#[test]
fn more_results_at_once_than_the_queue_holds() {
    // The smallest ring of the suite has room for 64 results.
    const COUNT: usize = 150;
    on_every_driver(async |_| {
        let before = metrics().completions;
        let mut pairs: Vec<_> = (0..COUNT).map(|_| fd_pair()).collect();
        let mut receives = Vec::new();
        for (fd, _) in &pairs {
            let mut receive = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(8)));
            assert!(poll_once(&mut receive).await.is_pending());
            receives.push(receive);
        }
        turns(3).await;
        // All become ready while this core does not look.
        for (i, (_, peer)) in pairs.iter_mut().enumerate() {
            peer.write_all(&[i as u8, 7]).unwrap();
        }
        for (i, receive) in receives.into_iter().enumerate() {
            let BufResult(n, buf) = receive.await;
            assert_eq!((n.unwrap(), &buf[..]), (2, &[i as u8, 7][..]), "receive {i}");
        }
        assert_eq!(metrics().completions - before, COUNT as u64);
    });
}

#[test]
fn a_request_that_yields_more_than_the_queue_holds_is_made_again() {
    const COUNT: usize = 150;
    on_every_driver(async |case| {
        let (mut listener, address) = listen().await;
        let clients: Vec<_> = (0..COUNT).map(|_| connect_std(address)).collect();
        // One request answers for all that wait in the backlog.
        let before = metrics().submitted;
        let mut accepted = std::collections::HashSet::new();
        for _ in 0..COUNT {
            accepted.insert(listener.accept().await.unwrap().1);
        }
        let requests = metrics().submitted - before;
        assert!(clients.iter().all(|client| accepted.contains(&client.local_addr().unwrap())));
        if case.is_uring() && case.tiny {
            assert!(requests > 1, "the queue took all, so nothing was tested");
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_attempt_ends_when_its_socket_is_shut_down() {
    use ringbolt::op::{Connect, Fd};
    use std::io::ErrorKind;
    on_every_driver(async |_| {
        let (address, _filling) = full_listener();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let fd = Fd::socket(socket.unwrap()).unwrap();
        let mut connect = Submit::new(Connect::new(fd.clone(), address.into()));
        assert!(poll_once(&mut connect).await.is_pending());
        turns(3).await;
        assert!(poll_once(&mut connect).await.is_pending(), "the backlog is full");
        socket2::SockRef::from(&fd).shutdown(Shutdown::Both).unwrap();
        let error = connect.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    });
}

/// Has one choice for `_` if `T` stays on its thread, and two, which do not compile, if it may go.
trait Stays<Choice> {
    const YES: bool = true;
}

struct MayGo;

impl<T: ?Sized> Stays<()> for T {}
impl<T: ?Sized + std::marker::Send> Stays<MayGo> for T {}

#[test]
fn what_belongs_to_a_core_stays_on_its_thread() {
    use ringbolt::op::{Fd, Lane, Nop};
    // A ring takes requests from one thread. That another has none to make is known when compiled.
    let all = [
        <ringbolt::Runtime as Stays<_>>::YES,
        <Fd as Stays<_>>::YES,
        <Lane as Stays<_>>::YES,
        <Submit<Nop> as Stays<_>>::YES,
        <ringbolt::Sleep as Stays<_>>::YES,
        <ringbolt::Chunk as Stays<_>>::YES,
        <ringbolt::net::TcpListener as Stays<_>>::YES,
        <ringbolt::net::TcpStream as Stays<_>>::YES,
        <ringbolt::fs::File as Stays<_>>::YES,
    ];
    assert_eq!(all, [true; 9]);
}
