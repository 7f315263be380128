//! What went in and what came out, counted on each thread by itself.

use ringbolt::op::{Op, Submit};
use ringbolt_runtime::sqe::{Cqe, OpMeta, Sqe};
use std::cell::Cell;

/// The counts of one thread since they were taken last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Operations whose request was written, and those that were given their final completion.
    pub(crate) started: u64,
    pub(crate) ended: u64,
    /// Requests that were written once more, after an answer that nothing had happened yet.
    pub(crate) again: u64,
    /// Operations that were answered without a request.
    pub(crate) refused: u64,
    /// Completions that say that the memory was not there.
    pub(crate) faults: u64,
    /// Freed buffers that were written to, and buffers beside which somebody wrote.
    pub(crate) late_writes: u64,
    pub(crate) writes_beside: u64,
    /// Records that are wrong, doubled or lost; each was described on stderr.
    pub(crate) wrong: u64,
    /// Completions that say that a cancel won.
    pub(crate) cancelled: u64,
    /// Calls on streams, listeners and files, each of which is one operation or more.
    pub(crate) calls: u64,
    /// The longest time, in microseconds, in which all cancels of a burst came to their end.
    pub(crate) slowest_us: u64,
    /// Receives that were raced with their cancel.
    pub(crate) raced: u64,
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts {
        started: 0,
        ended: 0,
        again: 0,
        refused: 0,
        faults: 0,
        late_writes: 0,
        writes_beside: 0,
        wrong: 0,
        cancelled: 0,
        calls: 0,
        slowest_us: 0,
        raced: 0,
    }) };
}

pub(crate) fn note(change: impl FnOnce(&mut Counts)) {
    let mut counts = COUNTS.get();
    change(&mut counts);
    COUNTS.set(counts);
}

/// The counts so far, which begin again at zero.
pub(crate) fn take() -> Counts {
    COUNTS.take()
}

/// Notes that something is wrong. It does not panic, since the runtime would catch that.
pub(crate) fn wrong(what: std::fmt::Arguments<'_>) {
    note(|counts| counts.wrong += 1);
    if COUNTS.get().wrong <= 10 {
        eprintln!("WRONG: {what}");
    }
}

impl Counts {
    /// Fails unless every operation ended once, and nothing was written where it should not be.
    pub(crate) fn check(&self, what: &str) {
        let bad = [self.faults, self.late_writes, self.writes_beside, self.wrong];
        assert_eq!(bad, [0; 4], "{what}: {self:?}");
        assert_eq!(self.started, self.ended, "{what}: {self:?}");
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        self.started += other.started;
        self.ended += other.ended;
        self.again += other.again;
        self.refused += other.refused;
        self.cancelled += other.cancelled;
        self.calls += other.calls;
        self.raced += other.raced;
        self.slowest_us = self.slowest_us.max(other.slowest_us);
    }
}

/// An operation that is counted, with what is to be done with its result, which happens also if
/// nobody waits for it.
pub(crate) struct Seen<O, F> {
    op: O,
    filled: bool,
    and_then: F,
}

/// The future of `op`, counted.
pub(crate) fn seen<O: Op, T>(
    op: O,
    and_then: impl FnOnce(O::Output) -> T + Unpin + 'static,
) -> Submit<impl Op<Output = T>> {
    Submit::new(Seen { op, filled: false, and_then })
}

/// The future of `op`, counted, for what has nothing to check.
pub(crate) fn counted<O: Op>(op: O) -> Submit<impl Op<Output = O::Output>> {
    seen(op, |output| output)
}

// SAFETY: 1. to 3. everything is the inner operation's doing, which lives inside of this one.
unsafe impl<O: Op, T, F: FnOnce(O::Output) -> T + Unpin + 'static> Op for Seen<O, F> {
    type Output = T;
    const META: &'static OpMeta = O::META;

    fn fill(&mut self, sqe: &mut Sqe) {
        note(|counts| match self.filled {
            false => counts.started += 1,
            true => counts.again += 1,
        });
        self.filled = true;
        self.op.fill(sqe);
    }

    fn decode(self, cqe: Cqe) -> T {
        note(|counts| {
            if self.filled {
                counts.ended += 1;
            } else {
                counts.refused += 1;
            }
            counts.faults += u64::from(cqe.res == -libc::EFAULT);
            counts.cancelled += u64::from(cqe.res == -libc::ECANCELED);
        });
        (self.and_then)(self.op.decode(cqe))
    }

    fn residue(&mut self, cqe: Cqe, part: &mut dyn FnMut(&[u8])) {
        self.op.residue(cqe, part);
    }
}
