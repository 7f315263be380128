//! Buffers of the pool: lent and given back, on their own thread and on another.

mod shared;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringbolt::Chunk;
use ringbolt::buffers::{Pool, PoolConfig};
use shared::settings;
use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

const LEN: usize = 512;

/// Lends a buffer, as a driver does with what it received.
fn lend(pool: &Pool) -> Chunk {
    let bid = pool.take().expect("a buffer is free");
    // SAFETY: as many bytes are written as are lent.
    unsafe { pool.ptr(bid).write_bytes(b'x', LEN) };
    // SAFETY: 1. written above; 2. taken above; 3. there is no kernel here.
    unsafe { pool.lease(bid, LEN) }
}

fn leases(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool");
    let pool = Pool::new(PoolConfig::default()).expect("memory for a pool");
    group.throughput(Throughput::Elements(1));
    group.bench_function("lend and give back", |b| b.iter(|| black_box(lend(&pool))));
    group.bench_function("lend, split and give back", |b| {
        b.iter(|| {
            let mut chunk = lend(&pool);
            black_box((chunk.split_to(LEN / 2), chunk))
        });
    });
    group.bench_function("lend, to bytes and give back", |b| {
        b.iter(|| {
            drop(black_box(lend(&pool).into_bytes()));
            pool.collect()
        });
    });
    group.finish();
}

fn other_thread(c: &mut Criterion) {
    let pool = Pool::new(PoolConfig::default()).expect("memory for a pool");
    let (send, receive) = mpsc::sync_channel::<Bytes>(64);
    let dropper = thread::spawn(move || receive.iter().for_each(drop));
    c.bench_function("pool/lend, drop on another thread", |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                while pool.free() == 0 {
                    pool.collect();
                    std::hint::spin_loop();
                }
                send.send(lend(&pool).into_bytes()).expect("the other thread runs");
            }
            start.elapsed()
        });
    });
    drop(send);
    dropper.join().expect("the other thread ends");
}

criterion_group! { name = benches; config = settings(); targets = leases, other_thread }
criterion_main!(benches);
