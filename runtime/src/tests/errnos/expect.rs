//! What has to come out, for every operation, error and place where it hits.
//!
//! Nothing in here depends on the driver. What the library does about an error is asked of its own
//! table, `op::verdict`; here it is said what each verdict means to a caller.

use crate::op::verdict::{self, Family, Verdict};
use crate::sys::errno;

/// Where the error hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The first operation of a series.
    First,
    /// One after another has succeeded.
    Middle,
    /// The last of a series.
    Last,
    /// The future was dropped before the result came.
    Dropped,
    /// A time limit had passed before the result came.
    TimedOut,
    /// The runtime ends before the result comes, and with it the task that waits.
    Shutdown,
    /// The same, but the future outlives the runtime.
    Kept,
}

impl Position {
    pub(super) const ALL: [Position; 7] = [
        Position::First,
        Position::Middle,
        Position::Last,
        Position::Dropped,
        Position::TimedOut,
        Position::Shutdown,
        Position::Kept,
    ];
}

/// Who has the result of an operation whose future has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Nobody.
    Nothing,
    /// The lane of the stream: the next operation on it reports it, unless it was cancelled.
    Lane,
    /// The stream or listener, whose request was not cancelled with the future.
    Object,
    /// The file, if its data may be lost.
    File,
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) opcode: u8,
    pub(super) family: Family,
    pub(super) keeps: Keeps,
    /// Whether a cancel is asked for at all.
    pub(super) cancellable: bool,
}

/// What a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Success.
    Done,
    /// An error with this number.
    Error(i32),
    /// An error without a number, which says that an earlier sync failed.
    Poisoned,
    /// The time limit, and no result.
    Elapsed,
}

/// What the operation that is hit shows, and what the next one on the same object shows. There is
/// nobody to see the former when the future has gone.
pub(super) fn expected(kind: &Kind, number: i32, position: Position) -> (Seen, Seen) {
    let verdict = verdict::of(kind.family, number);
    let surfaces = matches!(verdict, Verdict::Surface | Verdict::Poison);
    let later = if verdict == Verdict::Poison { Seen::Poisoned } else { Seen::Done };
    let error = if surfaces { Seen::Error(number) } else { Seen::Done };
    match (position, kind.keeps) {
        (Position::First | Position::Middle | Position::Last, _) => (error, later),
        (Position::Shutdown | Position::Kept, _) => (Seen::Done, Seen::Done),
        // The request goes on without the future, and its error waits for the next one.
        (Position::Dropped | Position::TimedOut, Keeps::Object) => (Seen::Elapsed, error),
        (Position::Dropped, Keeps::Nothing | Keeps::File) => (Seen::Elapsed, later),
        (Position::Dropped, Keeps::Lane) => match number {
            errno::INTR | errno::CANCELED => (Seen::Elapsed, Seen::Done),
            _ => (Seen::Elapsed, Seen::Error(number)),
        },
        // A request that a cancel interrupted says that it was cancelled, and one that would have
        // to be made again is not made any more.
        (Position::TimedOut, _) => {
            let interrupted = number == errno::INTR && kind.cancellable;
            if interrupted || !surfaces {
                return (Seen::Error(errno::CANCELED), Seen::Done);
            }
            (error, later)
        }
    }
}
