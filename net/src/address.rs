//! What a function that wants an address accepts.

use crate::resolve::lookup;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Something that stands for one or more socket addresses: addresses themselves, `"host:port"`, or
/// a host with a port. Names are resolved by the system, off the core.
pub trait ToAddrs {
    /// The addresses, in the order in which they are to be tried.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a text that is no address, and those of the system's resolver.
    fn to_addrs(&self) -> impl Future<Output = io::Result<Vec<SocketAddr>>>;
}

macro_rules! ready {
    ($($kind:ty),*) => {$(
        impl ToAddrs for $kind {
            async fn to_addrs(&self) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![(*self).into()])
            }
        }
    )*};
}

ready!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToAddrs for [SocketAddr] {
    async fn to_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl ToAddrs for str {
    async fn to_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        match parse(self)? {
            Target::Address(address) => Ok(vec![address]),
            Target::Name(host, port) => lookup(host, port).await,
        }
    }
}

/// What a text names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Address(SocketAddr),
    /// A host name, not looked at yet, and a port.
    Name(&'a str, u16),
}

/// Takes `HOST:PORT` or `[IPV6]:PORT` apart.
pub(crate) fn parse(text: &str) -> io::Result<Target<'_>> {
    if let Ok(address) = text.parse() {
        return Ok(Target::Address(address));
    }
    let invalid = || {
        let text = format!("`{text}` is not an address: it is HOST:PORT or [IPV6]:PORT");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    // `::1:80` is an address without a port as much as one with it, and a number may have a sign.
    if host.contains(':') || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    Ok(Target::Name(host, port.parse().map_err(|_| invalid())?))
}

impl ToAddrs for (&str, u16) {
    async fn to_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        lookup(self.0, self.1).await
    }
}

impl ToAddrs for String {
    async fn to_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.as_str().to_addrs().await
    }
}

impl<T: ToAddrs + ?Sized> ToAddrs for &T {
    async fn to_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        (**self).to_addrs().await
    }
}
