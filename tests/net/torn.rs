//! Sends whose futures were dropped.

use crate::support::*;
use ringbolt::timeout;
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream as StdStream;
use std::time::Duration;

fn read_all(mut peer: StdStream) -> ringbolt::JoinHandle<Vec<u8>> {
    ringbolt::spawn_blocking(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    })
}

#[test]
fn a_message_that_was_cut_off_is_the_last() {
    on_every_driver(async |_| {
        let (mut stream, peer) = pair_with_std().await;
        let content = pattern(32 << 20);
        let mut write = Box::pin(stream.write_all(content.clone()));
        for _ in 0..20 {
            assert!(poll_once(&mut write).await.is_pending());
            ringbolt::yield_now().await;
        }
        drop(write);
        for _ in 0..2 {
            let ringbolt::BufResult(result, text) = stream.write_all("next").await;
            let error = result.unwrap_err();
            assert_eq!((error.kind(), text), (ErrorKind::BrokenPipe, "next"));
            let text = "a part of an earlier message was sent when its future was dropped";
            assert!(error.to_string().starts_with(text), "{error}");
        }
        assert_eq!(kind(stream.write_vectored(["a"]).await.0), ErrorKind::BrokenPipe);
        stream.shutdown(std::net::Shutdown::Write).await.unwrap();
        let got = read_all(peer).await.unwrap();
        assert!(!got.is_empty() && got.len() < content.len());
        assert!(content.starts_with(&got), "nothing but a part of the message was sent");
    });
}

#[test]
fn a_first_send_that_was_cut_off_says_so() {
    on_every_driver(async |case| {
        for vectored in [false, true] {
            let (mut stream, peer) = pair_with_std().await;
            let content = pattern(32 << 20);
            // The future goes before its first send has ended, or even begun.
            if vectored {
                let (a, b) = content.split_at(1000);
                let mut write = Box::pin(stream.write_vectored([a.to_vec(), b.to_vec()]));
                assert!(poll_once(&mut write).await.is_pending());
            } else {
                let mut write = Box::pin(stream.write_all(content.clone()));
                assert!(poll_once(&mut write).await.is_pending());
            }
            let next = stream.write_all("next").await.0;
            drop(stream);
            let got = read_all(peer).await.unwrap();
            match next {
                Ok(()) => assert_eq!(got, b"next"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                    assert!(!got.is_empty() && content.starts_with(&got));
                }
            }
            // The kernel sends what fits before it looks at the cancel.
            assert!(!case.is_uring() || got != b"next", "vectored: {vectored}");
        }
    });
}

#[test]
fn a_message_that_was_not_begun_leaves_the_stream_whole() {
    on_every_driver(async |_| {
        let (mut stream, peer) = pair_with_std().await;
        for round in 0..20 {
            let mut write = Box::pin(stream.write_all("whole or nothing;"));
            if round % 2 == 0 {
                assert!(poll_once(&mut write).await.is_pending());
            }
            drop(write);
            stream.write_all("x;").await.unwrap();
        }
        drop(stream);
        let got = String::from_utf8(read_all(peer).await.unwrap()).unwrap();
        let mut others = 0;
        for message in got.split_terminator(';') {
            assert!(matches!(message, "x" | "whole or nothing"), "{got}");
            others += usize::from(message == "x");
        }
        assert_eq!(others, 20);
    });
}

#[test]
fn a_send_under_a_limit_goes_out_or_says_cancelled() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let (mut stream, peer) = pair_with_std().await;
        let reader = read_all(peer);
        let mut wanted = Vec::new();
        for _ in 0..200 {
            let message = pattern(1 + rng.below(100));
            let limit = Duration::from_micros(rng.below(50) as u64);
            match timeout(limit, stream.write_all(message.clone())).await.expect("it ends") {
                ringbolt::BufResult(Ok(()), back) => wanted.extend_from_slice(&back),
                ringbolt::BufResult(Err(error), back) => {
                    assert!(ringbolt::is_cancelled(&error), "{error}");
                    assert_eq!(back, message);
                }
            }
        }
        drop(stream);
        assert!(reader.await.unwrap() == wanted);
    });
}
