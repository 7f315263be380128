//! The atomics, locks and counted pointers of what threads share.
//!
//! They are those of std. With `--cfg ringbolt_loom` they are loom's, so that the modules called
//! `models` run this crate's own code in every order in which threads may go on. Code that threads
//! share takes these names from here, and uses no fences of its own: neither loom nor a sanitizer
//! follows them well.

#[cfg(ringbolt_loom)]
mod explored;

#[cfg(ringbolt_loom)]
pub use explored::*;
#[cfg(not(ringbolt_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
#[cfg(not(ringbolt_loom))]
pub(crate) use std::sync::{Arc, Mutex};
