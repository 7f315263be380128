//! Tasks: spawned and awaited one by one, and by the thousand.

mod shared;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringbolt::{DriverKind, spawn};
use shared::{runtime, settings, time};

const MANY: u64 = 1000;

fn tasks(c: &mut Criterion) {
    let runtime = runtime(DriverKind::Auto);
    let mut group = c.benchmark_group("spawn");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one and await", |b| {
        time(b, &runtime, async |rounds| {
            for number in 0..rounds {
                assert_eq!(spawn(async move { number }).await.ok(), Some(number));
            }
        });
    });
    group.throughput(Throughput::Elements(MANY));
    group.bench_function("a thousand, then await all", |b| {
        let mut handles = Vec::with_capacity(MANY as usize);
        time(b, &runtime, async |rounds| {
            for _ in 0..rounds {
                handles.extend((0..MANY).map(|number| spawn(async move { number })));
                for handle in handles.drain(..) {
                    handle.await.expect("it has no reason to panic");
                }
            }
        });
    });
    group.bench_function("a thousand, detached", |b| {
        time(b, &runtime, async |rounds| {
            for _ in 0..rounds {
                for _ in 0..MANY {
                    drop(spawn(async {}));
                }
                while ringbolt::metrics().tasks > 0 {
                    ringbolt::yield_now().await;
                }
            }
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = settings(); targets = tasks }
criterion_main!(benches);
