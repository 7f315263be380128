//! Chunks that leave their thread as `Bytes`: nothing is lost, and sleepers are woken.

use super::*;

/// A xorshift generator; its seed is printed, and taken from RINGBOLT_SEED to replay.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let seed = std::env::var("RINGBOLT_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |now| now.as_nanos() as u64 | 1)
        });
        println!("RINGBOLT_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Bytes that tell which lease they are from, so that a buffer reused too early shows.
fn stamp(lease: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&lease.to_le_bytes()));
    bytes
}

#[test]
fn eight_threads_drop_bytes_while_pools_come_and_go() {
    const THREADS: usize = 8;
    const DROPS: usize = 100_000;
    const BATCH: usize = 50;
    let mut random = Random::new();
    let (senders, threads): (Vec<_>, Vec<_>) = (0..THREADS)
        .map(|_| {
            let (sender, receiver) = mpsc::sync_channel::<Vec<(u64, Bytes)>>(4);
            let thread = thread::spawn(move || {
                let mut dropped = 0;
                let mut older = VecDeque::new();
                for batch in receiver {
                    dropped += batch.len();
                    // Part of each batch is kept for a while, to outlive pools.
                    older.extend(batch);
                    for (lease, bytes) in older.drain(..older.len() - BATCH / 2) {
                        assert_eq!(bytes, stamp(lease)[..], "lease {lease} was overwritten");
                    }
                }
                for (lease, bytes) in older {
                    assert_eq!(bytes, stamp(lease)[..], "lease {lease} was overwritten");
                }
                dropped
            });
            (sender, thread)
        })
        .unzip();

    let fresh = || pool(64, 128, 1024);
    let (mut current, mut until_drop, mut pools) = (fresh(), 1 + random.below(4000), 1);
    for round in 0..THREADS * DROPS / BATCH {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH {
            if until_drop == 0 {
                (current, until_drop, pools) = (fresh(), 1 + random.below(4000), pools + 1);
            }
            let lease = (round * BATCH + batch.len()) as u64;
            if let Some(chunk) = lend(&current, &stamp(lease)) {
                batch.push((lease, chunk.into_bytes()));
                until_drop -= 1;
            } else if current.collect() == 0 && current.grow() == 0 {
                thread::yield_now();
            }
        }
        senders[round % THREADS].send(batch).unwrap();
    }
    drop(senders);
    let dropped: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(dropped, THREADS * DROPS);
    assert!(pools > 100, "only {pools} pools");
    current.collect();
    assert_eq!((current.leased(), current.free()), (0, current.introduced()));
}

// ---- Waking ----

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn only_a_starving_owner_is_woken_and_once_between_collects() {
    let count = Arc::new(Count::default());
    let woken = || count.0.load(Ordering::Relaxed);
    let pool = pool(64, 8, 8);
    pool.set_waker(Some(Arc::clone(&count).into()));
    let mut lent: Vec<Bytes> =
        std::iter::from_fn(|| lend(&pool, b"abc")).map(Chunk::into_bytes).collect();
    let mut give_back = || drop(lent.pop().unwrap());

    give_back();
    assert_eq!(woken(), 0, "nobody waits");
    pool.starving(true);
    assert_eq!(pool.collect(), 1);
    give_back();
    assert_eq!(woken(), 1);
    give_back();
    assert_eq!(woken(), 1, "the owner is awake, and has not looked yet");
    assert_eq!(pool.collect(), 2);
    give_back();
    assert_eq!(woken(), 2);
    pool.starving(false);
    assert_eq!(pool.collect(), 1);
    give_back();
    assert_eq!(woken(), 2, "nobody waits any more");
    pool.starving(true);
    assert_eq!(pool.collect(), 1);
    pool.set_waker(None);
    give_back();
    assert_eq!((woken(), Arc::strong_count(&count)), (2, 1), "the waker is gone");
}

#[test]
fn what_comes_back_during_a_collect_is_found_by_the_next() {
    let pool = pool(64, 2, 2);
    let mut first = lend(&pool, b"x").map(Chunk::into_bytes);
    drop(lend(&pool, b"x").unwrap().into_bytes());
    pool.local.region.collect(|bid, count| {
        assert_eq!((bid, count), (1, 1));
        pool.local.release(bid, count);
        // The walk has passed the place of this one.
        drop(first.take());
    });
    assert_eq!(pool.collect(), 1);
    assert_eq!((pool.leased(), pool.free()), (0, 2));
}

#[test]
fn no_return_is_slept_through() {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    // Walking over this many takes so long that others come back in the middle of it.
    let pool = pool(64, 200, 32768);
    pool.set_waker(Some(Arc::new(Unpark(thread::current())).into()));
    let (sender, receiver) = mpsc::channel::<Bytes>();
    let dropper = thread::spawn(move || receiver.into_iter().for_each(drop));
    for turn in 0..1_000 {
        while let Some(chunk) = lend(&pool, b"x") {
            sender.send(chunk.into_bytes()).unwrap();
        }
        pool.starving(true);
        while pool.leased() > 0 {
            if pool.collect() == 0 {
                // A lost wake-up ends this wait late, and fails.
                let start = std::time::Instant::now();
                thread::park_timeout(std::time::Duration::from_secs(30));
                assert!(start.elapsed().as_secs() < 30, "turn {turn}: a return woke nobody");
            }
        }
        pool.starving(false);
    }
    drop(sender);
    dropper.join().unwrap();
}

// ---- Promises ----
