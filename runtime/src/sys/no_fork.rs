//! Where children of fork(2) are not told from their parents: they get no kqueue to disturb it
//! with, or there is no fork.

use ringbolt_buffers::{Pool, PoolConfig};
use std::io;

/// The process that something belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin;

impl Origin {
    /// The calling process.
    pub(crate) fn here() -> Origin {
        Origin
    }

    /// Whether this is still that process, and not a child of it.
    pub(crate) fn is_here(self) -> bool {
        true
    }

    /// Ends a child before it does harm.
    pub(crate) fn check(self) {}
}

/// The pool of a core.
pub(crate) fn new_pool(config: PoolConfig) -> io::Result<Pool> {
    Pool::new(config)
}
