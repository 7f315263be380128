//! Futures on files that were left behind, and what must not suffer from them.

use crate::watched::Watched;
use ringbolt::fs::OpenOptions;
use ringbolt::sim::{self, Faults};
use ringbolt::{Builder, is_cancelled};
use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

const FSYNC: u8 = 3;
const EIO: i32 = 5;

fn on_a_slow_disk<F: Future>(body: F) -> F::Output {
    let mut faults = Faults::none();
    faults.disk = Duration::from_millis(1)..Duration::from_millis(10);
    // As a disk that has begun.
    faults.refused_cancel = 1.0;
    sim::runtime(1, faults, &Builder::new()).expect("a small pool").block_on(body)
}

async fn open() -> ringbolt::fs::File {
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).open("/tmp/f").await.expect("the directory is there")
}

/// Polls once, so that an operation starts.
fn start<F: Future + Unpin>(future: &mut F) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(std::pin::Pin::new(future).poll(&mut cx).is_pending(), "the disk is slow");
}

#[test]
fn a_forgotten_read_does_not_keep_the_file_open() {
    on_a_slow_disk(async {
        let file = open().await;
        let mut read = Box::pin(file.read_at(Vec::with_capacity(8), 0));
        start(&mut read);
        // The borrow ends with the box; what it points to stays.
        std::mem::forget(read);
        file.close().await.expect("the disk is sound");
        assert_eq!(sim::descriptors(), 0);
    });
}

#[test]
fn what_nobody_took_is_dropped_at_the_end() {
    let watch = Watched::watch();
    on_a_slow_disk(async {
        let file = open().await;
        let mut read = Box::pin(file.read_at(watch.buffer(8), 0));
        start(&mut read);
        std::mem::forget(read);
        ringbolt::sleep(Duration::from_millis(20)).await;
        assert_eq!(watch.alive(), 1, "the result waits for its future");
    });
    assert_eq!(watch.alive(), 0);
}

#[test]
fn two_who_wait_for_a_dropped_write_both_go_on() {
    on_a_slow_disk(async {
        let file = std::rc::Rc::new(open().await);
        let mut write = Box::pin(file.write_at(vec![1; 8], 0));
        start(&mut write);
        drop(write);
        let syncs: Vec<_> = (0..3)
            .map(|_| {
                let file = file.clone();
                ringbolt::spawn(async move { file.sync_data().await })
            })
            .collect();
        for sync in syncs {
            sync.await.expect("it is not aborted").expect("the disk is sound");
        }
    });
}

#[test]
fn a_forgotten_write_hides_no_later_one_that_was_dropped() {
    on_a_slow_disk(async {
        let file = open().await;
        let mut forgotten = Box::pin(file.write_at(vec![1; 8], 0));
        start(&mut forgotten);
        std::mem::forget(forgotten);
        ringbolt::sleep(Duration::from_millis(20)).await;
        for version in 2..40 {
            let mut dropped = Box::pin(file.write_at(vec![version; 8], 0));
            start(&mut dropped);
            drop(dropped);
            file.write_all_at(vec![version + 100; 8], 0).await.0.expect("the disk has room");
            let read = file.read_at(Vec::with_capacity(8), 0).await;
            assert_eq!(read.1, [version + 100; 8], "an earlier write landed on a later one");
        }
    });
}

#[test]
fn the_error_of_a_dropped_sync_is_not_lost() {
    on_a_slow_disk(async {
        let file = open().await;
        file.write_all_at(vec![1; 8], 0).await.0.expect("the disk has room");
        sim::force(FSYNC, 0, -EIO);
        let mut sync = Box::pin(file.sync_all());
        start(&mut sync);
        ringbolt::sleep(Duration::from_millis(20)).await;
        drop(sync);
        let error = file.sync_all().await.expect_err("the data of the first sync may be gone");
        assert!(!is_cancelled(&error) && error.to_string().contains("write it anew"), "{error}");
    });
}
