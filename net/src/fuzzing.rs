//! Bodies of the fuzz targets of this crate: each takes any bytes and panics if a promise breaks.

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

use crate::address::{Target, parse};
use crate::resolve::literal;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

/// A text that is to be an address: it is taken for what it says, or refused.
pub fn addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(text.parse::<SocketAddr>().is_err(), "`{text}` was refused");
        }
        Ok(Target::Address(address)) => {
            assert_eq!(text.parse(), Ok(address));
            assert_eq!(parse(&address.to_string()).ok(), Some(Target::Address(address)));
        }
        Ok(Target::Name(host, port)) => {
            let (before, after) = text.split_once(':').expect("a port follows a colon");
            assert_eq!(host, before, "the name is all that is before the port");
            assert_eq!(after.trim_start_matches('0').parse().unwrap_or(0), port);
            check_host(host);
        }
    }
    check_host(text);
}

/// What the resolver gets is what was asked for.
fn check_host(host: &str) {
    match literal(host) {
        Ok(Some(address)) => {
            let inside = host.trim_start_matches('[').trim_end_matches(']');
            assert_eq!(inside.parse::<IpAddr>(), Ok(address));
            assert!(host.len() - inside.len() == 0 || host == format!("[{inside}]"));
        }
        Ok(None) => {
            assert!((1..=253).contains(&host.len()) && !host.contains('\0'), "`{host:?}`");
            assert!(host.parse::<IpAddr>().is_err());
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(host.is_empty() || host.len() > 253 || host.contains('\0'), "`{host}`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpus_of_addresses() {
        replay("addresses", super::addresses, 5000);
    }
}
