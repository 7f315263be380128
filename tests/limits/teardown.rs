//! The end of a runtime while the kernel is held in the middle of a copy into a buffer.
//!
//! The buffer is a page that userfaultfd(2) keeps from the writer, which is a worker of the ring or
//! a helper thread: a read of a file in /proc is done by those. The runtime must return at its
//! deadline, say that it left one operation, and never free the buffer, into which the kernel
//! writes after all once the page is there.

use crate::trap::{Held, Trap, until_held};
use ringbolt::{Builder, DriverKind};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn end_in_mid_copy(driver: DriverKind) {
    const DRAIN: Duration = Duration::from_millis(200);
    let runtime = match Builder::new().driver(driver).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("SKIPPED: {driver:?} cannot start here: {error}");
            return;
        }
    };
    let Some(trap) = Trap::set() else { return };
    let dropped = Arc::new(AtomicBool::new(false));
    let buf = Held::new(&trap, dropped.clone());
    std::thread::scope(|scope| {
        let held = until_held(scope, &trap);
        runtime.block_on(async {
            let file = ringbolt::fs::File::open("/proc/self/status").await.unwrap();
            let mut read = pin!(file.read_at(buf, 0));
            let mut held = pin!(held);
            poll_fn(|cx| {
                assert!(read.as_mut().poll(cx).is_pending(), "the copy was not held");
                held.as_mut().poll(cx)
            })
            .await;
        });
    });
    let (start, worked) = (Instant::now(), processor_time());
    let report = runtime.shutdown(DRAIN);
    let (took, worked) = (start.elapsed(), processor_time() - worked);
    assert_eq!(report.operations_leaked, 1, "the operation that is held was not reported");
    assert!(!dropped.load(Ordering::SeqCst), "the buffer was freed under the kernel's hands");
    assert!(took >= DRAIN && took < DRAIN * 10, "the end took {took:?}");
    assert!(worked < DRAIN / 10, "the end kept the processor busy for {worked:?}");
    trap.release();
    let deadline = Instant::now() + Duration::from_secs(10);
    while trap.first_byte() == 0 {
        assert!(Instant::now() < deadline, "the kernel never wrote, so nothing was tested");
        std::thread::yield_now();
    }
    assert_eq!(trap.first_byte(), b'N');
    assert!(!dropped.load(Ordering::SeqCst), "the buffer was freed");
    eprintln!(
        "{driver:?}: ended after {took:.0?}, and the kernel wrote into the buffer after that"
    );
}

/// How long this thread has had a processor.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn uring_leaves_what_the_kernel_holds() {
    end_in_mid_copy(DriverKind::Uring);
}

#[test]
fn readiness_leaves_what_a_helper_holds() {
    end_in_mid_copy(DriverKind::Readiness);
}
