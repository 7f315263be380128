//! Races that are won or lost on purpose: the kernel is held in the middle of an operation, one
//! thing happens, and then it is let go.
//!
//! Two gates hold it: a page that userfaultfd(2) keeps from whoever copies (`gate`), and a file
//! system of our own that answers when it is told to (`server`). A race is an operation, a place
//! where it is held, an event and a driver; `RINGBOLT_SCALE` says whether a sample of them runs or
//! all. Linux only, and only for a process that may use both gates.

#![cfg(target_os = "linux")]

mod answers;
mod core_held;
mod fences;
mod gate;
mod ledger;
mod line;
mod methods;
mod remote;
mod requests;
#[path = "../support/scale.rs"]
mod scale;
mod server;
// The other test programs use more of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;
mod worker_held;

use ringbolt::{Builder, DriverKind, Runtime};
use std::fmt::Debug;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::*;

/// How long the end of a runtime waits in vain.
const DRAIN: Duration = Duration::from_millis(20);

/// How long a time limit waits for an operation that it cancelled.
const GRACE: Duration = Duration::from_millis(100);

/// Bytes of which none is zero, and which tell their place.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 + 1).collect()
}

/// The test that the process of the file system starts with.
const SERVER: &str = "every_error_number_of_a_file_system";

/// What follows the held operation.
const SECOND: &[u8] = b"what comes after it";

/// Counts the descriptors of this process.
struct Account(usize);

impl Account {
    fn open() -> Account {
        Account(std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count())
    }

    /// Fails if there are not exactly `more` descriptors than before. Helper threads give theirs
    /// back a moment later.
    fn balance(&self, more: usize) {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let now = Account::open().0;
            if now == self.0 + more {
                return;
            }
            assert!(std::time::Instant::now() < end, "{now} descriptors, {} before", self.0);
            std::thread::yield_now();
        }
    }
}

/// The number of this thread in the messages of the kernel.
fn thread_id() -> i32 {
    // SAFETY: the call names no memory.
    unsafe { libc::gettid() }
}

/// Starts a child that ends at once, and waits for that.
fn fork() {
    // SAFETY: the child calls nothing but `_exit`, which may be called in any state.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: ends the child without a look at anything that it shares with its parent.
        unsafe { libc::_exit(0) };
    }
    let mut status = -1;
    // SAFETY: the status goes to a valid pointer.
    let n = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((n, status), (child, 0));
}

/// Runs races one after the other, and counts them.
struct Shots {
    rng: Rng,
    /// How many of all the races run.
    share: f64,
    count: u64,
    failed: u64,
    seconds: Duration,
}

impl Shots {
    /// `quick` in a hundred races of a quick run, and all of the others.
    fn new(quick: u64) -> Shots {
        let share = scale::scaled(quick, 100, 100) as f64 / 100.0;
        Shots { rng: Rng::new(), share, count: 0, failed: 0, seconds: Duration::ZERO }
    }

    /// The races that the scale asks for.
    fn choose<T>(&mut self, mut all: Vec<T>) -> Vec<T> {
        let wanted = (all.len() as f64 * self.share).ceil() as usize;
        while all.len() > wanted {
            let at = self.rng.below(all.len());
            all.swap_remove(at);
        }
        all
    }

    /// Runs one race; if it fails, says which.
    #[track_caller]
    fn fire<T: Debug>(&mut self, cell: &T, race: impl FnOnce(&T)) {
        let name = format!("{cell:?}");
        let start = std::time::Instant::now();
        let _deadline = deadline(&name, Location::caller());
        if catch_unwind(AssertUnwindSafe(|| race(cell))).is_err() {
            eprintln!("FAILED: {name}");
            self.failed += 1;
        }
        self.count += 1;
        self.seconds += start.elapsed();
    }

    fn report(&self, name: &str) {
        scale::figure(name, self.count, "cells");
        eprintln!("{name}: {:.1} s", self.seconds.as_secs_f64());
        assert_eq!(self.failed, 0, "{name}: these races were lost");
    }
}

/// One test at a time, since descriptors are counted for the whole process. How many tests have
/// run races, and how many races those were.
fn alone_here() -> MutexGuard<'static, (u32, u64)> {
    static DONE: Mutex<(u32, u64)> = Mutex::new((0, 0));
    DONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `races` on every driver; the last test that does adds up what all did.
fn on_drivers(quick: u64, name: &str, races: fn(DriverKind, &mut Shots)) {
    const TESTS: u32 = 4;
    let mut done = alone_here();
    if let Some(missing) = gate::refused() {
        return skipped(&missing);
    }
    for case in cases().into_iter().filter(|case| !case.tiny) {
        let mut shots = Shots::new(quick);
        races(case.driver, &mut shots);
        shots.report(&format!("{name}, {}", case.name));
        done.1 += shots.count;
    }
    done.0 += 1;
    if done.0 == TESTS {
        scale::figure("gated races", done.1, "cells");
    }
}

#[test]
fn a_worker_is_held() {
    on_drivers(8, "gated races, worker held", worker_held::all);
}

#[test]
fn the_core_is_held() {
    on_drivers(12, "gated races, core held", core_held::all);
}

#[test]
fn what_follows_a_held_write_waits() {
    on_drivers(8, "gated races, fences", fences::all);
}

#[test]
fn an_answer_is_kept_back() {
    on_drivers(25, "gated races, answers kept back", requests::all);
}

#[test]
fn every_error_number_of_a_file_system() {
    // The other process begins here as well.
    if remote::is_server() {
        return;
    }
    let _alone = alone_here();
    if let Some(missing) = gate::refused() {
        return skipped(&missing);
    }
    for case in cases().into_iter().filter(|case| !case.tiny) {
        if let Some(count) = answers::every_errno(case.driver) {
            scale::figure(&format!("errors of a file system, {}", case.name), count, "cells");
            let count = answers::short_counts(case.driver);
            scale::figure(&format!("short counts of a file system, {}", case.name), count, "cells");
        }
    }
}

/// Panics in a new runtime once `begun` is ready, so that the panic drops the runtime.
fn panic_after(builder: &Builder, begun: impl Future<Output = ()>) {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let runtime: Runtime = builder.build().expect("the driver starts");
        runtime.block_on(async {
            begun.await;
            resume_unwind(Box::new("a panic while it is held"));
        })
    }));
    let Err(payload) = result;
    assert_eq!(panic_text(&*payload), "a panic while it is held");
}
