//! A hostile network and large numbers on the real kernel: what peers, signals, limits and the end
//! of threads and processes do to a program.
//!
//! Every test runs in a process of its own and none beside another, since they count what belongs
//! to the whole process and take what the machine has. Where two sides need descriptors of their
//! own, or one of them is to be killed, the process starts itself again in a second role
//! ([`process::Peer`]). Linux only, since the counts come from /proc.

#![cfg(target_os = "linux")]

#[path = "../support/alone.rs"]
mod alone_process;
mod chains;
mod crowd;
mod deadlines;
mod ends;
mod overflow;
mod panics;
mod peers;
mod pending;
mod process;
mod resets;
mod runtimes;
#[path = "../support/scale.rs"]
mod scale;
mod signals;
#[path = "../support/watchdog.rs"]
mod watchdog;

use ringbolt::{Builder, DriverKind, Runtime};
use scale::{figure, scaled};
use std::future::Future;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// True in a process that runs this test only; elsewhere it waits for its turn and starts one.
fn alone(module: &str, test: &str) -> bool {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    alone_process::alone(module, test)
}

/// The drivers that can start here, as `RINGBOLT_DRIVER` allows.
fn drivers() -> Vec<DriverKind> {
    let wanted = std::env::var("RINGBOLT_DRIVER").unwrap_or_default();
    let all = [("uring", DriverKind::Uring), ("readiness", DriverKind::Readiness)];
    let allowed = all.into_iter().filter(|(name, _)| *name == wanted || wanted.is_empty());
    let starts = |driver: DriverKind| match Builder::new().driver(driver).build() {
        Ok(_) => true,
        Err(error) => {
            eprintln!("SKIPPED: {driver:?} cannot start here: {error}");
            false
        }
    };
    allowed.map(|(_, driver)| driver).filter(|driver| starts(*driver)).collect()
}

/// Runs `test` on every driver, see [`on`].
#[track_caller]
fn on_every_driver(settings: &Builder, mut test: impl FnMut(&Runtime, &str)) {
    let place = Location::caller();
    drivers().into_iter().for_each(|driver| on(driver, settings, place, &mut test));
}

/// Runs `test` on one driver in a fresh runtime, with a time limit, and checks that the end of the
/// runtime leaves nothing behind.
fn on(
    driver: DriverKind,
    settings: &Builder,
    place: &'static Location<'static>,
    test: &mut dyn FnMut(&Runtime, &str),
) {
    let runtime = settings.clone().driver(driver).build().expect("the driver starts");
    let name = runtime.facts().driver;
    let _deadline = watchdog::deadline(name, place);
    test(&runtime, name);
    let report = runtime.shutdown(Duration::from_secs(10));
    assert_eq!(report.operations_leaked, 0, "{name}");
}

/// Waits until `condition` holds, and fails if that takes too long.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let (caller, end) = (Location::caller(), Instant::now() + Duration::from_secs(30));
    async move {
        while !condition() {
            let now = Instant::now();
            assert!(now < end, "{caller}: waited in vain until {what}; {:?}", ringbolt::metrics());
            ringbolt::sleep(Duration::from_micros(200)).await;
        }
    }
}

/// Waits until nothing is left: no task, operation, descriptor, timer or lent buffer.
#[track_caller]
fn at_rest() -> impl Future<Output = ()> {
    until("nothing is left", || {
        let now = ringbolt::metrics();
        // The wait itself sets a timer, which has fired by now.
        [now.in_flight, now.descriptors, now.buffers_leased, now.tasks, now.timers] == [0; 5]
    })
}

/// The value that `part` of a thousand are below.
fn quantile(sorted: &[Duration], part: usize) -> Duration {
    sorted[(sorted.len() - 1) * part / 1000]
}
