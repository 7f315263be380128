//! Calls on sockets that never wait, so that they need no request: socket(2), bind(2) and the like.
//!
//! On a simulated kernel they act on its sockets, elsewhere on the system's.

use crate::fd::Fd;
use crate::sys;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{Shutdown, SocketAddr};

impl Fd {
    /// A TCP socket of the family of `address`, not bound yet.
    ///
    /// # Errors
    ///
    /// Those of socket(2).
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn tcp(address: SocketAddr) -> io::Result<Fd> {
        #[cfg(feature = "sim")]
        if let Some(fd) = crate::driver::sim::socket(&crate::core::Core::current()) {
            return fd;
        }
        let domain = Domain::for_address(address);
        Fd::socket(Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?)
    }

    /// Lets a listener take an address over that an earlier process used, and with `port_too` share
    /// the port with other listeners (`SO_REUSEADDR`, `SO_REUSEPORT`, socket(7)).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Platforms
    ///
    /// Does nothing on Windows, where this option would let another process take the port away.
    pub fn reuse_address(&self, port_too: bool) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(result) = self.simulated(|kernel, raw| kernel.reuse_port(raw, port_too)) {
            return result;
        }
        sys::reuse_address(&SockRef::from(self), port_too)
    }

    /// Whether an IPv6 socket refuses IPv4 peers (`IPV6_V6ONLY`, ipv6(7)).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_only_v6(&self, on: bool) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if self.is_virtual() {
            return Ok(());
        }
        SockRef::from(self).set_only_v6(on)
    }

    /// Whether small packets are sent at once (`TCP_NODELAY`, tcp(7)).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if self.is_virtual() {
            return Ok(());
        }
        SockRef::from(self).set_tcp_nodelay(on)
    }

    /// Takes `address` for this socket.
    ///
    /// # Errors
    ///
    /// Those of bind(2).
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(result) = self.simulated(|kernel, raw| kernel.bind(raw, address)) {
            return result;
        }
        SockRef::from(self).bind(&address.into())
    }

    /// Lets peers connect; at most `backlog` of them wait to be accepted.
    ///
    /// # Errors
    ///
    /// Those of listen(2).
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(result) = self.simulated(|kernel, raw| kernel.listen(raw, backlog)) {
            return result;
        }
        SockRef::from(self).listen(backlog.min(i32::MAX as u32) as i32)
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        #[cfg(feature = "sim")]
        if let Some(result) = self.simulated(|kernel, raw| kernel.local_addr(raw)) {
            return result;
        }
        internet(SockRef::from(self).local_addr()?)
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        #[cfg(feature = "sim")]
        if let Some(result) = self.simulated(|kernel, raw| kernel.peer_addr(raw)) {
            return result;
        }
        internet(SockRef::from(self).peer_addr()?)
    }

    /// Ends one or both directions at once; what was sent before still arrives.
    ///
    /// # Errors
    ///
    /// Those of shutdown(2).
    pub fn end(&self, how: Shutdown) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(result) = self.simulated(|kernel, raw| kernel.end(raw, how)) {
            return result;
        }
        SockRef::from(self).shutdown(how)
    }
}

fn internet(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    let not_ip = || io::Error::new(io::ErrorKind::InvalidData, "the address is not an IP address");
    address.as_socket().ok_or_else(not_ip)
}
