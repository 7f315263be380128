//! A request to the driver and back: what an operation costs before it does anything.

mod shared;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringbolt::op::{Nop, Submit};
use shared::{DRIVERS, join, runtime, settings, time};

const BATCHES: [usize; 3] = [1, 32, 256];

fn nop(c: &mut Criterion) {
    let mut group = c.benchmark_group("submit/nop");
    for driver in DRIVERS {
        for size in BATCHES {
            let runtime = runtime(driver);
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new(format!("{driver:?}"), size), |b| {
                time(b, &runtime, async |rounds| {
                    for _ in 0..rounds {
                        join((0..size).map(|_| Submit::new(Nop)).collect()).await;
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group! { name = benches; config = settings(); targets = nop }
criterion_main!(benches);
