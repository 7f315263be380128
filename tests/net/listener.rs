//! Listening, accepting and connecting.

use crate::support::*;
use ringbolt::net::{ListenOptions, TcpListener, TcpStream};
use ringbolt::{metrics, timeout};
use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn a_dropped_accept_leaves_the_connection_to_the_next() {
    on_every_driver(async |_| {
        let (mut listener, address) = listen().await;
        for round in 0..12 {
            let mut accept = Box::pin(listener.accept());
            assert!(poll_once(&mut accept).await.is_pending());
            turns(round % 4).await;
            let peer = connect_std(address);
            turns(round % 3).await;
            if round % 2 == 0 {
                drop(accept);
            } else {
                std::mem::forget(accept);
            }
            let (stream, from) = listener.accept().await.unwrap();
            assert_eq!(from, peer.local_addr().unwrap());
            assert_eq!(stream.peer_addr().unwrap(), from);
        }
    });
}

#[test]
fn an_accept_under_a_limit_loses_no_connection() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let (mut listener, address) = listen().await;
        let clients =
            std::thread::spawn(move || (0..100).map(|_| connect_std(address)).collect::<Vec<_>>());
        let mut accepted = Vec::new();
        while accepted.len() < 100 {
            let limit = Duration::from_micros(rng.below(80) as u64);
            if let Ok(Ok((_, from))) = timeout(limit, listener.accept()).await {
                accepted.push(from);
            }
        }
        let clients = clients.join().unwrap();
        let mut wanted: Vec<SocketAddr> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
        accepted.sort();
        wanted.sort();
        assert_eq!(accepted, wanted);
    });
}

#[test]
fn many_connections_wait_in_the_listener_and_behind_it() {
    const CLIENTS: usize = 600;
    on_every_driver(async |_| {
        let (mut listener, address) = listen().await;
        let mut accept = Box::pin(listener.accept());
        assert!(poll_once(&mut accept).await.is_pending());
        drop(accept);
        let mut clients = Vec::new();
        while clients.len() < CLIENTS {
            clients.push(connect_std(address));
            if clients.len() % 8 == 0 {
                turns(2).await;
            }
        }
        turns(100).await;
        // What the system had accepted before it was told to stop comes on top.
        let queued = listener.queued();
        assert!((256..300).contains(&queued), "{queued} wait in the listener");
        let mut accepted = Vec::new();
        while accepted.len() < CLIENTS {
            accepted.push(listener.accept().await.unwrap().1);
        }
        let mut wanted: Vec<SocketAddr> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
        accepted.sort();
        wanted.sort();
        assert!(accepted == wanted);
        assert_eq!(listener.queued(), 0);
    });
}

#[test]
fn dropping_a_listener_closes_what_waits_in_it() {
    // Among others, somebody else might take the port.
    if !alone(module_path!(), "dropping_a_listener_closes_what_waits_in_it") {
        return;
    }
    on_every_driver(async |_| {
        let (mut listener, address) = listen().await;
        let mut accept = Box::pin(listener.accept());
        assert!(poll_once(&mut accept).await.is_pending());
        drop(accept);
        let mut clients: Vec<_> = (0..20).map(|_| connect_std(address)).collect();
        until("all are accepted", || listener.queued() == 20).await;
        assert_eq!(metrics().descriptors, 21);
        drop(listener);
        until("all are closed", || metrics().descriptors == 0).await;
        for client in &mut clients {
            assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        }
        assert_eq!(kind(TcpStream::connect(address).await), ErrorKind::ConnectionRefused);
        // The port can be had again at once.
        TcpListener::bind(address).await.unwrap();
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_attempt_has_a_limit() {
    on_every_driver(async |_| {
        let (address, _filling) = full_listener();
        let limit = Duration::from_millis(20);
        let error = TcpStream::connect_timeout(address, limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "no connection within 20ms");
        // Dropping the future gives the attempt up as well.
        let mut connect = Box::pin(TcpStream::connect(address));
        assert!(poll_once(&mut connect).await.is_pending());
        turns(3).await;
        drop(connect);
        until("the socket is closed", || metrics().descriptors == 0).await;
        let (_listener, open) = listen().await;
        TcpStream::connect_timeout(open, Duration::from_secs(10)).await.unwrap();
    });
}

#[test]
fn the_first_address_that_works_is_taken() {
    on_every_driver(async |_| {
        let (dead, _nobody) = dead_address();
        let (_listener, alive) = listen().await;
        let stream = TcpStream::connect(&[dead, alive][..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        assert_eq!(kind(TcpStream::connect(&[dead, dead][..]).await), ErrorKind::ConnectionRefused);
        assert_eq!(kind(TcpStream::connect(&[][..]).await), ErrorKind::InvalidInput);
        assert_eq!(kind(TcpListener::bind(&[][..]).await), ErrorKind::InvalidInput);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let second = TcpListener::bind(&[alive, free][..]).await.unwrap();
        assert_ne!(second.local_addr().unwrap(), alive);
    });
}

#[test]
fn options_of_a_listener() {
    on_every_driver(async |_| {
        let options = ListenOptions::new().backlog(16).nodelay(true);
        let mut listener = options.listen("127.0.0.1:0").await.unwrap();
        let _client = connect(listener.local_addr().unwrap()).await;
        let (server, _) = listener.accept().await.unwrap();
        assert!(server.socket().tcp_nodelay().unwrap());
    });
}

#[test]
#[cfg(target_os = "linux")]
fn listeners_share_a_port_where_they_agree() {
    on_every_driver(async |_| {
        let shared = ListenOptions::new().reuse_port(true);
        let mut first = shared.listen("127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap();
        let mut second = shared.listen(address).await.unwrap();
        assert_eq!(kind(TcpListener::bind(address).await), ErrorKind::AddrInUse);
        let clients: Vec<_> = (0..64).map(|_| connect_std(address)).collect();
        let mut shares = [0, 0];
        while shares[0] + shares[1] < clients.len() {
            for (share, listener) in shares.iter_mut().zip([&mut first, &mut second]) {
                if matches!(timeout(SHORT, listener.accept()).await, Ok(Ok(_))) {
                    *share += 1;
                }
            }
        }
        assert!(shares[0] > 0 && shares[1] > 0, "{shares:?}");
    });
}

#[test]
fn ipv6() {
    on_every_driver(async |_| {
        let Ok(mut listener) = TcpListener::bind("[::1]:0").await else {
            return skipped("an IPv6 loopback address");
        };
        let address = listener.local_addr().unwrap();
        assert!(address.is_ipv6());
        let mut client = TcpStream::connect(("::1", address.port())).await.unwrap();
        let (mut server, from) = listener.accept().await.unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        client.write_all("six").await.unwrap();
        assert_eq!(&*server.recv().await.unwrap().unwrap(), b"six");
        let mut only = ListenOptions::new().only_v6(true).listen("[::]:0").await.unwrap();
        let port = only.local_addr().unwrap().port();
        // Somebody else may listen there for IPv4.
        let other = TcpStream::connect(("127.0.0.1", port)).await;
        assert!(timeout(SHORT, only.accept()).await.is_err(), "{other:?}");
    });
}

#[test]
fn a_connection_that_was_reset_before_its_accept_is_no_error() {
    on_every_driver(async |_| {
        let (mut listener, address) = listen().await;
        for _ in 0..10 {
            reset(connect_std(address));
        }
        let alive = connect_std(address);
        // Those that were reset are skipped, or handed out and then say so themselves.
        loop {
            let (mut stream, from) = listener.accept().await.unwrap();
            if from == alive.local_addr().unwrap() {
                break;
            }
            assert_eq!(kind(stream.recv().await), ErrorKind::ConnectionReset);
        }
    });
}
