//! What every operation returns when it succeeds, in whole or in part.

use crate::support::*;
use ringbolt::buffers::Pages;
use ringbolt::op::{
    Accept, Connect, CreateDir, Fd, Fsync, Nop, Open, OpenWish, Read, ReadVectored, Readable, Recv,
    RecvMsg, Remove, Rename, Send, SendMsg, Shutdown, Stat, Submit, Writable, Write, WriteVectored,
};
use ringbolt::{IoBuf, IoBufMut, metrics};
use std::io::{Read as _, Write as _};
use std::net;

#[test]
fn nop() {
    on_every_driver(async |_| Submit::new(Nop).await.unwrap());
}

#[test]
fn accept_and_connect() {
    on_every_driver(async |_| {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = net::TcpListener::bind(local) else {
                skipped(&format!("a listener on {local}"));
                continue;
            };
            let address: net::SocketAddr = listener.local_addr().unwrap();
            let listener = Fd::socket(listener.into()).unwrap();
            let domain = socket2::Domain::for_address(address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
            let client = Fd::socket(socket).unwrap();
            Submit::new(Connect::new(client.clone(), address.into())).await.unwrap();
            let server = Submit::new(Accept::new(listener.clone())).await.unwrap();
            let ours = socket2::SockRef::from(&client).local_addr().unwrap().as_socket();
            let theirs = socket2::SockRef::from(&server).peer_addr().unwrap().as_socket();
            assert_eq!(ours, theirs);
            assert_eq!(metrics().descriptors, 3);
            // The other order: the accept waits first.
            let waiting = ringbolt::spawn(Submit::new(Accept::new(listener)));
            turns(2).await;
            let peer = connect_std(address);
            let server = waiting.await.unwrap().unwrap();
            let theirs = socket2::SockRef::from(&server).peer_addr().unwrap().as_socket();
            assert_eq!(theirs, Some(peer.local_addr().unwrap()));
        }
    });
}

#[test]
fn recv_and_send() {
    on_every_driver(async |_| {
        let (fd, mut peer) = fd_pair();
        let (n, text) = Submit::new(Send::new(fd.clone(), "hello")).await.unwrap();
        assert_eq!((n, text), (5, "hello"));
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        // A part of a buffer, and only that.
        let part = pattern(100).slice(10..20);
        let (n, part) = Submit::new(Send::new(fd.clone(), part)).await.unwrap();
        assert_eq!((n, part.into_inner()), (10, pattern(100)));
        let mut got = [0; 10];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, pattern(100)[10..20]);

        peer.write_all(&pattern(100)).unwrap();
        let recv = |capacity| Recv::new(fd.clone(), Vec::with_capacity(capacity));
        let (n, buf) = Submit::new(recv(30)).await.unwrap();
        assert_eq!((n, &buf[..]), (30, &pattern(100)[..30]));
        // Behind what a buffer holds already.
        let (n, tail) =
            Submit::new(Recv::new(fd.clone(), vec![1, 2].slice_mut(2..))).await.unwrap();
        assert_eq!((n, tail.into_inner()), (0, vec![1, 2]));
        let mut buf = Vec::with_capacity(12);
        buf.extend_from_slice(b"ab");
        let (n, tail) = Submit::new(Recv::new(fd.clone(), buf.slice_mut(2..12))).await.unwrap();
        let mut wanted = b"ab".to_vec();
        wanted.extend_from_slice(&pattern(100)[30..40]);
        assert_eq!((n, tail.into_inner()), (10, wanted));
        // Less than asked for, and then the end.
        let (n, buf) = Submit::new(recv(1000)).await.unwrap();
        assert_eq!((n, &buf[..]), (60, &pattern(100)[40..]));
        drop(peer);
        for _ in 0..2 {
            assert_eq!(Submit::new(recv(8)).await.unwrap(), (0, vec![]));
        }
    });
}

#[test]
fn sendmsg_and_recvmsg() {
    on_every_driver(async |_| {
        let (fd, mut peer) = fd_pair();
        // More parts than fit into the operation itself, some of them empty.
        let parts: Vec<Vec<u8>> = (0..20).map(|i| vec![i; usize::from(i) % 5]).collect();
        let all = parts.concat();
        let (n, back) = Submit::new(SendMsg::new(fd.clone(), parts.clone())).await.unwrap();
        assert_eq!((n, back), (all.len(), parts));
        let mut got = vec![0; all.len()];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, all);

        peer.write_all(b"0123456789").unwrap();
        let room = [Vec::with_capacity(3), Vec::with_capacity(0), Vec::with_capacity(100)];
        let (n, [a, b, c]) = Submit::new(RecvMsg::new(fd.clone(), room)).await.unwrap();
        assert_eq!(n, 10);
        assert_eq!((&a[..], &b[..], &c[..]), (&b"012"[..], &b""[..], &b"3456789"[..]));
        // A short one leaves the later parts empty, whatever was in them.
        peer.write_all(b"xy").unwrap();
        let room = (b"old".to_vec(), b"older".to_vec());
        let (n, (a, b)) = Submit::new(RecvMsg::new(fd.clone(), room)).await.unwrap();
        assert_eq!((n, &a[..], &b[..]), (2, &b"xy"[..], &b""[..]));
        drop(peer);
        let (n, _) = Submit::new(RecvMsg::new(fd, [Vec::with_capacity(4)])).await.unwrap();
        assert_eq!(n, 0);
    });
}

#[test]
fn shutdown_of_each_direction() {
    on_every_driver(async |_| {
        let (fd, mut peer) = fd_pair();
        Submit::new(Shutdown::new(fd.clone(), net::Shutdown::Write)).await.unwrap();
        assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0);
        peer.write_all(b"still open").unwrap();
        let (n, _) = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(64))).await.unwrap();
        assert_eq!(n, 10);
        Submit::new(Send::new(fd, "x")).await.0.unwrap_err();

        let (fd, _peer) = fd_pair();
        let waiting = ringbolt::spawn(Submit::new(Recv::new(fd.clone(), Vec::with_capacity(64))));
        turns(2).await;
        Submit::new(Shutdown::new(fd, net::Shutdown::Both)).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().0, 0);
    });
}

#[test]
fn poll_of_each_direction() {
    on_every_driver(async |_| {
        let (fd, mut peer) = fd_pair();
        Submit::new(Writable::new(fd.clone())).await.unwrap();
        let mut readable = Submit::new(Readable::new(fd.clone()));
        assert!(poll_once(&mut readable).await.is_pending());
        turns(5).await;
        assert!(poll_once(&mut readable).await.is_pending());
        peer.write_all(b"x").unwrap();
        readable.await.unwrap();
        // It took nothing away.
        Submit::new(Readable::new(fd.clone())).await.unwrap();
        assert_eq!(Submit::new(Recv::new(fd.clone(), Vec::with_capacity(4))).await.unwrap().0, 1);
        // The end counts as ready.
        let waiting = ringbolt::spawn(Submit::new(Readable::new(fd)));
        turns(2).await;
        drop(peer);
        waiting.await.unwrap().unwrap();

        let (full, mut peer) = full_pair();
        let mut writable = Submit::new(Writable::new(full));
        assert!(poll_once(&mut writable).await.is_pending());
        turns(5).await;
        assert!(poll_once(&mut writable).await.is_pending());
        let drained = std::thread::spawn(move || {
            let mut all = vec![0; 1 << 20];
            while peer.read(&mut all).unwrap() > 0 {}
        });
        writable.await.unwrap();
        no_operation().await;
        until("the socket is closed", || metrics().descriptors == 0).await;
        drained.join().unwrap();
    });
}

#[test]
fn a_file_from_open_to_close() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("file"), dir.path().join("moved"));
        let wish = OpenWish { read: true, write: true, create: true, ..OpenWish::default() };
        let wish = OpenWish { mode: 0o640, ..wish };
        let fd = Submit::new(Open::new(&path, &wish).unwrap()).await.unwrap();
        let (n, text) = Submit::new(Write::new(fd.clone(), "0123456789", 0)).await.unwrap();
        assert_eq!((n, text), (10, "0123456789"));
        let parts = (String::from("ab"), "cd".to_string());
        let (n, parts) = Submit::new(WriteVectored::new(fd.clone(), parts, 4)).await.unwrap();
        assert_eq!((n, parts.0.as_str()), (4, "ab"));
        Submit::new(Fsync::new(fd.clone(), true)).await.unwrap();
        Submit::new(Fsync::new(fd.clone(), false)).await.unwrap();

        let read = Read::new(fd.clone(), Pages::new(4, 4096).unwrap(), 3);
        let (n, pages) = Submit::new(read).await.unwrap();
        assert_eq!((n, &pages[..]), (4, &b"3abc"[..]));
        let room = [Vec::with_capacity(3), Vec::with_capacity(30)];
        let (n, [a, b]) = Submit::new(ReadVectored::new(fd.clone(), room, 2)).await.unwrap();
        assert_eq!((n, &a[..], &b[..]), (8, &b"23a"[..], &b"bcd89"[..]));
        for past in [10, 11, 1 << 40] {
            let read = Read::new(fd.clone(), b"old content".to_vec(), past);
            assert_eq!(Submit::new(read).await.unwrap(), (0, vec![]));
        }

        let by_fd = Submit::new(Stat::fd(fd.clone())).await.unwrap();
        let by_name = Submit::new(Stat::path(&path, true).unwrap()).await.unwrap();
        assert_eq!((by_fd.len(), by_fd.id()), (10, by_name.id()));
        assert!(by_fd.is_file() && !by_fd.is_dir());
        #[cfg(unix)]
        assert_eq!(by_fd.mode() & 0o777, 0o640);
        Submit::new(fd.into_close().expect("the only one")).await.unwrap();
        assert_eq!(metrics().descriptors, 0);

        Submit::new(Rename::new(&path, &moved).unwrap()).await.unwrap();
        Submit::new(Remove::file(&moved).unwrap()).await.unwrap();
        Submit::new(CreateDir::new(&path, 0o700).unwrap()).await.unwrap();
        assert!(Submit::new(Stat::path(&path, true).unwrap()).await.unwrap().is_dir());
        Submit::new(Remove::dir(&path).unwrap()).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}

#[test]
fn empty_buffers() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "text").unwrap();
        let options =
            std::fs::OpenOptions::new().read(true).write(true).open(dir.path().join("file"));
        let fd = Fd::file(options.unwrap());
        assert_eq!(Submit::new(Read::new(fd.clone(), Vec::new(), 0)).await.unwrap().0, 0);
        assert_eq!(Submit::new(Write::new(fd.clone(), "", 0)).await.unwrap().0, 0);
        let none: [Vec<u8>; 0] = [];
        assert_eq!(Submit::new(ReadVectored::new(fd.clone(), none, 0)).await.unwrap().0, 0);
        assert_eq!(Submit::new(WriteVectored::new(fd.clone(), [""; 3], 0)).await.unwrap().0, 0);
        let (socket, mut peer) = fd_pair();
        assert_eq!(Submit::new(Send::new(socket.clone(), "")).await.unwrap().0, 0);
        assert_eq!(Submit::new(SendMsg::new(socket.clone(), [""; 3])).await.unwrap().0, 0);
        Submit::new(Send::new(socket, "x")).await.unwrap();
        assert_eq!(peer.read(&mut [0; 4]).unwrap(), 1);
    });
}

#[test]
fn every_kind_of_buffer() {
    on_every_driver(async |_| {
        let (fd, mut peer) = fd_pair();
        let mut get = |wanted: &[u8]| {
            let mut got = vec![0; wanted.len()];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(got, wanted);
        };
        let send = async |n: usize, sent: usize| assert_eq!(n, sent);
        let out = || fd.clone();
        send(1, Submit::new(Send::new(out(), "a")).await.unwrap().0).await;
        send(2, Submit::new(Send::new(out(), &b"bc"[..])).await.unwrap().0).await;
        send(2, Submit::new(Send::new(out(), String::from("de"))).await.unwrap().0).await;
        send(1, Submit::new(Send::new(out(), vec![b'f'])).await.unwrap().0).await;
        send(1, Submit::new(Send::new(out(), Box::<[u8]>::from(*b"g"))).await.unwrap().0).await;
        let shared = std::sync::Arc::<[u8]>::from(*b"h");
        send(1, Submit::new(Send::new(out(), shared)).await.unwrap().0).await;
        let chunk = ringbolt::Chunk::copied(b"ij");
        send(2, Submit::new(Send::new(out(), chunk)).await.unwrap().0).await;
        let bytes = ringbolt::Chunk::copied(b"kl").into_bytes();
        send(2, Submit::new(Send::new(out(), bytes)).await.unwrap().0).await;
        get(b"abcdefghijkl");
        peer.write_all(b"0123456789").unwrap();
        let boxed = Submit::new(Recv::new(out(), vec![0; 5].into_boxed_slice())).await.unwrap();
        assert_eq!((boxed.0, &boxed.1[..]), (5, &b"01234"[..]));
        let part = Submit::new(Recv::new(out(), boxed.1.slice_mut(1..3))).await.unwrap();
        assert_eq!((part.0, &part.1.into_inner()[..]), (2, &b"05634"[..]));
    });
}
