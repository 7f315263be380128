//! A write to a file whose future has gone is held in the middle of its copy: what could be
//! overtaken by it waits, and is not even begun.

use crate::gate::{Gate, LEN, PAGE, PAGES, until_held};
use crate::line::{Folders, Kind, Near, What, ends};
use crate::support::*;
use crate::{Account, Shots, content, thread_id};
use ringbolt::fs::File;
use ringbolt::{BufResult, Builder, DriverKind, metrics, spawn, timeout};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How the future of the held write goes.
#[derive(Clone, Copy, Debug)]
enum Goes {
    Dropped,
    TimeLimit,
    Aborted,
}

/// What comes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    WriteAt,
    WriteAllAt,
    WriteVectoredAt,
    SyncAll,
    SyncData,
    Close,
    /// The file is dropped.
    Drop,
}

/// One race.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    driver: DriverKind,
    kind: Kind,
    vectored: bool,
    /// The page that is missing.
    shut: usize,
    goes: Goes,
    next: Next,
}

/// Every race that there can be on `driver`.
pub(crate) fn cells(driver: DriverKind) -> Vec<Cell> {
    use Next::*;
    let mut cells = Vec::new();
    for (kind, vectored) in
        [Kind::Tmpfs, Kind::Disk].into_iter().flat_map(|k| [(k, false), (k, true)])
    {
        for shut in 0..PAGES {
            for goes in [Goes::Dropped, Goes::TimeLimit, Goes::Aborted] {
                for next in [WriteAt, WriteAllAt, WriteVectoredAt, SyncAll, SyncData, Close, Drop] {
                    cells.push(Cell { driver, kind, vectored, shut, goes, next });
                }
            }
        }
    }
    cells
}

type Job = Pin<Box<dyn Future<Output = io::Result<()>>>>;

fn done<T, B: 'static>(future: impl Future<Output = BufResult<T, B>> + 'static) -> Job {
    Box::pin(async { future.await.0.map(drop) })
}

fn start(vectored: bool, file: &Rc<File>, gate: &Arc<Gate>) -> Job {
    let file = file.clone();
    if vectored {
        let bufs = gate.buffers(true);
        return done(async move { file.write_vectored_at(bufs, 0).await });
    }
    let buf = gate.buffer(LEN);
    done(async move { file.write_at(buf, 0).await })
}

/// One page over the page that is missing.
fn over(cell: &Cell) -> (Vec<u8>, u64) {
    (vec![b'2'; PAGE], (cell.shut * PAGE) as u64)
}

fn next(cell: &Cell, file: Rc<File>) -> Job {
    let (page, at) = over(cell);
    match cell.next {
        Next::WriteAt => done(async move { file.write_at(page, at).await }),
        Next::WriteAllAt => done(async move { file.write_all_at(page, at).await }),
        Next::WriteVectoredAt => done(async move { file.write_vectored_at([page], at).await }),
        Next::SyncAll => Box::pin(async move { file.sync_all().await }),
        Next::SyncData => Box::pin(async move { file.sync_data().await }),
        Next::Close => {
            let file = Rc::into_inner(file).expect("nobody else has it");
            Box::pin(async move { file.close().await })
        }
        Next::Drop => {
            drop(Rc::into_inner(file).expect("nobody else has it"));
            Box::pin(async {
                until("the file is closed", || metrics().descriptors == 0).await;
                Ok(())
            })
        }
    }
}

/// Runs one race and checks what came of it.
pub(crate) fn run(cell: &Cell, folders: &Folders) {
    let account = Account::open();
    let first = content(LEN);
    let what = What { kind: cell.kind, inward: false, vectored: cell.vectored };
    let (near, mut far) = ends(what, folders, &first);
    let Near::File(near) = near else { unreachable!("a file was asked for") };
    let gate = Gate::new(&first, cell.shut);
    gate.watch(|_| {});
    let runtime = Builder::new().driver(cell.driver).build().expect("the driver starts");
    runtime.block_on(async {
        let file = Rc::new(File::from_std(near));
        go(cell, &file, &gate).await;
        behind(cell, file, &gate).await;
        no_operation().await;
    });
    let report = runtime.shutdown(Duration::from_secs(20));
    assert_eq!(report.operations_leaked, 0);
    assert_eq!(gate.dropped(), if cell.vectored { PAGES } else { 1 });
    let mut wanted = first;
    if matches!(cell.next, Next::WriteAt | Next::WriteAllAt | Next::WriteVectoredAt) {
        let (page, at) = over(cell);
        wanted[at as usize..][..PAGE].copy_from_slice(&page);
    }
    let found = far.take_all();
    assert!(found == wanted, "{} bytes, but which", found.len());
    drop(far);
    gate.abandon();
    account.balance(0);
}

/// Starts the write, and lets its future go while the copy is held.
async fn go(cell: &Cell, file: &Rc<File>, gate: &Arc<Gate>) {
    let mut job = start(cell.vectored, file, gate);
    if let Goes::Aborted = cell.goes {
        let mut task = spawn(job);
        assert_ne!(gate.catches().await, thread_id(), "the core itself is held");
        task.abort();
        assert!(task.await.expect_err("it was aborted").is_aborted());
        return;
    }
    until_held(&mut job, gate).await;
    if let Goes::TimeLimit = cell.goes {
        assert!(timeout(Duration::from_millis(1), job).await.is_err(), "it was not held");
    }
}

/// What comes behind waits for the release, and then goes on.
async fn behind(cell: &Cell, file: Rc<File>, gate: &Gate) {
    // For a ring, a cancel is a request like any other. The kernel's own lock on the file would
    // hide a write that was begun too early, so the requests are what counts.
    let submitted = || match cell.driver {
        DriverKind::Uring => metrics().submitted - metrics().cancels,
        _ => metrics().submitted,
    };
    turns(5).await;
    let before = submitted();
    let mut next = next(cell, file);
    for _ in 0..20 {
        poll_fn(|cx| {
            assert!(next.as_mut().poll(cx).is_pending(), "it went past");
            Poll::Ready(())
        })
        .await;
        turns(1).await;
    }
    assert_eq!(submitted(), before, "it was begun");
    assert_eq!((gate.dropped(), metrics().descriptors), (0, 1));
    gate.release();
    next.await.expect("nothing is in its way any more");
}

/// Whether the core itself copies from and to such a file, and no worker or helper.
pub(crate) fn core_copies(driver: DriverKind, what: What, folders: &Folders) -> bool {
    let (near, _far) = ends(what, folders, &content(LEN));
    let Near::File(near) = near else { unreachable!("a file was asked for") };
    let gate = Gate::new(&content(LEN), 0);
    gate.watch(Gate::release);
    let runtime = Builder::new().driver(driver).build().expect("the driver starts");
    let thread = runtime.block_on(async {
        let file = File::from_std(near);
        let n = match what.inward {
            true => file.read_at(gate.buffer(0), 0).await.0,
            false => file.write_at(gate.buffer(LEN), 0).await.0,
        };
        assert_eq!(n.expect("the file is whole"), LEN);
        gate.catches().await
    });
    gate.abandon();
    thread == thread_id()
}

/// Runs the races of one driver, as many as the scale asks for.
pub(crate) fn all(driver: DriverKind, shots: &mut Shots) {
    let folders = Folders::new();
    let mut cells = cells(driver);
    for kind in [Kind::Tmpfs, Kind::Disk] {
        if core_copies(driver, What { kind, inward: false, vectored: false }, &folders) {
            skipped(&format!("a file system of kind {kind:?} whose writes are left to workers"));
            cells.retain(|cell| cell.kind != kind);
        }
    }
    for cell in shots.choose(cells) {
        shots.fire(&cell, |cell| run(cell, &folders));
    }
}
