//! Seeds of random choices, which are made by `fastrand` on each thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of a run: `RINGBOLT_SEED` or the clock. It is printed.
pub(crate) fn seed(what: &str) -> u64 {
    FAILED.store(false, Ordering::Relaxed);
    let seed = match std::env::var("RINGBOLT_SEED") {
        Ok(text) => text.parse().expect("RINGBOLT_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64),
    };
    eprintln!("{what}: RINGBOLT_SEED={seed}");
    seed
}

/// Says with which seed to begin at the round that failed, if the thread panics.
#[derive(Debug)]
pub(crate) struct Seeded(u64);

/// Begins round `round` of thread `thread`. The first round of the first thread has the seed of the
/// run, so that any round can be made the first one.
pub(crate) fn begin(seed: u64, thread: u64, round: u64) -> Seeded {
    let steps = (round << 8) | thread;
    let seed = seed.wrapping_add(steps.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    fastrand::seed(seed);
    Seeded(seed)
}

/// Whether a round has failed, so that the others need not go on.
pub(crate) fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

static FAILED: AtomicBool = AtomicBool::new(false);

impl Drop for Seeded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            FAILED.store(true, Ordering::Relaxed);
            eprintln!("this round: RINGBOLT_SEED={}", self.0);
        }
    }
}
