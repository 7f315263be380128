//! What the benchmarks share: short runs, a runtime per driver, and a join of equal futures.

// Each benchmark is a crate of its own and uses a part of this.
#![allow(dead_code)]

use criterion::{Bencher, Criterion};
use ringbolt::{Builder, DriverKind, Runtime};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The driver that this system prefers, and the one that every system has.
pub(crate) const DRIVERS: [DriverKind; 2] = [DriverKind::Auto, DriverKind::Readiness];

/// Short enough that all benchmarks together take a few minutes.
pub(crate) fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
}

pub(crate) fn runtime(driver: DriverKind) -> Runtime {
    Builder::new().driver(driver).build().expect("the driver starts")
}

/// Measures `work`, which does its job as often as it is told, inside of one `block_on`.
pub(crate) fn time(b: &mut Bencher<'_>, runtime: &Runtime, mut work: impl AsyncFnMut(u64)) {
    b.iter_custom(|rounds| {
        runtime.block_on(async {
            let start = Instant::now();
            work(rounds).await;
            start.elapsed()
        })
    });
}

/// Polls all futures together until each has ended.
pub(crate) async fn join<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs = Vec::with_capacity(futures.len());
    poll_fn(|cx| {
        futures.retain_mut(|future| match Pin::new(future).poll(cx) {
            Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            Poll::Pending => true,
        });
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs
}
