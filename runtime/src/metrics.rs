//! What a core counts, for its user and for the tests.

use std::cell::Cell;

/// A number that only its own core changes.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.set(self.0.get().wrapping_sub(n));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// The counters of one core.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) turns: Counter,
    pub(crate) polls: Counter,
    pub(crate) spawned: Counter,
    pub(crate) completions: Counter,
    pub(crate) cancels: Counter,
    pub(crate) timers: Counter,
    pub(crate) remote_wakes: Counter,
    pub(crate) descriptors: Counter,
    pub(crate) accept_pauses: Counter,
    pub(crate) pool_empty: Counter,
    pub(crate) copied_out: Counter,
    pub(crate) received_alone: Counter,
    pub(crate) panics: Counter,
}

/// A snapshot of what the current core has counted since it started, from
/// [`metrics`](crate::metrics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Turns of the core's loop.
    pub turns: u64,
    /// System calls that submitted requests or waited for results.
    pub enters: u64,
    /// Requests given to the driver, its own included.
    pub submitted: u64,
    /// Results of operations.
    pub completions: u64,
    /// Results that named no operation in flight.
    pub stale_completions: u64,
    /// Times the kernel's completion queue overflowed.
    pub overflows: u64,
    /// Cancel requests sent.
    pub cancels: u64,
    /// Operations in flight now, and results not taken yet.
    pub in_flight: u64,
    /// Descriptors open now.
    pub descriptors: u64,
    /// Tasks spawned.
    pub spawned: u64,
    /// Tasks alive now.
    pub tasks: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Tasks that panicked.
    pub panics: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Timers set now.
    pub timers: u64,
    /// Tasks woken by other threads.
    pub remote_wakes: u64,
    /// Times a listener paused, since there was no free descriptor or the network was down.
    pub accept_pauses: u64,
    /// Pool buffers lent to the program now.
    pub buffers_leased: u64,
    /// Pool buffers that exist.
    pub buffers: u64,
    /// Times a receive found the pool empty.
    pub pool_empty: u64,
    /// Chunks handed out as copies, since the pool was low.
    pub copied_out: u64,
    /// Receives into memory of their own, since the pool had nothing to lend.
    pub received_alone: u64,
}
