//! A hundred operations in flight, of every kind that waits.

use crate::support::{Try, fd_pair, io, pattern, poll_once, turns};
use ringbolt::metrics;
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::op::{Fd, Readable, Recv, Send, Submit};
use std::io::Write;
use std::net;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

const RECEIVES: usize = 50;
const READS: usize = 20;
const ACCEPTS: usize = 10;
const SENDS: usize = 10;
const WAITS: usize = 10;
/// Operations that [`Load::start`] puts in flight.
pub(crate) const ALL: u64 = (RECEIVES + READS + ACCEPTS + SENDS + WAITS) as u64;

/// Operations in flight, and what ends them.
pub(crate) struct Load {
    pub(crate) pending: Vec<Try>,
    peers: Vec<net::TcpStream>,
    addresses: Vec<net::SocketAddr>,
    full: Vec<UnixStream>,
}

/// A connection, and its other end.
pub(crate) fn stream() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (TcpStream::from_std(listener.accept().unwrap().0).unwrap(), peer)
}

/// A socket on which a send has to wait, and its other end.
fn full() -> (Fd, UnixStream) {
    let (mut socket, peer) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[b'.'; 4096]).is_ok() {}
    (Fd::socket(OwnedFd::from(socket).into()).unwrap(), peer)
}

impl Load {
    /// Puts operations of every kind in flight.
    pub(crate) async fn start() -> Load {
        let mut load = Load { pending: vec![], peers: vec![], addresses: vec![], full: vec![] };
        for _ in 0..RECEIVES {
            let (mut stream, peer) = stream();
            load.peers.push(peer);
            load.pending.push(io(async move {
                let chunk = stream.recv().await?.expect("the peer sends");
                assert_eq!(chunk[..], pattern(100));
                Ok(())
            }));
        }
        for _ in 0..READS {
            let (fd, peer) = fd_pair();
            load.peers.push(peer);
            load.pending.push(io(async move {
                let (n, buf) = Submit::new(Recv::new(fd, Vec::with_capacity(200))).await.unwrap();
                assert_eq!((n, buf), (100, pattern(100)));
                Ok(())
            }));
        }
        for _ in 0..WAITS {
            let (fd, peer) = fd_pair();
            load.peers.push(peer);
            load.pending.push(io(Submit::new(Readable::new(fd))));
        }
        for _ in 0..ACCEPTS {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            load.addresses.push(listener.local_addr().unwrap());
            load.pending.push(io(async move { listener.accept().await }));
        }
        for _ in 0..SENDS {
            let (fd, peer) = full();
            load.full.push(peer);
            load.pending.push(io(async move {
                Submit::new(Send::new(fd, pattern(100))).await.0.map(|n| assert_eq!(n, 100))
            }));
        }
        for future in &mut load.pending {
            assert!(poll_once(future).await.is_pending());
        }
        turns(4).await;
        assert_eq!(metrics().in_flight, ALL);
        load
    }

    /// Ends every operation from the other side, and checks what it brought.
    pub(crate) async fn finish(mut self) {
        for peer in &mut self.peers {
            peer.write_all(&pattern(100)).unwrap();
        }
        let clients: Vec<_> =
            self.addresses.iter().map(|at| net::TcpStream::connect(at).unwrap()).collect();
        for mut peer in self.full {
            std::thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
        }
        for future in self.pending {
            future.await.expect("no operation was disturbed");
        }
        drop((clients, self.peers));
    }
}
