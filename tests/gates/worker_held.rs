//! A worker of the ring, or a helper thread, is held in the middle of a copy; then something
//! happens to the operation, its task, its runtime, its process or its peer.

use crate::gate::{Gate, LEN, PAGES, until_held};
use crate::ledger::{Seen, check, check_leaked};
use crate::line::{Far, Folders, Job, Kind, Line, Near, What, ends};
use crate::support::*;
use crate::{Account, DRAIN, GRACE, SECOND, Shots, content, fork, panic_after, thread_id};
use ringbolt::{Builder, DriverKind, metrics, spawn, timeout};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// What happens while the copy is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing.
    Release,
    /// The future is dropped.
    Drop,
    /// The future is forgotten.
    Forget,
    /// The future loses against another one.
    Select,
    /// A time limit passes, and so does its grace.
    TimeLimit,
    /// A time limit passes, and the operation ends within the grace.
    TimeLimitLate,
    /// The task is aborted.
    Abort,
    /// The future is dropped, and the next operation follows at once.
    Behind,
    /// The same is done elsewhere.
    Elsewhere,
    /// The process forks.
    Fork,
    /// The peer says what is left to say, and goes.
    PeerEnds,
    /// The peer resets the connection.
    PeerResets,
    /// The runtime ends, and its patience too.
    Shutdown,
    /// The runtime ends, and the operation in time.
    ShutdownLate,
    /// A panic drops the runtime, whose patience ends.
    Panic,
    /// A panic drops the runtime, and the operation ends in time.
    PanicLate,
}

const EVENTS: [Event; 16] = [
    Event::Release,
    Event::Drop,
    Event::Forget,
    Event::Select,
    Event::TimeLimit,
    Event::TimeLimitLate,
    Event::Abort,
    Event::Behind,
    Event::Elsewhere,
    Event::Fork,
    Event::PeerEnds,
    Event::PeerResets,
    Event::Shutdown,
    Event::ShutdownLate,
    Event::Panic,
    Event::PanicLate,
];

/// One race.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    driver: DriverKind,
    what: What,
    /// The page that is missing.
    shut: usize,
    event: Event,
}

/// Every race that there can be on `driver`.
pub(crate) fn cells(driver: DriverKind) -> Vec<Cell> {
    let mut cells = Vec::new();
    for kind in [Kind::Pipe, Kind::Unix, Kind::Tcp, Kind::Tmpfs, Kind::Disk] {
        // Without a ring, the core itself copies from and to sockets.
        if kind.is_socket() && driver == DriverKind::Readiness {
            continue;
        }
        for (inward, vectored) in [(true, false), (true, true), (false, false), (false, true)] {
            let what = What { kind, inward, vectored };
            for (shut, event) in (0..PAGES).flat_map(|shut| EVENTS.map(|event| (shut, event))) {
                if is_possible(kind, event) {
                    cells.push(Cell { driver, what, shut, event });
                }
            }
        }
    }
    cells
}

fn is_possible(kind: Kind, event: Event) -> bool {
    match event {
        Event::PeerEnds => !kind.is_file(),
        Event::PeerResets => kind == Kind::Tcp,
        _ => true,
    }
}

/// Runs one race and checks what came of it.
pub(crate) fn run(cell: &Cell, folders: &Folders) {
    let account = Account::open();
    let first = content(LEN);
    let gate = match cell.what.inward {
        true => Gate::new(&[0; LEN], cell.shut),
        false => Gate::new(&first, cell.shut),
    };
    gate.watch(|_| {});
    let (near, far) = ends(cell.what, folders, &first);
    let builder = Builder::new().driver(cell.driver).drain_timeout(DRAIN);
    let (seen, far) = match cell.event {
        Event::Shutdown | Event::ShutdownLate => by_shutdown(cell, &builder, near, far, &gate),
        Event::Panic | Event::PanicLate => by_panic(cell, &builder, near, far, &gate),
        _ => {
            let runtime = builder.build().expect("the driver starts");
            let result = runtime.block_on(within(cell, near, far, &gate, folders));
            let last = runtime.metrics();
            let report = runtime.shutdown(Duration::from_secs(20));
            assert_eq!(report.operations_leaked, 0, "{last:?}");
            assert_eq!(last.stale_completions, 0, "{last:?}");
            result
        }
    };
    assert_eq!(seen.leaked > 0, matches!(cell.event, Event::Shutdown | Event::Panic), "{seen:?}");
    let leaked = seen.leaked;
    if leaked == 0 {
        check(cell.what, &first, &gate, seen, far);
    } else {
        assert_eq!(leaked, 1);
        check_leaked(cell.what, cell.shut, &first, &gate, far);
    }
    gate.abandon();
    // The descriptor belongs to the operation that was left to the system, and so does the gate's.
    account.balance(if leaked > 0 { 2 } else { 0 });
}

/// Gives the core time to do what it should not.
async fn stays(gate: &Gate) {
    turns(20).await;
    assert_eq!(gate.dropped(), 0);
}

/// The events that a runtime survives.
async fn within(
    cell: &Cell,
    near: Near,
    far: Far,
    gate: &Arc<Gate>,
    folders: &Folders,
) -> (Seen, Option<Far>) {
    let mut line = Line::new(cell.what, near);
    let mut far = Some(far);
    let mut seen = Seen::default();
    if cell.event == Event::Abort {
        let (fd, task_gate) = (line.fd.clone(), gate.clone());
        let mut task = spawn(async move { line.start(&task_gate).await });
        gate.catches().await;
        task.abort();
        assert!(task.await.expect_err("it was aborted").is_aborted());
        stays(gate).await;
        gate.release();
        no_operation().await;
        // The lane went with its task; another one goes on.
        line = Line::with(cell.what, fd);
    } else {
        let mut job = line.start(gate);
        until_held(&mut job, gate).await;
        seen.result = on_job(cell.event, job, &mut far, gate, (cell.what, folders)).await;
        if seen.result.is_none() {
            behind(cell, &mut line, gate, &mut seen).await;
        }
    }
    settle(&mut line, &mut seen).await;
    if cell.event == Event::Forget && !cell.what.kind.is_socket() {
        // Its result stays in its slot for ever.
        until("the write has ended", || metrics().completions > 0).await;
    } else {
        no_operation().await;
    }
    afterwards(cell, &mut line, &mut far, gate, &mut seen).await;
    drop(line);
    (seen, far)
}

/// Lets the event happen to `job`, whose copy is held. Its result, if it still has one; else the
/// copy is still held.
async fn on_job(
    event: Event,
    mut job: Job<'_>,
    far: &mut Option<Far>,
    gate: &Arc<Gate>,
    (what, folders): (What, &Folders),
) -> Option<io::Result<usize>> {
    let limit = Duration::from_millis(1);
    match event {
        Event::Release => stays(gate).await,
        Event::Fork => {
            fork();
            stays(gate).await;
        }
        Event::Elsewhere => {
            let (near, _far) = ends(what, folders, &content(LEN));
            let other = Gate::new(&content(LEN), 0);
            other.release();
            let mut line = Line::new(what, near);
            assert_eq!(line.start(&other).await.expect("it is not held"), LEN);
            stays(gate).await;
        }
        Event::PeerEnds | Event::PeerResets => {
            let mut peer = far.take().expect("nobody took it");
            // Some of what the peer does waits for the copy.
            let does = std::thread::spawn(move || match event {
                Event::PeerResets => peer.reset(),
                _ if what.inward => peer.give(SECOND),
                _ => drop(peer),
            });
            stays(gate).await;
            gate.release();
            let result = job.await;
            does.join().expect("the peer does its part");
            return Some(result);
        }
        Event::TimeLimitLate => {
            let before = metrics().cancels;
            let late = async {
                until("the cancel was sent", || metrics().cancels > before).await;
                stays(gate).await;
                gate.release();
            };
            let start = Instant::now();
            let (result, ()) = join(timeout(limit, &mut job), late).await;
            drop(job);
            // Where everything is slow, the operation is too late for the grace.
            assert!(result.is_ok() || start.elapsed() >= GRACE, "the operation won");
            return result.ok();
        }
        Event::TimeLimit => {
            assert!(timeout(limit, &mut job).await.is_err(), "it was not held");
            drop(job);
            return None;
        }
        Event::Select => {
            let mut catches = gate.catches();
            poll_fn(|cx| {
                assert!(job.as_mut().poll(cx).is_pending());
                Pin::new(&mut catches).poll(cx).map(drop)
            })
            .await;
            drop(job);
            return None;
        }
        Event::Forget => {
            std::mem::forget(job);
            return None;
        }
        _ => {
            drop(job);
            return None;
        }
    }
    gate.release();
    Some(job.await)
}

/// The future has gone, and the copy is held: what comes next waits where it has to.
async fn behind(cell: &Cell, line: &mut Line, gate: &Gate, seen: &mut Seen) {
    if cell.event != Event::Behind {
        stays(gate).await;
        gate.release();
        return;
    }
    // For a ring, a cancel is a request like any other.
    let submitted = || match cell.driver {
        DriverKind::Uring => metrics().submitted - metrics().cancels,
        _ => metrics().submitted,
    };
    if cell.what.kind.is_socket() {
        assert!(line.lane.is_busy());
        let before = submitted();
        let mut settle = pin!(line.lane.settle());
        still_waits(settle.as_mut(), gate).await;
        assert_eq!(submitted(), before, "the next one was begun");
        return gate.release();
    }
    if cell.what.kind.is_file() && !cell.what.inward {
        let before = submitted();
        let mut pass = pin!(line.writes.pass());
        still_waits(pass.as_mut(), gate).await;
        assert_eq!((line.writes.orphans(), submitted()), (1, before));
        gate.release();
        return pass.await;
    }
    if cell.what.kind.is_file() {
        // Another read need not wait.
        let all = line.rest(0).await.expect("the file is readable");
        assert!(all == content(LEN) && gate.dropped() == 0);
        return gate.release();
    }
    if !cell.what.inward {
        let mut next = pin!(line.put_by_worker(SECOND));
        still_waits(next.as_mut(), gate).await;
        gate.release();
        assert_eq!(next.await.expect("there is room"), SECOND.len());
        seen.after = SECOND;
        return;
    }
    // What the second read of the pipe finds is given later, by `afterwards`.
    stays(gate).await;
    gate.release();
}

async fn still_waits<F: Future>(mut next: Pin<&mut F>, gate: &Gate) {
    for _ in 0..10 {
        poll_fn(|cx| {
            assert!(next.as_mut().poll(cx).is_pending(), "it went past");
            Poll::Ready(())
        })
        .await;
        stays(gate).await;
    }
}

/// Asks the lane what an operation left whose future has gone.
async fn settle(line: &mut Line, seen: &mut Seen) {
    if let Some(mut residue) = line.lane.settle().await {
        let mut bytes = Vec::new();
        residue.for_each_part(&mut |part| bytes.extend_from_slice(part));
        seen.result = Some(residue.result().map(|n| n as usize));
        residue.finish();
        seen.residue = Some(bytes);
    }
}

/// Goes on with the line: reads what is left of it, or writes more.
async fn afterwards(
    cell: &Cell,
    line: &mut Line,
    far: &mut Option<Far>,
    gate: &Gate,
    seen: &mut Seen,
) {
    if cell.what.inward {
        let start = match &seen.result {
            Some(Ok(n)) => *n,
            // The buffer of a forgotten read comes back with the end of the runtime.
            _ if cell.event == Event::Forget => LEN,
            _ => gate.taken().len(),
        };
        if !cell.what.kind.is_file()
            && let Some(mut far) = far.take()
        {
            far.give(SECOND);
        }
        match line.rest(start).await {
            Ok(rest) => seen.rest = Some(rest),
            Err(error) => {
                assert!(cell.event == Event::PeerResets && is_reset(Err(error)));
            }
        }
        return;
    }
    if far.is_some() && seen.after.is_empty() {
        line.writes.pass().await;
        let start = match &*far {
            Some(Far::File(file)) => file.metadata().expect("an open file").len(),
            _ => 0,
        };
        assert_eq!(line.put(SECOND, start).await.expect("there is room"), SECOND.len());
        seen.after = SECOND;
    }
}

/// The runtime ends while the copy is held by an operation of a task.
fn by_shutdown(
    cell: &Cell,
    builder: &Builder,
    near: Near,
    far: Far,
    gate: &Arc<Gate>,
) -> (Seen, Option<Far>) {
    let runtime = builder.build().expect("the driver starts");
    runtime.block_on(in_a_task(cell, near, gate));
    let late = cell.event == Event::ShutdownLate;
    let start = Instant::now();
    let report = runtime.shutdown(if late { Duration::from_secs(20) } else { DRAIN });
    let took = start.elapsed();
    if !late {
        assert!(took >= DRAIN && took < DRAIN * 50, "the end took {took:?}");
    }
    (Seen { leaked: report.operations_leaked, ..Seen::default() }, Some(far))
}

/// A panic drops the runtime while the copy is held.
fn by_panic(
    cell: &Cell,
    builder: &Builder,
    near: Near,
    far: Far,
    gate: &Arc<Gate>,
) -> (Seen, Option<Far>) {
    let late = cell.event == Event::PanicLate;
    let builder = builder.clone().drain_timeout(if late { Duration::from_secs(20) } else { DRAIN });
    panic_after(&builder, in_a_task(cell, near, gate));
    // Who leaves an operation says so on stderr; here the drop of the buffer tells.
    (Seen { leaked: u32::from(!late), ..Seen::default() }, Some(far))
}

/// Releases the gate when it is dropped: when the task is dropped whose operation is held.
struct Releases(Arc<Gate>);

impl Drop for Releases {
    fn drop(&mut self) {
        assert_eq!(self.0.dropped(), 0);
        let gate = self.0.clone();
        std::thread::spawn(move || gate.release());
    }
}

async fn in_a_task(cell: &Cell, near: Near, gate: &Arc<Gate>) {
    let mut line = Line::new(cell.what, near);
    let late = matches!(cell.event, Event::ShutdownLate | Event::PanicLate);
    let releases = late.then(|| Releases(gate.clone()));
    let task_gate = gate.clone();
    drop(spawn(async move {
        let _releases = releases;
        line.start(&task_gate).await
    }));
    assert_ne!(gate.catches().await, thread_id(), "the core itself is held");
}

/// Runs the races of one driver, as many as the scale asks for.
pub(crate) fn all(driver: DriverKind, shots: &mut Shots) {
    let folders = Folders::new();
    for cell in shots.choose(cells(driver)) {
        shots.fire(&cell, |cell| run(cell, &folders));
    }
}
