//! Listening for TCP connections.

use super::TcpStream;
use crate::ToAddrs;
use ringbolt_runtime::op::AcceptMulti;
use ringbolt_runtime::{Fd, explain};
use socket2::{SockRef, Socket};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

/// How a listener is made.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # ringbolt_runtime::Builder::new().build()?.block_on(async {
/// let options = ringbolt_net::ListenOptions::new().backlog(64);
/// let listener = options.listen("127.0.0.1:0").await?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ListenOptions {
    backlog: u32,
    reuse_port: bool,
    only_v6: Option<bool>,
    nodelay: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}

impl ListenOptions {
    /// The default options: a backlog of 4,096 (the system may cut it), one listener per port.
    pub fn new() -> ListenOptions {
        ListenOptions { backlog: 4096, reuse_port: false, only_v6: None, nodelay: false }
    }

    /// Connections that the system keeps until they are accepted.
    pub fn backlog(mut self, connections: u32) -> ListenOptions {
        self.backlog = connections;
        self
    }

    /// Lets several listeners of the same user share a port; the system spreads connections among
    /// them (`SO_REUSEPORT`, socket(7)). Each core can then have a listener of its own. Without
    /// effect on Windows.
    pub fn reuse_port(mut self, on: bool) -> ListenOptions {
        self.reuse_port = on;
        self
    }

    /// Whether an IPv6 listener refuses IPv4 peers; the default is the system's.
    pub fn only_v6(mut self, on: bool) -> ListenOptions {
        self.only_v6 = Some(on);
        self
    }

    /// Whether accepted connections send small packets at once (`TCP_NODELAY`, tcp(7)); they
    /// inherit it from the listener.
    pub fn nodelay(mut self, on: bool) -> ListenOptions {
        self.nodelay = on;
        self
    }

    /// Listens on the first of the addresses that can be used.
    ///
    /// # Errors
    ///
    /// Those of bind(2) and listen(2), with the address in the text: `AddrInUse`,
    /// `AddrNotAvailable`, `PermissionDenied`; and those of [`ToAddrs`].
    pub async fn listen<A: ToAddrs>(&self, address: A) -> io::Result<TcpListener> {
        let mut last = None;
        for address in address.to_addrs().await? {
            match self.listen_on(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => {
                    last = Some(explain(error, format!("cannot listen on {address}")));
                }
            }
        }
        Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::InvalidInput)))
    }

    /// Takes an address without listening on it, for listeners of several cores that are made with
    /// [`reuse_port`](ListenOptions::reuse_port) while the reservation lives. The port is neither
    /// that of a server which runs already, even if that one shares it, nor will the system give it
    /// to somebody else. For port 0, use the port that the system chose.
    ///
    /// # Errors
    ///
    /// Those of bind(2), with the address in the text, and those of [`ToAddrs`].
    pub async fn reserve<A: ToAddrs>(&self, address: A) -> io::Result<Reservation> {
        let mut last = None;
        for address in address.to_addrs().await? {
            // One that asks for the port alone finds out whether somebody listens there.
            let alone = match address.port() {
                0 => Ok(()),
                _ => self.clone().reuse_port(false).bind_to(address).map(drop),
            };
            let bound = alone.and_then(|()| self.bind_to(address));
            match bound.and_then(|socket| Ok((socket.local_addr()?, socket))) {
                Ok((address, socket)) => {
                    return Ok(Reservation { address, _socket: socket.into_socket().ok() });
                }
                Err(error) => {
                    last = Some(explain(error, format!("cannot listen on {address}")));
                }
            }
        }
        Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::InvalidInput)))
    }

    fn listen_on(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = self.bind_to(address)?;
        socket.listen(self.backlog)?;
        Ok(TcpListener { accept: AcceptMulti::new(socket) })
    }

    fn bind_to(&self, address: SocketAddr) -> io::Result<Fd> {
        let socket = Fd::tcp(address)?;
        if let Some(only) = self.only_v6.filter(|_| address.is_ipv6()) {
            socket.set_only_v6(only)?;
        }
        socket.reuse_address(self.reuse_port)?;
        if self.nodelay {
            socket.set_nodelay(true)?;
        }
        socket.bind(address)?;
        Ok(socket)
    }
}

/// An address that is taken, see [`ListenOptions::reserve`]. Dropping it gives the address free.
#[derive(Debug)]
pub struct Reservation {
    address: SocketAddr,
    /// None on a simulated kernel, which gives no port away by itself.
    _socket: Option<Socket>,
}

impl Reservation {
    /// The address, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// A socket that accepts TCP connections.
///
/// Connections belong to the listener: one that arrives while no future waits for it, or whose
/// future was dropped, is what the next [`accept`](TcpListener::accept) returns. Once 256 wait
/// in the listener, further ones stay in the system's backlog; those that came in the same turn of
/// the core are in the listener all the same.
///
/// Dropping the listener closes the connections that wait in it.
///
/// ```
/// use ringbolt_net::{TcpListener, TcpStream};
/// # fn main() -> std::io::Result<()> {
/// # ringbolt_runtime::Builder::new().build()?.block_on(async {
/// let mut listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, peer) = listener.accept().await?;
/// assert_eq!(peer, client.local_addr()?);
/// assert_eq!(server.peer_addr()?, peer);
/// # Ok(()) })
/// # }
/// ```
#[derive(Debug)]
pub struct TcpListener {
    accept: AcceptMulti,
}

impl TcpListener {
    /// Listens with the default options, see [`ListenOptions::listen`].
    ///
    /// # Errors
    ///
    /// See [`ListenOptions::listen`].
    pub async fn bind<A: ToAddrs>(address: A) -> io::Result<TcpListener> {
        ListenOptions::new().listen(address).await
    }

    /// Takes over a listening socket of `std`.
    ///
    /// # Errors
    ///
    /// When the socket cannot be put into the mode that the driver needs.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        Ok(TcpListener { accept: AcceptMulti::new(Fd::socket(Socket::from(listener))?) })
    }

    /// The next connection and the address of its peer.
    ///
    /// While the process has no free descriptor, the listener pauses and tries again, from 1 ms
    /// to 64 ms apart; that is no error. A connection that its peer reset meanwhile is skipped.
    ///
    /// # Errors
    ///
    /// Those of accept(2) that concern the listener itself.
    ///
    /// # Cancellation
    ///
    /// No connection is lost when the future is dropped.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let fd = poll_fn(|cx| self.accept.poll_accept(cx)).await?;
            // A peer that has reset the connection has no address any more.
            if let Ok(peer) = fd.peer_addr() {
                return Ok((TcpStream::from_fd(fd), peer));
            }
        }
    }

    /// The address that it listens on, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.accept.fd().local_addr()
    }

    /// Connections that have been accepted and wait in the listener.
    pub fn queued(&self) -> usize {
        self.accept.queued()
    }

    /// The socket, for options that have no method here.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.accept.fd())
    }
}
