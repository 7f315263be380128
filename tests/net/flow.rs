//! What a connection holds when one side is slow.

use crate::support::*;
use ringbolt::{metrics, timeout};
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

/// What waits in a connection before its peer is slowed down, and the most that may come on top
/// while the system is told to stop: one burst of results.
const HELD_MAX: usize = 256 << 10;

#[test]
fn a_flood_is_held_back() {
    on_every_driver(async |case| {
        let (mut stream, mut peer) = pair_with_std().await;
        // The first receive starts what goes on while the task is busy.
        let mut recv = Box::pin(stream.recv());
        assert!(poll_once(&mut recv).await.is_pending());
        drop(recv);
        peer.set_nonblocking(true).unwrap();
        let block = pattern(1 << 16);
        let (mut sent, mut quiet) = (0, 0);
        while quiet < 50 {
            match peer.write(&block[sent % block.len()..]) {
                Ok(n) => {
                    sent += n;
                    quiet = 0;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    quiet += 1;
                    pause().await;
                }
            }
        }
        assert!(sent > HELD_MAX, "{sent}: the system's buffers alone hold more");
        let lent = metrics().buffers_leased as usize;
        let buffer_len = if case.tiny { 1024 } else { 16 << 10 };
        let burst = 32 * buffer_len;
        assert!(lent * buffer_len <= HELD_MAX + burst, "{lent} buffers of {buffer_len} bytes");
        // Everything arrives, with a reader that is slower than the peer.
        peer.set_nonblocking(false).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = 0;
        while let Some(chunk) = stream.recv().await.unwrap() {
            for (i, byte) in chunk.iter().enumerate().step_by(61) {
                assert_eq!(*byte, block[(got + i) % block.len()], "byte {}", got + i);
            }
            got += chunk.len();
        }
        assert_eq!(got, sent);
    });
}

#[test]
fn chunks_that_are_kept_starve_nobody() {
    on_every_driver(async |case| {
        let (mut hoarder, mut flood) = pair_with_std().await;
        let (mut other, mut peer) = pair_with_std().await;
        let content = pattern(200_000);
        let sent = content.clone();
        let sender = std::thread::spawn(move || {
            flood.write_all(&sent).unwrap();
            drop(flood);
        });
        let mut kept = Vec::new();
        while let Some(chunk) = hoarder.recv().await.unwrap() {
            kept.push(chunk);
        }
        // All the while somebody else gets through.
        for round in 0..10_u8 {
            peer.write_all(&[round]).unwrap();
            let chunk =
                timeout(Duration::from_secs(10), other.recv()).await.expect("no starvation");
            assert_eq!(*chunk.unwrap().expect("a byte"), [round]);
        }
        if case.tiny {
            // The last buffers of a pool are not lent, and without any there is another way.
            let now = metrics();
            assert!(now.copied_out > 0 && now.received_alone > 0, "{now:?}");
            assert!(now.buffers_leased < now.buffers, "{now:?}");
        }
        assert!(kept.iter().flat_map(|chunk| chunk.iter()).eq(&content));
        sender.join().unwrap();
    });
}

#[test]
fn a_send_waits_for_a_slow_reader() {
    on_every_driver(async |_| {
        let (mut stream, mut peer) = pair_with_std().await;
        let content = pattern(16 << 20);
        let mut write = Box::pin(stream.write_all(content.clone()));
        assert!(poll_once(&mut write).await.is_pending());
        turns(100).await;
        assert!(poll_once(&mut write).await.is_pending(), "16 MiB fit nowhere");
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        let (_, back) = write.await.unwrap();
        drop(stream);
        assert!(back == content);
        no_operation().await;
        until("the stream is closed", || metrics().descriptors == 0).await;
        assert!(reader.join().unwrap() == content);
    });
}
