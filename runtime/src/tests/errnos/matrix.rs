//! Every operation, every error, every place where it hits.

use super::bench::*;
use super::expect::{Position, Seen, expected};
use super::numbers::{name, numbers};
use super::{subjects_file::*, subjects_name::*, subjects_net::*};
use crate::driver::uring::inject;
use crate::fuzzing::replay::scale::{figure, scaled};
use crate::{Runtime, spawn, timeout, yield_now};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Operations in a series.
const SERIES: usize = 4;

static CELLS: AtomicUsize = AtomicUsize::new(0);

/// A series in which one request is hit, and what comes after it.
async fn series<S: Subject>(bench: &Bench, number: i32, position: Position) {
    let (now, next) = expected(&S::KIND, number, position);
    let at = match position {
        Position::First => 0,
        Position::Middle => 1,
        _ => SERIES - 1,
    };
    force(S::KIND.opcode, at as u32, 1, -number);
    let mut subject = S::new(bench);
    let mut hit = None;
    for i in 0..SERIES {
        let was_hit = inject::replaced();
        let result = seen(&subject.attempt().await);
        let wanted = match (inject::replaced() > was_hit, hit) {
            (true, None) => {
                hit = Some(i);
                now
            }
            (false, Some(_)) => next,
            (false, None) => Seen::Done,
            (true, Some(_)) => panic!("one request was hit, not two"),
        };
        assert_eq!(result, wanted, "operation {i}");
    }
    // A multishot request serves several operations, or is made several times for one.
    assert!(hit.is_some_and(|i| i <= at), "request {at} was hit in operation {hit:?}");
    assert_eq!(seen(&subject.attempt().await), next, "the next one");
}

/// A result that comes when its future has gone, by a drop or by a time limit.
async fn late<S: Subject>(bench: &Bench, number: i32, position: Position) {
    let (now, next) = expected(&S::KIND, number, position);
    let mut subject = S::new(bench);
    assert_eq!(seen(&subject.attempt().await), Seen::Done);
    force(S::KIND.opcode, 0, 1, -number);
    // A multishot request that was in flight is not the one to be hit.
    while inject::replaced() == 0 {
        if position == Position::Dropped {
            let mut attempt = pin!(subject.attempt());
            if let std::task::Poll::Ready(result) = poll_once(attempt.as_mut()).await {
                assert_eq!(seen(&result), Seen::Done);
            }
        } else {
            let result = timeout(Duration::ZERO, subject.attempt()).await;
            if inject::replaced() > 0 {
                assert_eq!(result.map_or(Seen::Elapsed, |result| seen(&result)), now, "timed out");
            }
        }
        if inject::replaced() == 0 {
            yield_now().await;
        }
    }
    assert_eq!(seen(&subject.attempt().await), next, "the next one");
    let after = if next == Seen::Poisoned { Seen::Poisoned } else { Seen::Done };
    assert_eq!(seen(&subject.attempt().await), after, "the one after that");
}

/// A result that comes while the runtime ends. The future belongs to a task, or to somebody who
/// keeps it beyond the end.
fn ending<S: Subject>(bench: &Bench, number: i32, position: Position) {
    let runtime = builder().build().expect("as the one before");
    force(S::KIND.opcode, 0, 1, -number);
    let kept = runtime.block_on(async {
        let mut subject = S::new(bench);
        let mut attempt = Box::pin(async move { subject.attempt().await });
        assert!(poll_once(attempt.as_mut()).await.is_pending());
        assert_eq!(inject::replaced(), 1, "the request has not been submitted yet");
        if position == Position::Kept {
            return Some(attempt);
        }
        drop(spawn(attempt));
        None
    });
    let report = runtime.shutdown(LIMIT);
    assert_eq!(report.operations_leaked, 0, "leaked");
    drop(kept);
    assert_eq!(bench.alive(), 0, "buffers");
}

fn cell<S: Subject>(runtime: &Runtime, bench: &Bench, number: i32, position: Position) {
    inject::clear();
    // Shown when the cell fails.
    println!("{}, {}, {position:?}", S::KIND.name, name(number));
    match position {
        Position::First | Position::Middle | Position::Last => runtime.block_on(async {
            series::<S>(bench, number, position).await;
            at_rest(bench).await;
        }),
        Position::Dropped | Position::TimedOut => runtime.block_on(async {
            late::<S>(bench, number, position).await;
            at_rest(bench).await;
        }),
        Position::Shutdown | Position::Kept => ending::<S>(bench, number, position),
    }
    CELLS.fetch_add(1, Ordering::Relaxed);
}

fn cells<S: Subject>(runtime: &Runtime) {
    let bench = Bench::new();
    for number in numbers(scaled(0, 1, 1) > 0) {
        for position in Position::ALL {
            cell::<S>(runtime, &bench, number, position);
        }
    }
    inject::clear();
}

/// Tries the subjects on one runtime each.
macro_rules! every {
    ($($subject:ty),+ $(,)?) => {{
        let Some(first) = runtime() else { return };
        drop(first);
        $(
            let this = runtime().expect("as the one before");
            cells::<$subject>(&this);
            assert_eq!(this.shutdown(LIMIT).operations_leaked, 0);
        )+
    }};
}

#[test]
fn every_error_of_every_operation() {
    let start = std::time::Instant::now();
    every!(
        NopOnce,
        RecvOnce,
        RecvMsgOnce,
        SendOnce,
        SendMsgOnce,
        RecvInLane,
        RecvMsgInLane,
        SendInLane,
        SendMsgInLane,
        RecvMany,
        AcceptOnce,
        AcceptMany,
        ConnectOnce,
        ShutdownOnce,
        PollReadable,
        PollWritable,
        ReadAt,
        WriteAt,
        ReadParts,
        WriteParts,
        SyncAll,
        SyncData,
        OpenFile,
        CloseFile,
        StatPath,
        StatOpen,
        MakeDir,
        RenameFile,
        RemoveFile,
        RemoveDir,
    );
    figure("errno cells, real ring", CELLS.load(Ordering::Relaxed), "cells");
    println!("{:?}", start.elapsed());
}
