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

/// The drivers that can start here, unless `RINGBOLT_DRIVER` picks one.
fn drivers() -> Vec<DriverKind> {
    let mut drivers: Vec<DriverKind> = support::cases().iter().map(|case| case.driver).collect();
    drivers.dedup();
    drivers
}
