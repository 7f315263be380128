//! The core itself is held, in the system call that copies; then something happens around it, or
//! to the operation in the very turn in which its result is there but not taken.

use crate::fences::core_copies;
use crate::gate::{Gate, LEN, PAGES};
use crate::line::{Far, Folders, Kind, Near, What, ends};
use crate::support::*;
use crate::{Account, SECOND, Shots, content, fork, thread_id};
use ringbolt::fs::File;
use ringbolt::net::TcpStream;
use ringbolt::{BufResult, Builder, DriverKind, PoolConfig, spawn, timeout};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::Poll;
use std::time::{Duration, Instant};

/// The method whose copy is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Read,
    ReadVectored,
    /// A receive into a buffer of the pool.
    Recv,
    Write,
    WriteAll,
    WriteVectored,
    ReadAt,
    ReadVectoredAt,
}

impl Method {
    fn what(self) -> What {
        use Method::*;
        let file = matches!(self, ReadAt | ReadVectoredAt);
        What {
            kind: if file { Kind::Disk } else { Kind::Tcp },
            inward: matches!(self, Read | ReadVectored | Recv | ReadAt | ReadVectoredAt),
            vectored: matches!(self, ReadVectored | WriteVectored | ReadVectoredAt),
        }
    }
}

const ON_STREAMS: [Method; 6] = [
    Method::Read,
    Method::ReadVectored,
    Method::Recv,
    Method::Write,
    Method::WriteAll,
    Method::WriteVectored,
];
/// On a ring, the core copies from pages that are cached.
const ON_FILES: [Method; 2] = [Method::ReadAt, Method::ReadVectoredAt];

/// What happens while the core is held, or in the turn that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing.
    Release,
    /// The future is dropped although its result is there.
    Drop,
    /// It is forgotten.
    Forget,
    /// The task is aborted although its result is there.
    Abort,
    /// A time limit has passed when the result arrives.
    TimeLimit,
    /// The process forks.
    Fork,
    /// A signal interrupts the core.
    Signal,
    /// The peer says what is left to say, and goes.
    PeerEnds,
    /// The peer resets the connection.
    PeerResets,
    /// The runtime ends in the turn in which the result is there.
    Shutdown,
    /// A panic drops the runtime in that turn.
    Panic,
}

const EVENTS: [Event; 11] = [
    Event::Release,
    Event::Drop,
    Event::Forget,
    Event::Abort,
    Event::TimeLimit,
    Event::Fork,
    Event::Signal,
    Event::PeerEnds,
    Event::PeerResets,
    Event::Shutdown,
    Event::Panic,
];

/// One race.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    driver: DriverKind,
    method: Method,
    /// The page that is missing.
    shut: usize,
    event: Event,
}

/// Every race that there can be on `driver`.
pub(crate) fn cells(driver: DriverKind) -> Vec<Cell> {
    let files = if driver == DriverKind::Uring { &ON_FILES[..] } else { &[] };
    let mut cells = Vec::new();
    for method in ON_STREAMS.iter().chain(files).copied() {
        for (shut, event) in (0..PAGES).flat_map(|shut| EVENTS.map(|event| (shut, event))) {
            let of_peer = matches!(event, Event::PeerEnds | Event::PeerResets);
            if !(of_peer && method.what().kind.is_file()) {
                cells.push(Cell { driver, method, shut, event });
            }
        }
    }
    cells
}

/// What the method works on.
#[derive(Debug)]
enum End {
    Stream(TcpStream),
    File(File),
}

/// The method under way: its count, and the bytes that it lent.
type Job<'a> = Pin<Box<dyn Future<Output = io::Result<(usize, Vec<u8>)>> + 'a>>;

impl End {
    fn new(near: Near) -> End {
        match near {
            Near::Socket(socket) => {
                End::Stream(TcpStream::from_std(socket.into()).expect("a socket in any mode"))
            }
            Near::File(file) => End::File(File::from_std(file)),
        }
    }

    fn start(&mut self, method: Method, gate: &Arc<Gate>) -> Job<'_> {
        match (self, method) {
            (End::Stream(s), Method::Read) => counted(s.read(gate.buffer(0))),
            (End::Stream(s), Method::ReadVectored) => counted(s.read_vectored(gate.buffers(false))),
            (End::Stream(s), Method::Write) => counted(s.write(gate.buffer(LEN))),
            (End::Stream(s), Method::WriteVectored) => {
                counted(s.write_vectored(gate.buffers(true)))
            }
            (End::Stream(s), Method::WriteAll) => {
                let all = s.write_all(gate.buffer(LEN));
                Box::pin(async { all.await.0.map(|()| (LEN, Vec::new())) })
            }
            (End::Stream(s), _) => Box::pin(async {
                let chunk = s.recv().await?.expect("the stream has not ended");
                Ok((chunk.len(), chunk.to_vec()))
            }),
            (End::File(f), Method::ReadAt) => counted(f.read_at(gate.buffer(0), 0)),
            (End::File(f), _) => counted(f.read_vectored_at(gate.buffers(false), 0)),
        }
    }

    /// What can be read after `start` bytes, up to the end.
    async fn rest(&mut self, start: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let BufResult(result, buf) = match self {
                End::Stream(stream) => stream.read(Vec::with_capacity(LEN)).await,
                End::File(file) => {
                    file.read_at(Vec::with_capacity(LEN), (start + all.len()) as u64).await
                }
            };
            if result? == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&buf);
        }
    }

    async fn put(&mut self, bytes: &'static [u8]) -> io::Result<()> {
        match self {
            End::Stream(stream) => stream.write_all(bytes).await.0,
            End::File(_) => unreachable!("files are read only"),
        }
    }
}

fn counted<'a, B: 'a>(future: impl Future<Output = BufResult<usize, B>> + 'a) -> Job<'a> {
    Box::pin(async { future.await.0.map(|n| (n, Vec::new())) })
}

const LIMIT: Duration = Duration::from_millis(5);

/// Runs one race and checks what came of it.
pub(crate) fn run(cell: &Cell, folders: &Folders) {
    let account = Account::open();
    let first = content(LEN);
    let what = cell.method.what();
    let pool =
        PoolConfig { buffer_len: LEN, buffers: 16, buffers_max: 16, ..PoolConfig::default() };
    let builder = Builder::new().driver(cell.driver).pool(pool);
    let builder = builder.drain_timeout(Duration::from_secs(20));
    let runtime = builder.build().expect("the driver starts");
    let gate = match cell.method {
        Method::Recv => {
            let buffers = runtime.block_on(pool_buffers());
            // SAFETY: nothing is lent, and the pool lives as long as the runtime, which ends after
            // the release.
            unsafe { Gate::over(&buffers, cell.shut) }
        }
        _ if what.inward => Gate::new(&[0; LEN], cell.shut),
        _ => Gate::new(&first, cell.shut),
    };
    let (near, far) = ends(what, folders, &first);
    let (event, core) = (cell.event, thread_id());
    let (back, far_back) = channel();
    gate.watch(move |gate| {
        let far = outside(event, far, core, what);
        gate.release();
        let _ = back.send(far);
    });
    let last = match event {
        Event::Shutdown => {
            runtime.block_on(in_a_task(cell, near, &gate));
            runtime.shutdown(Duration::from_secs(20)).operations_leaked
        }
        Event::Panic => {
            let result = catch_unwind(AssertUnwindSafe(|| {
                let runtime = runtime;
                runtime.block_on(async {
                    in_a_task(cell, near, &gate).await;
                    resume_unwind(Box::new("a panic in that turn"));
                })
            }));
            let Err(payload) = result;
            assert_eq!(panic_text(&*payload), "a panic in that turn");
            0
        }
        _ => {
            runtime.block_on(within(cell, near, &gate, &far_back));
            let report = runtime.shutdown(Duration::from_secs(20));
            report.operations_leaked
        }
    };
    assert_eq!(last, 0, "nothing is held any more");
    if cell.method != Method::Recv {
        assert_eq!(gate.dropped(), if what.vectored { PAGES } else { 1 }, "buffers came back");
        assert!(!what.inward || first.starts_with(&gate.taken()));
    }
    drop(far_back);
    gate.abandon();
    account.balance(0);
}

/// What another thread does while the core is held.
fn outside(event: Event, mut far: Far, core: i32, what: What) -> Option<Far> {
    let caught = Instant::now();
    match event {
        Event::Fork => fork(),
        Event::Signal => interrupt(core),
        Event::TimeLimit => {
            while caught.elapsed() < LIMIT {
                std::thread::yield_now();
            }
        }
        Event::PeerEnds => {
            if what.inward {
                far.give(SECOND);
            }
            return None;
        }
        Event::PeerResets => {
            far.reset();
            return None;
        }
        _ => {}
    }
    Some(far)
}

/// Sends a signal with a handler that does nothing to the thread of the core.
fn interrupt(core: i32) {
    extern "C" fn nothing(_: i32) {}
    let handler = nothing as extern "C" fn(i32);
    // SAFETY: the handler does nothing, so it may run at any point.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    let process = std::process::id();
    // SAFETY: the call names no memory; the thread is held.
    let n = unsafe { libc::syscall(libc::SYS_tgkill, process, core, libc::SIGUSR1) };
    assert_eq!(n, 0, "{}", io::Error::last_os_error());
}

/// The buffers of the pool, found by receiving into them.
async fn pool_buffers() -> Vec<usize> {
    use std::io::Write;
    let (mut stream, mut peer) = pair_with_std().await;
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        peer.write_all(b"x").expect("the stream is open");
        let chunk = stream.recv().await.expect("the stream is open").expect("a byte was sent");
        let start = chunk.as_ptr().expose_provenance();
        assert_eq!(start % crate::gate::PAGE, 0, "it was not lent");
        seen.insert(start);
    }
    drop(stream);
    no_operation().await;
    seen.into_iter().collect()
}

/// Starts the method in a task, and returns once the core was held.
async fn in_a_task(cell: &Cell, near: Near, gate: &Arc<Gate>) {
    let mut end = End::new(near);
    let (method, task_gate) = (cell.method, gate.clone());
    drop(spawn(async move { end.start(method, &task_gate).await.map(drop) }));
    assert_eq!(gate.catches().await, thread_id(), "the core was to be held");
}

/// The events that a runtime survives.
async fn within(cell: &Cell, near: Near, gate: &Arc<Gate>, far: &Receiver<Option<Far>>) {
    let first = content(LEN);
    let what = cell.method.what();
    let mut end = End::new(near);
    if cell.event == Event::Abort {
        let (method, task_gate) = (cell.method, gate.clone());
        let mut task = spawn(async move { end.start(method, &task_gate).await.map(drop) });
        assert_eq!(gate.catches().await, thread_id(), "the core was to be held");
        task.abort();
        assert!(task.await.expect_err("it was aborted").is_aborted());
        return no_operation().await;
    }
    let result = on_job(cell.event, end.start(cell.method, gate), gate).await;
    let mut far = far.recv().expect("the other thread gives it back");
    if cell.event == Event::PeerResets {
        let lost =
            |error: io::Error| error.kind() == io::ErrorKind::BrokenPipe || is_reset(Err(error));
        assert!(result.is_some_and(|r| r.map_or_else(lost, |(n, _)| n > 0)));
        if what.inward {
            // What was there before the reset is lost with it, but nothing else comes.
            let _ = end.rest(0).await;
        }
        return;
    }
    let result = result.map(|result| result.expect("the connection is whole"));
    if !what.inward {
        assert!(result.is_none_or(|(n, _)| n == LEN), "there is room");
        if cell.event == Event::PeerEnds {
            return;
        }
        end.put(SECOND).await.expect("the message before went out in one piece");
        drop(end);
        until("it is closed", || ringbolt::metrics().descriptors == 0).await;
        let all = far.as_mut().expect("nobody took it").take_all();
        assert!(all == [&first, SECOND].concat(), "{} bytes, but which", all.len());
        return;
    }
    let (known, mut all) = match result {
        Some((n, lent)) if cell.method == Method::Recv => (n, lent),
        Some((n, _)) => (n, gate.taken()),
        // A read of a file belongs to its future, and so does what it read.
        None if what.kind.is_file() => (LEN, first.clone()),
        // Bytes of a connection come with the next read.
        None => (0, Vec::new()),
    };
    assert!(what.kind.is_file() || known == all.len());
    let mut wanted = first;
    if !what.kind.is_file() {
        wanted.extend_from_slice(SECOND);
        if let Some(mut far) = far {
            far.give(SECOND);
        }
    }
    all.extend(end.rest(known).await.expect("the connection is whole"));
    assert!(all == wanted, "{} bytes of {}", all.len(), wanted.len());
    if cell.method == Method::Recv {
        until("nothing is lent", || ringbolt::metrics().buffers_leased == 0).await;
    }
}

/// Lets the event happen to `job`. Its result, if it still has one.
async fn on_job(
    event: Event,
    mut job: Job<'_>,
    gate: &Gate,
) -> Option<io::Result<(usize, Vec<u8>)>> {
    match event {
        Event::TimeLimit => {
            let limited = timeout(LIMIT, job).await;
            Some(limited.expect("the operation won"))
        }
        Event::Drop | Event::Forget => {
            let mut catches = gate.catches();
            let thread = poll_fn(|cx| {
                // The result is there when the wake of the gate is, but is not looked at.
                if let Poll::Ready(thread) = Pin::new(&mut catches).poll(cx) {
                    return Poll::Ready(thread);
                }
                assert!(job.as_mut().poll(cx).is_pending(), "the copy was not held");
                Poll::Pending
            })
            .await;
            assert_eq!(thread, thread_id(), "the core was to be held");
            if event == Event::Forget {
                std::mem::forget(job);
            }
            None
        }
        _ => {
            let result = job.await;
            assert_eq!(gate.catches().await, thread_id(), "the core was to be held");
            Some(result)
        }
    }
}

/// Runs the races of one driver, as many as the scale asks for.
pub(crate) fn all(driver: DriverKind, shots: &mut Shots) {
    let folders = Folders::new();
    let mut cells = cells(driver);
    let file = Method::ReadAt.what();
    if driver == DriverKind::Uring && !core_copies(driver, file, &folders) {
        skipped("a file system whose cached reads are done by the core");
        cells.retain(|cell| !cell.method.what().kind.is_file());
    }
    for cell in shots.choose(cells) {
        shots.fire(&cell, |cell| run(cell, &folders));
    }
}
