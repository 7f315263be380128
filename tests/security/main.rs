//! What the runtime keeps from whom: a sandbox, a child process, another user, another connection.
//!
//! What concerns a whole process is tried in a child: this program starts itself again, see
//! [`child`]. Linux only, since the filters and the rings are.

#![cfg(target_os = "linux")]

mod canary;
mod child;
mod credentials;
mod denied;
mod document;
mod filter;
mod fork;
mod hardened;
mod inherited;
mod load;
#[path = "../support/scale.rs"]
#[allow(dead_code)]
mod scale;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
mod tour;
mod wiped;

use ringbolt::DriverKind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The drivers that can start here, unless `RINGBOLT_DRIVER` picks one.
fn drivers() -> Vec<DriverKind> {
    let mut drivers: Vec<DriverKind> = support::cases().iter().map(|case| case.driver).collect();
    drivers.dedup();
    drivers
}

static CASES: AtomicUsize = AtomicUsize::new(0);

/// Counts cases that ended well. The sum is said once, when the process ends.
fn passed(cases: usize) {
    extern "C" fn report() {
        scale::figure("security cases", CASES.load(Ordering::Relaxed), "cases");
    }
    if CASES.fetch_add(cases, Ordering::Relaxed) == 0 {
        // SAFETY: the handler neither unwinds nor ends the process.
        assert_eq!(unsafe { libc::atexit(report) }, 0);
    }
}
