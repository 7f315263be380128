//! One test for each mistake that got past the others, or that only a certain order of events
//! shows.

use crate::support::*;
use std::time::Duration;

#[test]
#[cfg(target_os = "linux")]
fn a_connection_attempt_under_a_limit_says_cancelled() {
    // The text with the address hid that the attempt had been cancelled.
    on_every_driver(async |_| {
        let (address, _filling) = full_listener();
        let (dead, _nobody) = dead_address();
        for addresses in [&[address][..], &[dead, address, address]] {
            let attempt = ringbolt::net::TcpStream::connect(addresses);
            let result = ringbolt::timeout(SHORT, attempt).await.expect("an operation was awaited");
            assert!(ringbolt::is_cancelled(&result.unwrap_err()));
        }
    });
}

#[test]
#[cfg(unix)]
fn a_pipe_has_no_offsets_on_any_driver() {
    use ringbolt::io::{Read as _, Write as _};
    use std::os::fd::OwnedFd;
    // pread(2) refuses a pipe, io_uring ignores the offset.
    on_every_driver(async |_| {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut source = ringbolt::fs::File::from_std(OwnedFd::from(reader).into());
        let mut sink = ringbolt::fs::File::from_std(OwnedFd::from(writer).into());
        sink.write_all("first").await.unwrap();
        sink.write_vectored_at(["sec", "ond"], 1000).await.unwrap();
        assert_eq!(source.read(Vec::with_capacity(5)).await.unwrap().1, b"first");
        let parts = [Vec::with_capacity(2), Vec::with_capacity(4)];
        let (n, parts) = source.read_vectored_at(parts, u64::MAX).await.unwrap();
        assert_eq!((n, parts.concat()), (6, b"second".to_vec()));
        sink.close().await.unwrap();
        assert_eq!(source.read(Vec::with_capacity(5)).await.unwrap().0, 0);
    });
}

#[test]
fn a_failed_attempt_to_nest_leaves_the_outer_runtime_current() {
    on_every_driver(async |case| {
        let inner = case.builder.build().unwrap();
        drop(inner);
        ringbolt::sleep(Duration::from_micros(10)).await;
        assert_eq!(ringbolt::spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[cfg(unix)]
#[test]
fn a_path_or_an_address_does_not_hide_the_error_number() {
    on_every_driver(async |_| {
        let missing = ringbolt::fs::File::open("/no/such/file").await.unwrap_err();
        assert_eq!(ringbolt::raw_os_error(&missing), Some(libc::ENOENT));
        assert!(missing.to_string().starts_with("cannot open /no/such/file: "), "{missing}");
        let (nobody, _socket) = dead_address();
        let refused = ringbolt::net::TcpStream::connect(nobody).await.unwrap_err();
        assert_eq!(ringbolt::raw_os_error(&refused), Some(libc::ECONNREFUSED));
        assert!(refused.to_string().contains(&nobody.to_string()), "{refused}");
    });
}

#[cfg(unix)]
#[test]
fn a_file_is_closed_whatever_becomes_of_its_close() {
    use std::os::fd::OwnedFd;
    on_every_driver(async |_| {
        let (mut silent, _peer) = pair().await;
        for start in [true, false] {
            let (reader, writer) = std::io::pipe().unwrap();
            let reader = ringbolt::fs::File::from_std(OwnedFd::from(reader).into());
            let writer = std::fs::File::from(OwnedFd::from(writer));
            if start {
                // The limit has passed when the close begins.
                let limited = ringbolt::timeout(SHORT, async {
                    let cancelled = silent.read(Vec::with_capacity(1)).await.0;
                    assert!(ringbolt::is_cancelled(&cancelled.unwrap_err()));
                    ringbolt::fs::File::from_std(writer).close().await
                });
                limited.await.expect("a close ends").expect("a pipe closes");
            } else {
                drop(ringbolt::op::Fd::file(writer).into_close().expect("nobody else has it"));
            }
            let end = reader.read_at(Vec::with_capacity(1), u64::MAX);
            let end = ringbolt::timeout(Duration::from_secs(5), end).await;
            assert_eq!(end.expect("no writer is left").unwrap().0, 0);
        }
    });
}
