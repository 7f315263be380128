//! Operations on files whose answers a file system of our own keeps back.

use crate::gate::{Gate, LEN};
use crate::methods::{METHODS, Method, file_for, settled, start};
use crate::remote::Server;
use crate::server::Rule;
use crate::support::*;
use crate::{Account, DRAIN, GRACE, SERVER, Shots, content, fork, panic_after};
use ringbolt::{Builder, DriverKind, metrics, spawn, timeout};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// What happens while the answer is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Nothing.
    Release,
    /// The future is dropped.
    Drop,
    /// A time limit passes, and so does its grace.
    TimeLimit,
    /// A time limit passes, and the answer comes within the grace.
    TimeLimitLate,
    /// The task is aborted.
    Abort,
    /// The process forks.
    Fork,
    /// The file is closed while the future of the operation has gone.
    CloseBehind,
    /// The runtime ends, and its patience too.
    Shutdown,
    /// The runtime ends, and the operation in time.
    ShutdownLate,
    /// A panic drops the runtime, whose patience ends.
    Panic,
}

const EVENTS: [Event; 10] = [
    Event::Release,
    Event::Drop,
    Event::TimeLimit,
    Event::TimeLimitLate,
    Event::Abort,
    Event::Fork,
    Event::CloseBehind,
    Event::Shutdown,
    Event::ShutdownLate,
    Event::Panic,
];

/// One race.
#[derive(Clone, Copy, Debug)]
struct Cell {
    driver: DriverKind,
    method: Method,
    event: Event,
}

/// Runs the races of one driver, as many as the scale asks for.
pub(crate) fn all(driver: DriverKind, shots: &mut Shots) {
    let server = match Server::mount(SERVER) {
        Ok(server) => Rc::new(server),
        Err(error) => return skipped(&format!("a file system of our own (fuse): {error}")),
    };
    let mut cells = Vec::new();
    for (method, event) in METHODS.into_iter().flat_map(|m| EVENTS.map(|event| (m, event))) {
        let on_file = method.needs_file() && method != Method::Close;
        if event != Event::CloseBehind || on_file {
            cells.push(Cell { driver, method, event });
        }
    }
    for cell in shots.choose(cells) {
        shots.fire(&cell, |cell| run(cell, &server));
    }
}

/// Runs one race and checks what came of it.
fn run(cell: &Cell, server: &Rc<Server>) {
    let account = Account::open();
    let gate = Gate::open(&cell.method.memory());
    let builder = Builder::new().driver(cell.driver).drain_timeout(DRAIN);
    let leaked = match cell.event {
        Event::Shutdown | Event::ShutdownLate => by_shutdown(cell, &builder, server, &gate),
        Event::Panic => by_panic(cell, &builder, server, &gate),
        _ => {
            let runtime = builder.build().expect("the driver starts");
            runtime.block_on(within(cell, server, &gate));
            runtime.shutdown(Duration::from_secs(20)).operations_leaked > 0
        }
    };
    assert_eq!(leaked, matches!(cell.event, Event::Shutdown | Event::Panic));
    if leaked {
        let slots = Graves::dig();
        release(server, &gate);
        // What the system still held is kept: the descriptor that it works on, or that it yields,
        // and the buffers. A close gives its descriptor back in any case.
        let on_fd = cell.method.needs_file() && cell.method != Method::Close;
        let yields = matches!(cell.method, Method::Open | Method::Create);
        let buffers = cell.method.buffers();
        assert_eq!(gate.dropped(), 0, "a buffer was freed");
        gate.abandon();
        account.balance(usize::from(on_fd || yields) + usize::from(buffers > 0));
        slots.are_untouched();
    } else {
        assert_eq!(gate.dropped(), cell.method.buffers(), "buffers came back");
        if cell.method.reads() {
            let taken = gate.taken();
            assert!(content(LEN).starts_with(&taken), "{} bytes, but which", taken.len());
        }
        gate.abandon();
        account.balance(0);
    }
    let (_, written, whole) = server.report();
    assert!(if cell.method.writes() { whole } else { written == 0 }, "{written} bytes");
}

fn release(server: &Server, gate: &Gate) {
    assert_eq!(gate.dropped(), 0);
    gate.release();
    server.release();
}

/// The events that a runtime survives.
async fn within(cell: &Cell, server: &Rc<Server>, gate: &Arc<Gate>) {
    let file = file_for(cell.method, server).await;
    server.rule(cell.method.request(), Rule::Hold);
    let kept = file.clone().filter(|_| cell.event == Event::CloseBehind);
    let mut job = start(cell.method, server, file, gate);
    if cell.event == Event::Abort {
        let mut task = spawn(job);
        server.holds().await;
        task.abort();
        assert!(task.await.expect_err("it was aborted").is_aborted());
        turns(20).await;
        release(server, gate);
        return settled().await;
    }
    let mut holds = server.holds();
    poll_fn(|cx| {
        assert!(job.as_mut().poll(cx).is_pending(), "the answer was not kept back");
        Pin::new(&mut holds).poll(cx)
    })
    .await;
    let limit = Duration::from_millis(1);
    let result = match cell.event {
        Event::Release | Event::Fork => {
            if cell.event == Event::Fork {
                fork();
            }
            turns(20).await;
            release(server, gate);
            job.await
        }
        Event::TimeLimitLate => {
            let before = metrics().cancels;
            let late = async {
                if cell.method != Method::Close {
                    until("the cancel was sent", || metrics().cancels > before).await;
                }
                release(server, gate);
            };
            let start = Instant::now();
            let (result, ()) = join(timeout(limit, job), late).await;
            let Ok(result) = result else {
                // Where everything is slow, the operation is too late for the grace.
                assert!(start.elapsed() >= GRACE, "the operation won");
                return settled().await;
            };
            result
        }
        Event::TimeLimit => {
            assert!(timeout(limit, job).await.is_err(), "it was not kept back");
            release(server, gate);
            return settled().await;
        }
        Event::CloseBehind => {
            drop(job);
            let file = Rc::into_inner(kept.expect("the method needs a file"));
            let mut close = Box::pin(file.expect("nobody else has it").close());
            for _ in 0..10 {
                poll_fn(|cx| {
                    assert!(close.as_mut().poll(cx).is_pending(), "it did not wait");
                    Poll::Ready(())
                })
                .await;
                turns(1).await;
            }
            assert_eq!(metrics().in_flight, 1, "the close was begun");
            release(server, gate);
            close.await.expect("nothing is in its way any more");
            return settled().await;
        }
        _ => {
            drop(job);
            turns(20).await;
            release(server, gate);
            return settled().await;
        }
    };
    let n = result.expect("it succeeds");
    assert_eq!(n, if cell.method.buffers() > 0 { LEN } else { 0 });
    settled().await;
}

/// Releases when it is dropped: when the task is dropped whose answer is kept back.
struct Releases(Rc<Server>, Arc<Gate>);

impl Drop for Releases {
    fn drop(&mut self) {
        release(&self.0, &self.1);
    }
}

async fn in_a_task(cell: &Cell, server: &Rc<Server>, gate: &Arc<Gate>) {
    let file = file_for(cell.method, server).await;
    server.rule(cell.method.request(), Rule::Hold);
    let late = cell.event == Event::ShutdownLate;
    let releases = late.then(|| Releases(server.clone(), gate.clone()));
    let job = start(cell.method, server, file, gate);
    drop(spawn(async move {
        let _releases = releases;
        job.await
    }));
    server.holds().await;
}

/// The runtime ends while the answer is kept back. True if it had to leave the operation.
fn by_shutdown(cell: &Cell, builder: &Builder, server: &Rc<Server>, gate: &Arc<Gate>) -> bool {
    let runtime = builder.build().expect("the driver starts");
    runtime.block_on(in_a_task(cell, server, gate));
    let late = cell.event == Event::ShutdownLate;
    let start = Instant::now();
    let report = runtime.shutdown(if late { Duration::from_secs(20) } else { DRAIN });
    let took = start.elapsed();
    if !late {
        assert!(took >= DRAIN && took < DRAIN * 50, "the end took {took:?}");
        assert_eq!(report.operations_leaked, 1, "the operation is to be reported");
    }
    report.operations_leaked > 0
}

/// A panic drops the runtime while the answer is kept back. Always true.
fn by_panic(cell: &Cell, builder: &Builder, server: &Rc<Server>, gate: &Arc<Gate>) -> bool {
    panic_after(builder, in_a_task(cell, server, gate));
    true
}

/// Memory that was free a moment ago, in case somebody still writes to it.
struct Graves(Vec<Vec<u8>>);

const GONE: u8 = 0xEE;

impl Graves {
    /// Takes what an allocator has of every size up to a page.
    fn dig() -> Graves {
        Graves((0..2048).map(|i| vec![GONE; 16 * (i % 256) + 8]).collect())
    }

    fn are_untouched(&self) {
        let graves = std::hint::black_box(&self.0);
        assert!(graves.iter().all(|g| g.iter().all(|b| *b == GONE)), "freed memory was written to");
    }
}
