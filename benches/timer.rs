//! Timers: set and given up, as most are, and fired.

mod shared;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringbolt::{DriverKind, Sleep, sleep, timeout};
use shared::{join, runtime, settings, time};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

const MANY: u64 = 1000;
const MINUTE: Duration = Duration::from_secs(60);

fn timers(c: &mut Criterion) {
    let runtime = runtime(DriverKind::Auto);
    let mut group = c.benchmark_group("timer");
    group.throughput(Throughput::Elements(MANY));
    group.bench_function("a thousand set and dropped", |b| {
        let mut set: Vec<Sleep> = Vec::with_capacity(MANY as usize);
        time(b, &runtime, async |rounds| {
            for _ in 0..rounds {
                set.extend((0..MANY).map(|ms| sleep(MINUTE + Duration::from_millis(ms))));
                poll_fn(|cx| {
                    for timer in &mut set {
                        assert!(Pin::new(timer).poll(cx).is_pending());
                    }
                    Poll::Ready(())
                })
                .await;
                set.clear();
            }
        });
    });
    group.bench_function("a thousand set for now and fired", |b| {
        time(b, &runtime, async |rounds| {
            for _ in 0..rounds {
                let soon = |us| sleep(Duration::from_micros(us % 50));
                join((0..MANY).map(soon).collect()).await;
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("time limit that does not pass", |b| {
        time(b, &runtime, async |rounds| {
            for _ in 0..rounds {
                timeout(MINUTE, async {}).await.expect("it is ready at once");
            }
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = settings(); targets = timers }
criterion_main!(benches);
