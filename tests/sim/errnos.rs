//! Every operation with every error number at every point of its life.
//!
//! One cell is one small world: an operation on something, an error number that the kernel answers
//! with, and where in the life of the operation it does so. In each cell the caller learns of the
//! error, or the library tries again where it says that it does; the buffer comes back; nothing is
//! left over; and what the operation was tried on still works.

mod connections;
mod counts;
mod files;
mod names;
mod sockets;

use crate::scale::figure;
use crate::watched::{Watch, Watched};
use ringbolt::sim::{self, Faults};
use ringbolt::{Builder, IoBuf, PoolConfig, sleep, timeout};
use ringbolt_runtime::sqe::opcode;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// Linux has no number above (EHWPOISON).
const ERRNO_MAX: i32 = 133;
/// How long the disk takes for each request.
const DISK: Duration = Duration::from_micros(100);
/// Long enough for a request that is not waiting for anything.
const SETTLED: Duration = Duration::from_millis(5);
/// Operations in a series.
const SERIES: usize = 3;

pub(crate) type Step<'a, T = ()> = Pin<Box<dyn Future<Output = T> + 'a>>;
pub(crate) type Made = Step<'static, Box<dyn Subject>>;

/// What an operation is tried on, and how.
pub(crate) trait Subject {
    /// Brings about what one more operation needs to succeed.
    fn prepare(&mut self) -> Step<'_> {
        Box::pin(async {})
    }

    /// One operation. Checks that its buffer comes back as it has to be.
    fn run(&mut self) -> Step<'_, io::Result<()>>;

    /// Checks that nothing was lost or doubled, and lets go of everything.
    fn balance(self: Box<Self>) -> Step<'static> {
        Box::pin(async {})
    }
}

/// What becomes of an error number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    /// The caller gets it.
    Given,
    /// The caller gets it, but for the listed ones, after which the operation is tried again, or
    /// which are what the operation hoped for.
    Except(&'static [i32]),
    /// The caller gets it, and this file is never synced again.
    Sticky,
    /// Nobody hears of it.
    Nobody,
    /// The caller gets it; a cancelled attempt is one that ran out of time.
    Limited,
}

/// Who learns of an error whose operation had been given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Late {
    /// Nobody: the next operation succeeds.
    Nobody,
    /// The next operation, unless it says only that the first one was given up.
    Next,
    /// The next operation, since the request belongs to the object and was not given up at all.
    Kept,
}

/// An operation.
pub(crate) struct Row {
    name: &'static str,
    opcode: u8,
    answer: Answer,
    late: Late,
    /// Requests of the operation before the one with `opcode`.
    before: u32,
    /// Whether requests come after it.
    followed: bool,
    make: Box<dyn Fn(Watch) -> Made>,
}

impl Row {
    /// An operation that starts with the request `opcode` and hands its error to the caller.
    pub(crate) fn new(
        name: &'static str,
        opcode: u8,
        make: impl Fn(Watch) -> Made + 'static,
    ) -> Row {
        let (answer, late) = (Answer::Given, Late::Nobody);
        Row { name, opcode, answer, late, before: 0, followed: false, make: Box::new(make) }
    }

    pub(crate) fn answers(mut self, answer: Answer) -> Row {
        self.answer = answer;
        self
    }

    pub(crate) fn late(mut self, late: Late) -> Row {
        self.late = late;
        self
    }

    /// The request comes after so many others of the same operation.
    pub(crate) fn after(mut self, requests: u32) -> Row {
        self.before = requests;
        self
    }

    /// Further requests come after it.
    pub(crate) fn followed(mut self) -> Row {
        self.followed = true;
        self
    }

    /// When the request is in flight, once the operation has begun.
    fn time(&self) -> Duration {
        match self.before {
            0 => Duration::ZERO,
            n => DISK * n + DISK / 2,
        }
    }

    /// What the caller gets: success, or an error with this number.
    fn outcome(&self, errno: i32) -> Result<(), i32> {
        match self.answer {
            _ if is_asked_again(self.opcode, errno) => Ok(()),
            Answer::Nobody => Ok(()),
            Answer::Except(list) if list.contains(&errno) => Ok(()),
            _ => Err(errno),
        }
    }

    fn check(&self, result: io::Result<()>, outcome: Result<(), i32>) {
        match (result, outcome) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(libc::ECANCELED)) if self.answer == Answer::Limited => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            }
            (Err(error), Err(errno)) => {
                assert_eq!(ringbolt::raw_os_error(&error), Some(errno), "{error}");
                assert_eq!(ringbolt::is_cancelled(&error), errno == libc::ECANCELED);
            }
            (result, outcome) => panic!("{outcome:?} was expected, not {result:?}"),
        }
    }

    /// One more operation: it succeeds, unless `errno` was the end of all syncs of the file.
    async fn goes_on(&self, subject: &mut dyn Subject, errno: i32) {
        subject.prepare().await;
        let result = subject.run().await;
        let harmless = errno == libc::EINTR || errno == libc::ECANCELED;
        if self.answer == Answer::Sticky && !harmless {
            let error = result.expect_err("a sync after one that failed");
            assert!(error.to_string().contains("an earlier sync"), "{error}");
        } else {
            self.check(result, Ok(()));
        }
    }
}

/// What docs/errors.md says is asked for again, unseen by the caller.
fn is_asked_again(code: u8, errno: i32) -> bool {
    match code {
        opcode::READ | opcode::READV | opcode::WRITE | opcode::WRITEV => {
            [libc::EINTR, libc::EAGAIN].contains(&errno)
        }
        opcode::ACCEPT => [libc::EINTR, libc::ECONNABORTED, libc::EPROTO].contains(&errno),
        opcode::RECV | opcode::RECVMSG | opcode::SEND | opcode::SENDMSG => errno == libc::EINTR,
        opcode::POLL_ADD | opcode::FSYNC | opcode::OPENAT | opcode::STATX => errno == libc::EINTR,
        _ => false,
    }
}

/// Where a buffer is.
fn at(buf: &Watched) -> usize {
    buf.io_parts().0.addr().get()
}

fn rows() -> Vec<Row> {
    let mut rows = sockets::rows();
    rows.extend(connections::rows());
    rows.extend(files::rows());
    rows.extend(names::rows());
    rows
}

/// When the error comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Position {
    First,
    Middle,
    Last,
    /// After the future was dropped.
    Dropped,
    /// After the time limit around the future passed.
    TimedOut,
    /// While the runtime ends.
    Shutdown,
    /// Before the runtime ends, which finds that nobody has taken the result.
    Untaken,
}

const POSITIONS: [Position; 7] = {
    use Position::*;
    [First, Middle, Last, Dropped, TimedOut, Shutdown, Untaken]
};

/// A kernel that does everything at once, with a chance to refuse a cancel.
fn faults(refused_cancel: f64) -> Faults {
    let mut faults = Faults::none();
    faults.delay = Duration::ZERO..Duration::ZERO;
    faults.disk = DISK..DISK;
    faults.refused_cancel = refused_cancel;
    faults.scribble = true;
    faults
}

fn cell(row: &Row, errno: i32, position: Position) {
    let watch = Watched::watch();
    let pool = PoolConfig { buffer_len: 64, buffers: 4, buffers_max: 4, ..PoolConfig::default() };
    let runtime = sim::runtime(1, faults(0.0), &Builder::new().pool(pool)).expect("a small pool");
    runtime.block_on(async {
        let mut subject = (row.make)(watch.clone()).await;
        settled().await;
        // What has begun ends by itself, so that it is the error that it ends with.
        sim::set_faults(faults(1.0));
        match position {
            Position::First => series(row, &mut *subject, errno, 0).await,
            Position::Middle => series(row, &mut *subject, errno, SERIES / 2).await,
            Position::Last => series(row, &mut *subject, errno, SERIES - 1).await,
            Position::Dropped => dropped(row, &mut *subject, errno).await,
            Position::TimedOut => timed_out(row, &mut *subject, errno).await,
            Position::Shutdown | Position::Untaken => {
                return left(row, subject, errno, position == Position::Untaken).await;
            }
        }
        sim::set_faults(faults(0.0));
        row.goes_on(&mut *subject, errno).await;
        subject.balance().await;
        at_rest().await;
    });
    let metrics = runtime.metrics();
    assert_eq!((metrics.stale_completions, metrics.panics), (0, 0), "{metrics:?}");
    assert_eq!(runtime.shutdown(Duration::from_secs(5)).operations_leaked, 0);
    assert_eq!(watch.alive(), 0, "buffers were lost");
    assert!(watch.untouched(), "the kernel wrote to a buffer after it was freed");
}

async fn series(row: &Row, subject: &mut dyn Subject, errno: i32, at: usize) {
    for i in 0..SERIES {
        if i != at {
            row.goes_on(subject, if i > at { errno } else { libc::ECANCELED }).await;
            continue;
        }
        sim::force(row.opcode, 0, -errno);
        subject.prepare().await;
        let result = subject.run().await;
        assert_eq!(sim::forced_left(), 0, "the request was not made");
        row.check(result, row.outcome(errno));
    }
}

async fn dropped(row: &Row, subject: &mut dyn Subject, errno: i32) {
    sim::force(row.opcode, 0, -errno);
    subject.prepare().await;
    begin(&mut subject.run(), row.time()).await;
    settled().await;
    assert_eq!(sim::forced_left(), 0, "the request was not made");
    hear(row, subject, errno).await;
}

async fn timed_out(row: &Row, subject: &mut dyn Subject, errno: i32) {
    sim::force(row.opcode, 0, -errno);
    subject.prepare().await;
    let result = timeout(row.time(), subject.run()).await;
    if row.late == Late::Kept || row.answer == Answer::Nobody {
        result.expect_err("a request that is not given up has no time limit");
        settled().await;
        return hear(row, subject, errno).await;
    }
    let result = result.expect("the request ends soon");
    assert_eq!(sim::forced_left(), 0, "the request was not made");
    // An interrupted operation that was asked to end was cancelled.
    let interrupted = errno == libc::EINTR && row.opcode != opcode::CLOSE;
    let outcome = row.outcome(if interrupted { libc::ECANCELED } else { errno });
    // What is tried after the limit does not begin.
    let again = is_asked_again(row.opcode, errno) || row.followed;
    let more = again && outcome.is_ok();
    row.check(result, if more { Err(libc::ECANCELED) } else { outcome });
}

/// Lets the next operation hear of an error that came when nobody waited.
async fn hear(row: &Row, subject: &mut dyn Subject, errno: i32) {
    let harmless = errno == libc::EINTR || errno == libc::ECANCELED;
    let kept = row.late == Late::Kept || (row.late == Late::Next && !harmless);
    if kept {
        subject.prepare().await;
        let result = subject.run().await;
        row.check(result, row.outcome(errno));
    }
}

/// Leaves the operation to the end of the runtime, in flight or `untaken`.
async fn left(row: &Row, mut subject: Box<dyn Subject>, errno: i32, untaken: bool) {
    sim::force(row.opcode, 0, -errno);
    subject.prepare().await;
    let mut run = Box::pin(async move { subject.run().await.is_ok() });
    begin(&mut run, row.time()).await;
    assert_ne!(ringbolt::metrics().in_flight, 0, "the request was not made");
    if untaken {
        settled().await;
        assert_eq!(sim::forced_left(), 0, "the request was not made");
    }
    drop(ringbolt::spawn(run));
}

/// Polls `future`, which is not ready, for some time.
async fn begin<F: Future + ?Sized>(future: &mut Pin<Box<F>>, time: Duration) {
    let mut end = pin!(sleep(time));
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "the operation was ready too soon");
        if time.is_zero() { Poll::Ready(()) } else { end.as_mut().poll(cx) }
    })
    .await;
}

/// Lets everything happen that is not waiting for anything.
async fn settled() {
    sleep(SETTLED).await;
}

/// Waits until nothing is in flight, open or lent.
async fn at_rest() {
    let mut left = (0, 0, 0, 0, 0);
    for _ in 0..100 {
        let m = ringbolt::metrics();
        left = (m.in_flight, m.descriptors, m.buffers_leased, m.tasks, sim::descriptors());
        if left == (0, 0, 0, 0, 0) {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("operations, descriptors, lent buffers, tasks and virtual descriptors left: {left:?}");
}

#[test]
fn every_error_of_every_operation_is_told_and_costs_nothing() {
    let rows = rows();
    let mut cells = 0;
    for row in &rows {
        for errno in 1..=ERRNO_MAX {
            for position in POSITIONS {
                let named = || cell(row, errno, position);
                if let Err(payload) = catch_unwind(AssertUnwindSafe(named)) {
                    eprintln!("{} with error {errno}, {position:?}", row.name);
                    resume_unwind(payload);
                }
                cells += 1;
            }
        }
    }
    assert_eq!(cells, rows.len() * ERRNO_MAX as usize * POSITIONS.len());
    figure("errno cells, simulator", cells, "cells");
    figure("errno matrix, simulator", rows.len(), "operations");
}
