//! A storm on the real kernel: millions of operations that are dropped, forgotten, cancelled,
//! limited and aborted at every point, and a balance of everything after each round.
//!
//! A round is a runtime with work on it ([`mix`], [`bursts`], [`races`]). At its end every request
//! had one final completion, no descriptor and no buffer is left, every record that was sent was
//! received once, and nobody wrote into memory that was freed or beside what was handed over. Two
//! threads run rounds at a time. `RINGBOLT_SCALE` says for how many operations, `RINGBOLT_SEED`
//! repeats the choices; a round that fails says with which seed it comes first.

#![cfg(target_os = "linux")]

mod blocks;
mod bursts;
mod channel;
mod guard;
mod kernel_log;
mod leave;
mod ledger;
mod mix;
mod races;
mod random;
mod round;
#[path = "../support/scale.rs"]
mod scale;
mod streams;
#[path = "../support/watchdog.rs"]
mod watchdog;

use guard::Backing;
use kernel_log::KernelLog;
use ledger::Counts;
use ringbolt::{Builder, DriverKind};
use round::Bench;
use scale::{figure, scaled};
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Threads that run rounds at a time.
const THREADS: u64 = 2;

/// Says past the capture of the test harness that a fact of this machine is missing.
fn skipped(missing: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED: {missing}\n").as_bytes());
}

/// One test at a time: descriptors are counted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs rounds on every thread until they have reached `wanted` operations together, and prints
/// what they reached.
fn storm(name: &str, driver: DriverKind, wanted: u64, one: impl Fn(&mut Bench) + Sync) {
    let _alone = alone();
    let driver_name = match driver {
        DriverKind::Uring => "io_uring",
        _ => "readiness",
    };
    if let Err(error) = Builder::new().driver(driver).build() {
        skipped(&format!("{driver_name} cannot start here: {error}"));
        return;
    }
    let seed = random::seed(&format!("{name} on {driver_name}"));
    let log = KernelLog::from_now();
    let (before, start) = (open_descriptors(), Instant::now());
    let mut total = Counts::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let one = &one;
                scope.spawn(move || {
                    let backing = if thread == 0 { Backing::Private } else { Backing::Twice };
                    let mut bench = Bench::new(driver, backing);
                    let mut round = 0;
                    while bench.total.ended < wanted / THREADS && !random::has_failed() {
                        let _seeded = random::begin(seed, thread, round);
                        one(&mut bench);
                        round += 1;
                    }
                    bench.finish()
                })
            })
            .collect();
        for thread in threads {
            total.add(&thread.join().expect("the storm leaves nothing"));
        }
    });
    assert_eq!(open_descriptors(), before, "descriptors are left");
    log.check();
    let took = start.elapsed();
    figure(&format!("storm operations, {name}, {driver_name}"), total.ended, "operations");
    figure(
        &format!("storm cancels that won, {name}, {driver_name}"),
        total.cancelled,
        "operations",
    );
    if total.again > 0 {
        let name = format!("storm requests made again, {name}, {driver_name}");
        figure(&name, total.again, "requests");
    }
    if total.raced > 0 {
        let name = format!("races of a cancel with data, {driver_name}");
        figure(&name, total.raced, "pairs");
    }
    if total.slowest_us > 0 {
        let name = format!("longest end of up to 10,000 cancels at once, {driver_name}");
        figure(&name, total.slowest_us / 1000, "ms");
    }
    if total.calls > 0 {
        figure(&format!("storm calls, {name}, {driver_name}"), total.calls, "calls");
    }
    figure(
        &format!("storm time, {name}, {driver_name}"),
        format!("{:.1}", took.as_secs_f64()),
        "s",
    );
    assert!(total.cancelled > total.ended / 100, "too few cancels to test anything: {total:?}");
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a readable folder").count()
}

#[test]
fn mixed_operations_on_io_uring() {
    storm("mix", DriverKind::Uring, scaled(40_000, 8_000_000, 500_000_000), mixed);
}

#[test]
fn mixed_operations_on_readiness() {
    storm("mix", DriverKind::Readiness, scaled(20_000, 2_500_000, 100_000_000), mixed);
}

fn mixed(bench: &mut Bench) {
    let entries = 1 << fastrand::u8(2..9);
    bench.round(entries, |round| mix::run(round, fastrand::u32(500..5000)));
}

#[test]
fn bursts_on_io_uring() {
    storm("bursts", DriverKind::Uring, scaled(40_000, 6_000_000, 300_000_000), bursts);
}

#[test]
fn bursts_on_readiness() {
    storm("bursts", DriverKind::Readiness, scaled(30_000, 2_000_000, 100_000_000), bursts);
}

fn bursts(bench: &mut Bench) {
    let entries = 1 << fastrand::u8(1..7);
    bench.round(entries, bursts::run);
}

#[test]
fn races_of_cancels_with_data_on_io_uring() {
    storm("races", DriverKind::Uring, scaled(20_000, 4_000_000, 200_000_000), races);
}

#[test]
fn races_of_cancels_with_data_on_readiness() {
    storm("races", DriverKind::Readiness, scaled(20_000, 1_000_000, 50_000_000), races);
}

fn races(bench: &mut Bench) {
    let entries = 1 << fastrand::u8(3..9);
    bench.round(entries, races::run);
}
