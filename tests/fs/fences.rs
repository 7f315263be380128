//! Writes whose futures have gone, and what has to wait for them.

use crate::support::*;
use ringbolt::fs::{File, OpenOptions};
use ringbolt::{metrics, timeout};
use std::time::Duration;

#[test]
fn a_dropped_write_never_lands_on_a_later_one() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::create(&path).await.unwrap();
        for round in 0..100_u32 {
            let (old, new) = (vec![b'o'; 100_000], round.to_le_bytes().to_vec());
            {
                let mut write = Box::pin(file.write_at(old, 0));
                for _ in 0..rng.below(3) {
                    if poll_once(&mut write).await.is_ready() {
                        break;
                    }
                }
            }
            if rng.chance(1, 2) {
                file.write_all_at(new.clone(), 0).await.unwrap();
            } else {
                let (n, _) = file.write_vectored_at([new.clone()], 0).await.unwrap();
                assert_eq!(n, 4);
            }
            if rng.chance(1, 8) {
                no_operation().await;
            }
            assert_eq!(std::fs::read(&path).unwrap()[..4], new, "round {round}");
        }
    });
}

#[test]
fn what_follows_a_dropped_write_does_not_begin_before_its_end() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("file")).await.unwrap();
        let old = async || {
            let mut old = Box::pin(file.write_at(pattern(1000), 0));
            assert!(poll_once(&mut old).await.is_pending());
        };
        // The old write has had no chance to end, so that it is the only one in flight.
        old().await;
        let mut new = Box::pin(file.write_at("new", 0));
        assert!(poll_once(&mut new).await.is_pending());
        assert_eq!(metrics().in_flight, 1, "write");
        new.await.unwrap();
        old().await;
        let mut new = Box::pin(file.write_vectored_at(["new"], 0));
        assert!(poll_once(&mut new).await.is_pending());
        assert_eq!(metrics().in_flight, 1, "writev");
        new.await.unwrap();
        old().await;
        let mut sync = Box::pin(file.sync_all());
        assert!(poll_once(&mut sync).await.is_pending());
        assert_eq!(metrics().in_flight, 1, "fsync");
        sync.await.unwrap();
        old().await;
        let mut close = Box::pin(file.close());
        assert!(poll_once(&mut close).await.is_pending());
        assert_eq!(metrics().in_flight, 1, "close");
        close.await.unwrap();
    });
}

#[test]
fn everybody_who_waits_for_a_dropped_write_goes_on() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let file = std::rc::Rc::new(File::create(dir.path().join("file")).await.unwrap());
        let mut old = Box::pin(file.write_at(pattern(1000), 0));
        assert!(poll_once(&mut old).await.is_pending());
        drop(old);
        let tasks: Vec<_> = (0..3_u64)
            .map(|at| {
                let file = file.clone();
                ringbolt::spawn(async move { file.write_at("new", at * 3).await.unwrap().0 })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 3);
        }
        assert_eq!(&std::fs::read(dir.path().join("file")).unwrap()[..9], b"newnewnew");
    });
}

#[test]
fn a_sync_and_a_close_wait_for_dropped_writes() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = dir.path().join(format!("{round}"));
            let file = File::create(&path).await.unwrap();
            let mut write = Box::pin(file.write_at(vec![b'x'; 1 << 20], 0));
            assert!(poll_once(&mut write).await.is_pending());
            drop(write);
            if round % 2 == 0 {
                file.sync_all().await.unwrap();
                file.sync_data().await.unwrap();
                assert_eq!(metrics().in_flight, 0, "the write has ended");
                drop(file);
                until("the file is closed", || metrics().descriptors == 0).await;
            } else {
                file.close().await.unwrap();
                assert_eq!((metrics().in_flight, metrics().descriptors), (0, 0));
            }
            let len = std::fs::metadata(&path).unwrap().len();
            no_operation().await;
            assert_eq!(std::fs::metadata(&path).unwrap().len(), len, "nothing landed later");
        }
    });
}

#[test]
fn a_close_waits_for_reads_that_were_dropped() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, pattern(1 << 20)).unwrap();
        for _ in 0..20 {
            let file = File::open(&path).await.unwrap();
            let watch = Watched::watch();
            let mut read = Box::pin(file.read_at(watch.buffer(1 << 20), 0));
            assert!(poll_once(&mut read).await.is_pending());
            drop(read);
            file.close().await.unwrap();
            assert_eq!((watch.alive(), metrics().descriptors), (0, 0));
            assert!(watch.untouched());
        }
    });
}

#[test]
fn a_write_under_a_limit_happened_or_not() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).open(&path).await.unwrap();
        let (mut wanted, mut cancelled) = (Vec::new(), 0);
        for round in 0..200 {
            let part = vec![round as u8; 1 + rng.below(3000)];
            let limit = Duration::from_micros(rng.below(40) as u64);
            let write = file.write_at(part, wanted.len() as u64);
            match timeout(limit, write).await {
                Ok(ringbolt::BufResult(Ok(n), part)) => wanted.extend_from_slice(&part[..n]),
                Ok(ringbolt::BufResult(Err(error), _)) => {
                    assert!(ringbolt::is_cancelled(&error), "{error}");
                    cancelled += 1;
                }
                // The write waits behind nothing, so that there is an operation to be awaited.
                Err(elapsed) => panic!("{elapsed}"),
            }
        }
        file.close().await.unwrap();
        assert!(std::fs::read(&path).unwrap() == wanted, "{cancelled} were cancelled");
    });
}

#[test]
fn dropping_a_file_closes_it() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..100 {
            drop(File::create(dir.path().join(format!("{i}"))).await.unwrap());
        }
        until("all files are closed", || metrics().descriptors == 0).await;
        no_operation().await;
        let std_file = std::fs::File::open(dir.path().join("1")).unwrap();
        File::from_std(std_file).close().await.unwrap();
    });
}
