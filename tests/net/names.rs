//! Addresses and names.

use crate::support::*;
use ringbolt::net::{ToAddrs, lookup_host};
use ringbolt::{timeout, yield_now};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

#[test]
fn addresses_need_no_resolver() {
    on_every_driver(async |_| {
        let local = Ipv4Addr::LOCALHOST;
        let wanted = SocketAddr::from((local, 80));
        let before = ringbolt::metrics().turns;
        for address in ["127.0.0.1:80".to_addrs().await, ("127.0.0.1", 80).to_addrs().await] {
            assert_eq!(address.unwrap(), [wanted]);
        }
        assert_eq!(lookup_host((local, 80)).await.unwrap(), [wanted]);
        assert_eq!(lookup_host((IpAddr::from(local), 80)).await.unwrap(), [wanted]);
        assert_eq!(lookup_host(wanted).await.unwrap(), [wanted]);
        assert_eq!(lookup_host("127.0.0.1:80".to_string()).await.unwrap(), [wanted]);
        let six = lookup_host("[::1]:80").await.unwrap();
        assert_eq!(six, [SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 80))]);
        assert_eq!(lookup_host(("[::1]", 80)).await.unwrap(), six);
        assert_eq!(lookup_host(("::1", 80)).await.unwrap(), six);
        assert_eq!(ringbolt::metrics().turns, before, "nothing was waited for");
    });
}

#[test]
fn what_is_no_address_says_so() {
    on_every_driver(async |_| {
        let long = format!("{}.example:80", "a".repeat(250));
        let bad = [
            "",
            ":",
            ":80",
            "localhost",
            "localhost:",
            "localhost:65536",
            "localhost:-1",
            "localhost:x",
            "localhost:+80",
            "::1:80",
            "fe80::1:80",
            "a\0b:80",
            "[::1]",
            "127.0.0.1",
            &long,
        ];
        for text in bad {
            let error = lookup_host(text).await.expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}: {error}");
        }
        let error = lookup_host("no port").await.unwrap_err();
        assert!(error.to_string().contains("it is HOST:PORT or [IPV6]:PORT"), "{error}");
        for name in ["", "a\0b", &"a".repeat(254)] {
            assert_eq!(kind(lookup_host((name, 80)).await), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn localhost_is_known_everywhere() {
    on_every_driver(async |_| {
        let found = lookup_host("localhost:80").await.unwrap();
        assert!(found.iter().all(|a| a.ip().is_loopback() && a.port() == 80), "{found:?}");
        assert!(!found.is_empty());
    });
}

#[test]
fn a_name_that_nobody_has_is_an_error_and_blocks_nobody() {
    // RFC 6761, 6.4: no resolver knows a name below `invalid`.
    on_every_roomy_driver(async |_| {
        let lookup = async {
            let found = timeout(Duration::from_secs(20), lookup_host("nobody.invalid:80")).await;
            match found {
                Ok(result) => {
                    let error = result.expect_err("the name exists");
                    assert!(error.to_string().contains("`nobody.invalid`"), "{error}");
                }
                Err(_) => skipped("a resolver that answers within 20 s"),
            }
        };
        let mut lookup = std::pin::pin!(lookup);
        // The core goes on meanwhile: each of these turns is short.
        let mut slowest = Duration::ZERO;
        loop {
            let start = std::time::Instant::now();
            if poll_once(&mut lookup).await.is_ready() {
                break;
            }
            yield_now().await;
            slowest = slowest.max(start.elapsed());
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    });
}
