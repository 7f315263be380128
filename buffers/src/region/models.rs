//! Buffers that come back from other threads, in every interleaving.
//!
//! Bytes themselves are invisible to loom, so each model that cares about them keeps a cell beside
//! the buffer: reading it stands for reading the buffer, writing it for filling the buffer anew,
//! and the two must not meet.

use crate::sync::{Arc, AtomicUsize, Mutex, explore};
use crate::{Chunk, Pool, PoolConfig};
use bytes::Bytes;
use loom::cell::UnsafeCell;
use loom::sync::Condvar;
use loom::thread;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::task::Wake;

fn model(name: &str, model: impl Fn() + Send + Sync + 'static) {
    explore("buffers", name, model);
}

fn pool(buffers: usize) -> Pool {
    Pool::new(PoolConfig { buffer_len: 64, buffers, buffers_max: buffers, zeroize: false }).unwrap()
}

fn lend(pool: &Pool) -> Chunk {
    let bid = pool.take().expect("a buffer is free");
    // SAFETY: the buffer has room for 8 bytes, and nobody else uses it.
    unsafe { pool.ptr(bid).write_bytes(1, 8) };
    // SAFETY: (1) just written; (2) taken above; (3) nobody writes.
    unsafe { pool.lease(bid, 8) }
}

/// Two references on one buffer.
fn halves(pool: &Pool) -> (Bytes, Bytes) {
    let mut chunk = lend(pool);
    let first = chunk.split_to(4);
    (first.into_bytes(), chunk.into_bytes())
}

/// Collects until all buffers are free, giving way to the threads that hold them.
fn collect_all(pool: &Pool) -> usize {
    let mut freed = 0;
    while pool.free() < pool.buffers_max() {
        freed += pool.collect();
        thread::yield_now();
    }
    freed
}

fn assert_conserved(pool: &Pool) {
    assert_eq!(pool.free() + pool.leased(), pool.introduced(), "a buffer is lost or twice there");
}

fn join<const N: usize>(threads: [thread::JoinHandle<()>; N]) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// What stands for the bytes of one buffer.
struct Content(UnsafeCell<u32>);

// SAFETY: loom checks the accesses, which is what it is for.
unsafe impl Sync for Content {}
// SAFETY: as above.
unsafe impl Send for Content {}

impl Content {
    fn new() -> Arc<Content> {
        Arc::new(Content(UnsafeCell::new(1)))
    }

    fn read(&self) {
        // SAFETY: the pointer is valid in the closure.
        self.0.with(|value| unsafe { value.read() });
    }

    fn write(&self) {
        // SAFETY: as above, and loom fails the model if anybody else is there.
        self.0.with_mut(|value| unsafe { value.write(2) });
    }
}

#[test]
fn a_buffer_is_written_after_its_last_read_only() {
    model("a buffer is written after its last read only", || {
        let (pool, content) = (pool(1), Content::new());
        let (first, second) = halves(&pool);
        let threads = [first, second].map(|bytes| {
            let content = content.clone();
            thread::spawn(move || {
                content.read();
                drop(bytes);
            })
        });
        collect_all(&pool);
        drop(lend(&pool));
        content.write();
        join(threads);
    });
}

#[test]
fn a_clone_on_another_thread_keeps_the_buffer() {
    model("a clone on another thread keeps the buffer", || {
        let (pool, content) = (pool(1), Content::new());
        // The count of clones is not loom's, so a counted pointer of loom stands for it.
        let bytes = Arc::new(lend(&pool).into_bytes());
        let threads = [bytes.clone(), bytes].map(|bytes| {
            let content = content.clone();
            thread::spawn(move || {
                assert_eq!(bytes[0], 1);
                content.read();
                drop(bytes);
            })
        });
        assert_eq!(collect_all(&pool), 1);
        content.write();
        join(threads);
        assert_eq!(pool.collect(), 0);
        assert_conserved(&pool);
    });
}

#[test]
fn a_return_during_the_walk_is_found() {
    model("a return during the walk is found", || {
        let pool = pool(2);
        let threads = [lend(&pool), lend(&pool)].map(|chunk| {
            let bytes = chunk.into_bytes();
            thread::spawn(move || drop(bytes))
        });
        let early = pool.collect();
        assert_conserved(&pool);
        join(threads);
        let late = pool.collect();
        assert_eq!((early + late, pool.free(), pool.leased()), (2, 2, 0));
    });
}

#[test]
fn two_references_free_their_buffer_once() {
    model("two references free their buffer once", || {
        let pool = pool(1);
        let (first, second) = halves(&pool);
        let threads = [first, second].map(|bytes| thread::spawn(move || drop(bytes)));
        let mut freed = 0;
        for _ in 0..2 {
            freed += pool.collect();
            assert_conserved(&pool);
            assert_eq!(pool.free(), freed);
        }
        join(threads);
        freed += pool.collect();
        assert_eq!((freed, pool.free(), pool.leased()), (1, 1, 0));
    });
}

#[test]
fn a_buffer_that_was_lent_again_is_not_freed_by_an_old_return() {
    model("a buffer that was lent again is not freed by an old return", || {
        let pool = pool(1);
        let bytes = lend(&pool).into_bytes();
        let thread = thread::spawn(move || drop(bytes));
        collect_all(&pool);
        let (gone, kept) = halves(&pool);
        let again = thread::spawn(move || drop(gone));
        pool.collect();
        join([thread, again]);
        pool.collect();
        assert_eq!((pool.free(), pool.leased()), (0, 1), "the old return was counted twice");
        drop(kept);
        assert_eq!((pool.collect(), pool.free()), (1, 1));
    });
}

#[test]
fn a_low_pool_recovers() {
    model("a low pool recovers", || {
        let pool = pool(2);
        let (kept, gone) = (lend(&pool), lend(&pool).into_bytes());
        assert!(pool.is_low());
        let thread = thread::spawn(move || drop(gone));
        while pool.is_low() {
            pool.collect();
            assert_conserved(&pool);
            thread::yield_now();
        }
        thread.join().unwrap();
        drop(kept);
        assert_eq!((pool.free(), pool.leased()), (2, 0));
    });
}

// ---- Waking ----

/// Where a starving owner sleeps.
struct Bed {
    rung: Mutex<bool>,
    bell: Condvar,
    rings: AtomicUsize,
}

impl Bed {
    fn new() -> std::sync::Arc<Bed> {
        let (rung, bell) = (Mutex::new(false), Condvar::new());
        std::sync::Arc::new(Bed { rung, bell, rings: AtomicUsize::new(0) })
    }

    fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.bell.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Wake for Bed {
    fn wake(self: std::sync::Arc<Self>) {
        self.rings.fetch_add(1, SeqCst);
        *self.rung.lock().unwrap() = true;
        self.bell.notify_one();
    }
}

/// As the documentation of `Pool::starving` tells the owner to wait.
fn wait_for_all(pool: &Pool, bed: &Bed) {
    pool.starving(true);
    while pool.leased() > 0 {
        if pool.collect() == 0 {
            bed.sleep();
        }
    }
    pool.starving(false);
}

#[test]
fn a_return_wakes_the_starving_owner() {
    model("a return wakes the starving owner", || {
        let (pool, bed) = (pool(1), Bed::new());
        pool.set_waker(Some(bed.clone().into()));
        let bytes = lend(&pool).into_bytes();
        let thread = thread::spawn(move || drop(bytes));
        wait_for_all(&pool, &bed);
        assert_eq!((pool.free(), pool.leased()), (1, 0));
        thread.join().unwrap();
    });
}

#[test]
fn the_second_return_wakes_the_starving_owner_again() {
    model("the second return wakes the starving owner again", || {
        let (pool, bed) = (pool(2), Bed::new());
        pool.set_waker(Some(bed.clone().into()));
        let threads = [lend(&pool), lend(&pool)].map(|chunk| {
            let bytes = chunk.into_bytes();
            thread::spawn(move || drop(bytes))
        });
        wait_for_all(&pool, &bed);
        assert_eq!((pool.free(), pool.leased()), (2, 0));
        join(threads);
    });
}

#[test]
fn an_owner_that_does_not_look_is_woken_once() {
    model("an owner that does not look is woken once", || {
        let (pool, bed) = (pool(2), Bed::new());
        pool.set_waker(Some(bed.clone().into()));
        pool.starving(true);
        let threads = [lend(&pool), lend(&pool)].map(|chunk| {
            let bytes = chunk.into_bytes();
            thread::spawn(move || drop(bytes))
        });
        join(threads);
        assert_eq!(bed.rings.load(SeqCst), 1);
    });
}

#[test]
fn a_waker_may_come_back_into_the_region() {
    /// Takes itself out when it is woken, as a task that ends does.
    struct Once {
        region: std::sync::Weak<Mutex<Option<Arc<super::Region>>>>,
        woken: AtomicUsize,
    }

    impl Wake for Once {
        fn wake(self: std::sync::Arc<Self>) {
            let place = self.region.upgrade().expect("the model holds it");
            let region = place.lock().unwrap().take();
            region.expect("woken once").set_waker(None);
            self.woken.fetch_add(1, Relaxed);
        }
    }

    model("a waker may come back into the region", || {
        let pool = pool(1);
        let place = std::sync::Arc::new(Mutex::new(Some(pool.shared_region())));
        let (region, woken) = (std::sync::Arc::downgrade(&place), AtomicUsize::new(0));
        let once = std::sync::Arc::new(Once { region, woken });
        pool.set_waker(Some(once.clone().into()));
        pool.starving(true);
        let bytes = lend(&pool).into_bytes();
        let thread = thread::spawn(move || drop(bytes));
        pool.set_waker(Some(once.clone().into()));
        thread.join().unwrap();
        assert_eq!(once.woken.load(Relaxed), 1);
        drop(place.lock().unwrap().take());
    });
}

// ---- The end ----

#[test]
fn memory_outlives_the_pool_and_is_freed_once() {
    model("memory outlives the pool and is freed once", || {
        let (pool, content) = (pool(2), Content::new());
        let threads = [lend(&pool), lend(&pool)].map(|chunk| {
            let (bytes, content) = (chunk.into_bytes(), content.clone());
            thread::spawn(move || {
                assert_eq!(bytes[7], 1);
                content.read();
                // Loom fails the model if the last owner does not free the region.
                drop(bytes);
            })
        });
        drop(pool);
        join(threads);
    });
}

#[test]
fn a_pool_that_ends_while_it_starves_is_quiet() {
    model("a pool that ends while it starves is quiet", || {
        let (pool, bed) = (pool(1), Bed::new());
        pool.set_waker(Some(bed.clone().into()));
        pool.starving(true);
        let bytes = lend(&pool).into_bytes();
        let thread = thread::spawn(move || drop(bytes));
        pool.set_waker(None);
        pool.collect();
        let region = pool.shared_region();
        drop(pool);
        let rings = bed.rings.load(SeqCst);
        assert!(rings <= 1, "woken {rings} times by one return");
        thread.join().unwrap();
        assert_eq!(std::sync::Arc::strong_count(&bed), 1, "the waker is kept");
        drop(region);
    });
}
