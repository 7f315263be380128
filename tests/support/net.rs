//! Connections for tests.

use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::op::Fd;
use socket2::{SockRef, Socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::time::Duration;

/// A listener on a port of this machine's choice.
pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    (listener, address)
}

/// An address where nobody listens, as long as the socket is kept.
pub(crate) fn dead_address() -> (SocketAddr, Socket) {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().expect("a bound socket").as_socket();
    (address.expect("an internet address"), socket)
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("a listener answers")
}

/// A blocking connection of `std`, for the part of the peer. Its waits end after a while.
pub(crate) fn connect_std(address: SocketAddr) -> net::TcpStream {
    let stream = net::TcpStream::connect(address).expect("a listener answers");
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).expect("a limit above zero");
    stream.set_write_timeout(limit).expect("a limit above zero");
    stream
}

/// Both ends of a connection.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let (mut listener, address) = listen().await;
    let client = connect(address).await;
    let (server, _) = listener.accept().await.expect("a connection");
    (client, server)
}

/// A connection whose other end is a blocking socket of `std`.
pub(crate) async fn pair_with_std() -> (TcpStream, net::TcpStream) {
    let (mut listener, address) = listen().await;
    let peer = connect_std(address);
    let (stream, _) = listener.accept().await.expect("a connection");
    (stream, peer)
}

/// Closes `peer` so that the other end sees a reset.
pub(crate) fn reset(peer: net::TcpStream) {
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("a TCP socket lingers");
}

/// A connection as the operations take it, and its other end.
pub(crate) fn fd_pair() -> (Fd, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peer = connect_std(listener.local_addr().expect("a bound listener"));
    let (stream, _) = listener.accept().expect("a connection");
    (Fd::socket(Socket::from(stream)).expect("a socket in any mode"), peer)
}

/// As [`fd_pair`], with so much sent already that a send has to wait until the peer reads.
pub(crate) fn full_pair() -> (Fd, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    // The buffers are fixed, so that neither side makes room by itself.
    SockRef::from(&listener).set_recv_buffer_size(8 << 10).expect("a size above zero");
    let address = listener.local_addr().expect("a bound listener");
    let mut stream = connect_std(address);
    SockRef::from(&stream).set_send_buffer_size(8 << 10).expect("a size above zero");
    let (peer, _) = listener.accept().expect("a connection");
    stream.set_nonblocking(true).expect("a socket in any mode");
    let mut refused = 0;
    while refused < 20 {
        match stream.write(&[b'.'; 4096]) {
            Ok(_) => refused = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // What is on its way to the peer still makes room for a moment, which is longer
                // where the system emulates another.
                let moment = Duration::from_millis(if cfg!(windows) { 10 } else { 1 });
                refused += 1;
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_read_timeout(Some(moment));
                let _ = stream.read(&mut [0]);
                let _ = stream.set_nonblocking(true);
            }
            Err(error) => panic!("{error}"),
        }
    }
    (Fd::socket(Socket::from(stream)).expect("a socket in any mode"), peer)
}

/// A listener whose backlog is full: further connections wait for an answer. With the connections
/// that fill it.
#[cfg(target_os = "linux")]
pub(crate) fn full_listener() -> (SocketAddr, Vec<Socket>) {
    use socket2::{Domain, Type};
    let new = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = new();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    listener.listen(1).expect("a bound socket");
    let address = listener.local_addr().expect("a bound socket");
    let mut filling = vec![listener];
    loop {
        let socket = new();
        let connected = socket.connect_timeout(&address, Duration::from_millis(50));
        filling.push(socket);
        if connected.is_err() {
            return (address.as_socket().expect("an internet address"), filling);
        }
        assert!(filling.len() < 100, "the backlog does not fill");
    }
}

/// Whether a receive met a reset by the peer. Wine reports that as the end of the stream.
pub(crate) fn is_reset(received: std::io::Result<usize>) -> bool {
    match received {
        Ok(n) => cfg!(windows) && n == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
