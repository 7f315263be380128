//! Atomics, locks, threads and channels of the parts that threads share.
//!
//! They are those of std and of `futures-channel`. With `--cfg ringbolt_loom` they are loom's, so
//! that the modules called `models` run this crate's own code in every order in which threads may
//! go on; the driver is then a model, too (`driver/model.rs`). What the platforms' own code does
//! with std's types stays as it is: models do not reach it.

#[cfg(ringbolt_loom)]
mod explored;

#[cfg(ringbolt_loom)]
pub(crate) use explored::*;
#[cfg(not(ringbolt_loom))]
pub(crate) use futures_channel::oneshot;
#[cfg(not(ringbolt_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize};
#[cfg(not(ringbolt_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(ringbolt_loom))]
pub(crate) use std::thread;

/// Waits as long as `condition` holds, at most for `limit`. True if it still held then.
#[cfg(not(ringbolt_loom))]
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: std::time::Duration,
    condition: impl FnMut(&mut T) -> bool,
) -> (MutexGuard<'a, T>, bool) {
    let waited = condvar.wait_timeout_while(guard, limit, condition);
    let (guard, waited) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
    (guard, waited.timed_out())
}

/// Statics with locks in them: of the process, or of one run of a model.
#[cfg(not(ringbolt_loom))]
macro_rules! statics {
    ($($item:item)*) => {
        $($item)*
    };
}

#[cfg(ringbolt_loom)]
macro_rules! statics {
    () => {};
    ($(#[$doc:meta])* static $name:ident: $type:ty = $value:expr; $($rest:tt)*) => {
        loom::lazy_static! { $(#[$doc])* static ref $name: $type = $value; }
        crate::sync::statics! { $($rest)* }
    };
    ($(#[$doc:meta])* pub(crate) static $name:ident: $type:ty = $value:expr; $($rest:tt)*) => {
        loom::lazy_static! { $(#[$doc])* pub(crate) static ref $name: $type = $value; }
        crate::sync::statics! { $($rest)* }
    };
}

/// A function that is const but for loom, whose locks are made at run time.
#[cfg(not(ringbolt_loom))]
macro_rules! const_fn {
    (fn $($rest:tt)*) => {
        const fn $($rest)*
    };
}

#[cfg(ringbolt_loom)]
macro_rules! const_fn {
    (fn $($rest:tt)*) => {
        fn $($rest)*
    };
}

pub(crate) use {const_fn, statics};
