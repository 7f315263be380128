//! Nothing is lost: bytes under time limits, descriptors and leases under cancels, and connections
//! when the pool has four buffers.
//!
//! `RINGBOLT_SCALE` says how much is done, `RINGBOLT_STRESS_MIB` and `RINGBOLT_STRESS_CYCLES` say
//! so for one test; the figures that were reached are printed.

mod cycles;
mod ledger;
mod pool_growth;
mod pool_of_four;
#[path = "../support/scale.rs"]
mod scale;

use ringbolt::{Builder, DriverKind, Runtime};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: descriptors are counted for the whole process, and round trips are timed.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` on every driver that this machine has.
fn on_every_driver(settings: &Builder, mut test: impl FnMut(&Runtime)) {
    for driver in [DriverKind::Uring, DriverKind::Readiness] {
        match settings.clone().driver(driver).build() {
            Ok(runtime) => {
                test(&runtime);
                let report = runtime.shutdown(std::time::Duration::from_secs(5));
                assert_eq!(report.operations_leaked, 0, "{driver:?}");
            }
            Err(error) => eprintln!("SKIPPED: {driver:?} cannot start here: {error}"),
        }
    }
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

/// A small generator whose seed is printed, so that a run can be repeated with `RINGBOLT_SEED`.
struct Random(u64);

impl Random {
    fn new(what: &str) -> Random {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = setting("RINGBOLT_SEED", clock.map_or(1, |d| d.as_nanos() as u64)) | 1;
        eprintln!("{what}: RINGBOLT_SEED={seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
