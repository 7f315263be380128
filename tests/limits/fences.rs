//! A write whose future was dropped is held in mid-copy: what comes after it waits.

use crate::trap::{Held, Trap, until_held};
use ringbolt::fs::OpenOptions;
use ringbolt::{Builder, DriverKind};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// On io_uring the page would be touched by the submitting thread, which must not be held; here a
/// helper thread does it.
#[test]
fn a_later_write_is_not_overtaken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let Some(trap) = Trap::set() else { return };
    let runtime = Builder::new().driver(DriverKind::Readiness).build().unwrap();
    let dropped = Arc::new(AtomicBool::new(false));
    let buf = Held::new(&trap, dropped.clone());
    std::thread::scope(|scope| {
        let held = until_held(scope, &trap);
        runtime.block_on(async {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).open(&path).await.unwrap();
            {
                let mut first = pin!(file.write_at(buf, 0));
                let mut held = pin!(held);
                poll_fn(|cx| {
                    assert!(first.as_mut().poll(cx).is_pending(), "the copy was not held");
                    held.as_mut().poll(cx)
                })
                .await;
            }
            let mut second = Box::pin(file.write_all_at(vec![b'2'; 64], 0));
            let mut sync = Box::pin(file.sync_data());
            let before = ringbolt::metrics().submitted;
            for _ in 0..100 {
                poll_fn(|cx| {
                    assert!(second.as_mut().poll(cx).is_pending(), "the second write went past");
                    assert!(sync.as_mut().poll(cx).is_pending(), "the sync went past");
                    Poll::Ready(())
                })
                .await;
                // Helpers work in order, so this is done after whatever was begun above.
                ringbolt::fs::metadata(&path).await.unwrap();
            }
            // The looks at the file were all that was asked of the system: the kernel's own lock on
            // the file would hide a write that was submitted.
            assert_eq!(ringbolt::metrics().submitted - before, 100, "something was begun");
            assert_eq!(std::fs::read(&path).unwrap(), b"", "something was written");
            trap.release();
            second.await.0.unwrap();
            sync.await.unwrap();
            file.close().await.unwrap();
        });
    });
    assert!(dropped.load(Ordering::SeqCst), "the first buffer was kept");
    assert_eq!(std::fs::read(&path).unwrap(), [b'2'; 64]);
}
