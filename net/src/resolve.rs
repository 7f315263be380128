//! Names to addresses, by the system's resolver on helper threads.

use crate::ToAddrs;
use ringbolt_runtime::spawn_resolver;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The longest name that DNS has (RFC 1035, 2.3.4).
const NAME_MAX: usize = 253;

/// The addresses that `host` stands for, for example `"localhost:80"`.
///
/// At most eight names are resolved at a time, on threads of their own: a resolver that hangs
/// delays other names, but no other work.
///
/// # Errors
///
/// `InvalidInput` for a text that is no name, `NotFound` where the resolver knows no address, and
/// those of the resolver.
pub async fn lookup_host<A: ToAddrs>(host: A) -> io::Result<Vec<SocketAddr>> {
    host.to_addrs().await
}

/// The address that `host` spells out, if it does.
///
/// # Errors
///
/// `InvalidInput` for what is neither an address nor a name: what the resolver would cut off or
/// misread, so that the name could stand for another.
pub(crate) fn literal(host: &str) -> io::Result<Option<IpAddr>> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return Ok(Some(address));
    }
    if host.is_empty() || host.len() > NAME_MAX || host.contains('\0') {
        let text = format!("`{}` is not a host name", host.escape_debug());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(None)
}

/// Resolves a name that cannot be taken apart by hand.
pub(crate) async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = literal(host)? {
        return Ok(vec![(address, port).into()]);
    }
    #[cfg(feature = "sim")]
    if let Some(found) = ringbolt_runtime::sim::resolve(host) {
        let text = format!("`{host}` is not the name of a simulated host");
        let address = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, text))?;
        return Ok(vec![(address, port).into()]);
    }
    let name = host.to_string();
    let found = spawn_resolver(move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter));
    let found: Vec<SocketAddr> = found.await?.map_err(|error| {
        io::Error::new(error.kind(), format!("`{host}` cannot be resolved: {error}"))
    })?;
    if found.is_empty() {
        let text = format!("`{host}` has no address");
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(found)
}
