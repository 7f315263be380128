//! What every test of the suite stands on: runs on each driver, with a deadline and a balance.
//!
//! [`on_every_driver`] runs one body on every driver of this machine, each with a runtime of its
//! own. After the body it waits until the runtime is at rest and shuts it down: an operation, a
//! descriptor or a lent buffer that is left over fails the test. A body that hangs ends the process
//! with its name. `RINGBOLT_DRIVER` picks one driver, `RINGBOLT_HARDEN=1` hardens every ring,
//! `RINGBOLT_SEED` replays the random choices, `RINGBOLT_TEST_DEADLINE_S` gives a slow machine more
//! time.

mod alone;
mod net;
mod random;
mod watchdog;
mod watched;

pub(crate) use alone::alone;
#[cfg(target_os = "linux")]
pub(crate) use net::full_listener;
pub(crate) use net::{connect, connect_std, dead_address, fd_pair, full_pair, is_reset, listen};
pub(crate) use net::{pair, pair_with_std, reset};
pub(crate) use random::Rng;
use ringbolt::{BufResult, Builder, DriverKind, Metrics, PoolConfig, ShutdownReport};
use std::any::Any;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
pub(crate) use watchdog::deadline;
pub(crate) use watched::{Watch, Watched};

/// One way to run a test: a driver and its sizes.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Names it in messages.
    pub(crate) name: &'static str,
    pub(crate) driver: DriverKind,
    pub(crate) builder: Builder,
    /// Whether rings and pools are so small that they run full.
    pub(crate) tiny: bool,
    leaves_work: Rc<Cell<bool>>,
}

impl Case {
    fn new(name: &'static str, driver: DriverKind, tiny: bool) -> Case {
        let builder = Builder::new().driver(driver).harden(hardened());
        let mut builder = builder.drain_timeout(Duration::from_secs(10));
        if tiny {
            let pool = PoolConfig {
                buffer_len: 1024,
                buffers: 4,
                buffers_max: 8,
                ..PoolConfig::default()
            };
            builder = builder.ring_entries(8).pool(pool);
        }
        Case { name, driver, builder, tiny, leaves_work: Rc::default() }
    }

    pub(crate) fn is_uring(&self) -> bool {
        self.driver == DriverKind::Uring
    }

    /// Says that the test leaves work to the end of the runtime; then only that end is checked.
    pub(crate) fn leaves_work(&self) {
        self.leaves_work.set(true);
    }
}

/// Whether the rings of this run take the operations of the runtime only.
fn hardened() -> bool {
    match std::env::var("RINGBOLT_HARDEN").as_deref() {
        Err(_) | Ok("" | "0") => false,
        Ok("1") => true,
        Ok(other) => panic!("RINGBOLT_HARDEN is 0 or 1, not `{other}`"),
    }
}

/// The drivers of this machine, as `RINGBOLT_DRIVER` allows.
pub(crate) fn cases() -> Vec<Case> {
    let wanted = match std::env::var("RINGBOLT_DRIVER") {
        Ok(text) if !text.is_empty() => text.parse().expect("RINGBOLT_DRIVER names a driver"),
        _ => DriverKind::Auto,
    };
    let mut cases = Vec::new();
    if wanted != DriverKind::Readiness {
        match uring_refused() {
            None => {
                cases.push(Case::new("uring", DriverKind::Uring, false));
                cases.push(Case::new("uring, tiny", DriverKind::Uring, true));
            }
            Some(reason) => {
                assert!(wanted != DriverKind::Uring, "io_uring was asked for: {reason}");
            }
        }
    }
    if wanted != DriverKind::Uring {
        cases.push(Case::new("readiness", DriverKind::Readiness, false));
        cases.push(Case::new("readiness, tiny", DriverKind::Readiness, true));
    }
    cases
}

/// Why io_uring cannot start here, said once; `None` if it can.
pub(crate) fn uring_refused() -> Option<&'static str> {
    static REFUSED: OnceLock<Option<String>> = OnceLock::new();
    let refused = REFUSED.get_or_init(|| {
        let error = Builder::new().driver(DriverKind::Uring).build().err()?;
        if cfg!(target_os = "linux") {
            skipped(&format!("every test on io_uring: {error}"));
        }
        Some(error.to_string())
    });
    refused.as_deref()
}

/// Says on stderr, also when the test passes, that a fact of this machine is missing.
pub(crate) fn skipped(missing: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let line = format!("SKIPPED: {missing} ({count} so far)\n");
    // The test harness hides what the print macros write.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Runs `body` on every driver, in a fresh runtime each, and checks that nothing is left.
#[track_caller]
pub(crate) fn on_every_driver<F: AsyncFn(Case)>(body: F) {
    for case in cases() {
        run(&case, Location::caller(), &body);
    }
}

/// As [`on_every_driver`], without the variants that run full: for what needs room or time.
#[track_caller]
pub(crate) fn on_every_roomy_driver<F: AsyncFn(Case)>(body: F) {
    for case in cases().into_iter().filter(|case| !case.tiny) {
        run(&case, Location::caller(), &body);
    }
}

fn run<F: AsyncFn(Case)>(case: &Case, caller: &'static Location<'static>, body: &F) {
    eprintln!("on {}", case.name);
    let _deadline = watchdog::deadline(case.name, caller);
    let runtime = case.builder.build().expect("the driver starts");
    runtime.block_on(body(case.clone()));
    if !case.leaves_work.get() {
        runtime.block_on(at_rest());
    }
    let last = runtime.metrics();
    let report = runtime.shutdown(Duration::from_secs(10));
    let none = ShutdownReport::default();
    assert_eq!(report, none, "{}: operations did not end; {last:?}", case.name);
    assert_eq!(last.stale_completions, 0, "{}: {last:?}", case.name);
}

/// Waits until nothing is left, and fails if that does not happen.
async fn at_rest() {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let now: Metrics = ringbolt::metrics();
        let left = [now.in_flight, now.descriptors, now.buffers_leased, now.tasks, now.timers];
        if left == [0; 5] {
            return;
        }
        assert!(Instant::now() < end, "left over: {now:?}");
        pause().await;
    }
}

/// Waits until `condition` holds, and fails if that takes too long.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    until_at(what, condition, caller)
}

async fn until_at(what: &str, mut condition: impl FnMut() -> bool, caller: &Location<'_>) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "{caller}: waited in vain until {what}");
        pause().await;
    }
}

/// Lets the core turn, and the other threads of the machine run.
pub(crate) async fn pause() {
    ringbolt::sleep(Duration::from_micros(100)).await;
}

/// Polls once, and tells whether the future is ready.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Turns of the core, which let everything that can be done at once be done.
pub(crate) async fn turns(count: usize) {
    for _ in 0..count {
        ringbolt::yield_now().await;
    }
}

/// The kind of the error in a result that should be one.
#[track_caller]
pub(crate) fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.kind(),
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).expect("a text")
}

/// Bytes that tell their place; they repeat after a length that no buffer has.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let period = len.min(65_521) as u32;
    let mut bytes: Vec<u8> =
        (0..period).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    while bytes.len() < len {
        let more = bytes.len().min(len - bytes.len());
        bytes.extend_from_within(..more);
    }
    bytes
}

/// A future of any operation, without its buffers.
pub(crate) type Try = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// Any future with a result.
pub(crate) fn io<T>(future: impl Future<Output = io::Result<T>> + 'static) -> Try {
    Box::pin(async move { future.await.map(drop) })
}

/// Any future with a result and a buffer.
pub(crate) fn buf<T, B>(future: impl Future<Output = BufResult<T, B>> + 'static) -> Try {
    Box::pin(async move { future.await.0.map(drop) })
}

/// Waits until no operation is in flight.
#[track_caller]
pub(crate) fn no_operation() -> impl Future<Output = ()> {
    until("no operation is in flight", || ringbolt::metrics().in_flight == 0)
}

/// How long an operation is left alone that is to be still waiting afterwards.
pub(crate) const SHORT: Duration = Duration::from_millis(5);

/// Waits for both.
pub(crate) async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            second = Some(output);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first.expect("it is ready"), second.expect("it is ready"))
}
