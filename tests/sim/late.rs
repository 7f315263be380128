//! Kernels that go on after the end of a runtime that did not wait for them.

use crate::watched::Watched;
use ringbolt::fs;
use ringbolt::sim::{self, Faults};
use ringbolt::{Builder, Runtime};
use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

const PATTERN: u8 = 0xA5;

fn slow() -> Runtime {
    let mut faults = Faults::none();
    faults.disk = Duration::from_secs(1)..Duration::from_secs(2);
    faults.refused_cancel = 1.0;
    faults.scribble = true;
    sim::runtime(1, faults, &Builder::new()).expect("a small pool")
}

/// Starts the operation in `future`, hands it to the kernel, and drops the future.
fn leave_behind<F: Future>(runtime: &Runtime, future: F) {
    let mut future = Box::pin(future);
    runtime.block_on(async {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending(), "the disk is slow");
        ringbolt::sleep(Duration::from_millis(1)).await;
    });
    drop(future);
}

/// Whether memory that is allocated now, in the sizes of what a runtime has, stays as it is.
fn others_are_left_alone() -> bool {
    let sizes = (1..400).map(|i| i * 64);
    let blocks: Vec<Box<[u8]>> = sizes.map(|size| vec![PATTERN; size].into()).collect();
    sim::finish_late();
    std::hint::black_box(blocks).iter().all(|block| block.iter().all(|byte| *byte == PATTERN))
}

#[test]
fn a_late_result_is_written_where_nobody_else_is() {
    let runtime = slow();
    leave_behind(&runtime, fs::metadata("/tmp"));
    assert_eq!(runtime.shutdown(Duration::ZERO).operations_leaked, 1);
    assert!(others_are_left_alone(), "the memory of the operation was used again");
}

#[test]
fn a_buffer_that_the_kernel_has_is_never_freed() {
    let watch = Watched::watch();
    let runtime = slow();
    let path = "/tmp/file";
    runtime.block_on(async {
        fs::write(path, vec![7; 100]).await.0.expect("the disk has room");
    });
    let file = runtime.block_on(fs::File::open(path)).expect("it was written");
    leave_behind(&runtime, file.read_at(watch.buffer(64), 0));
    std::mem::forget(file);
    assert_eq!(runtime.shutdown(Duration::ZERO).operations_leaked, 1);
    assert_eq!(watch.alive(), 1);
    assert!(others_are_left_alone(), "the memory of the operation was used again");
    assert!(watch.untouched());
}
