//! Random programs on a hostile kernel: whatever is dropped, forgotten, aborted or shut down at
//! whichever point, no byte, buffer, descriptor or operation is lost, doubled or used too early.
//!
//! A schedule is one seed: it picks the faults, the program, and where its futures are left. Each
//! ends with the books balanced, see [`check_books`]. `RINGBOLT_SEED` runs one schedule alone,
//! `RINGBOLT_SCHEDULES` as many as it says.

use crate::files;
use crate::leave::{Leave, Left};
use crate::scale::{figure, scaled};
use crate::streams;
use crate::watched::{Watch, Watched};
use ringbolt::sim::{self, Faults};
use ringbolt::{Builder, PoolConfig, Runtime};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What no kernel writes by chance.
const PATTERN: u8 = 0xA5;

/// What one schedule works with.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) rng: Rc<Cell<u64>>,
    pub(crate) watch: Watch,
    /// Futures that were forgotten: each may keep the buffers of an operation, two at most.
    pub(crate) forgotten: Rc<Cell<usize>>,
}

impl World {
    /// A number below `end`.
    pub(crate) fn below(&self, end: usize) -> usize {
        let mut x = self.rng.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.rng.set(x);
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    pub(crate) fn chance(&self, part: usize, whole: usize) -> bool {
        self.below(whole) < part
    }

    /// How the next future is to be left: mostly not at all.
    pub(crate) fn leave(&self) -> Leave {
        match self.below(8) {
            0 | 1 => Leave::Drop(1 + self.below(3)),
            2 => Leave::Limit(Duration::from_micros(self.below(4000) as u64)),
            3 => Leave::DropAt(Duration::from_micros(self.below(4000) as u64)),
            4 if self.chance(1, 3) => Leave::Forget(1 + self.below(3)),
            _ => Leave::Never,
        }
    }

    /// Runs `future` until it is ready or left.
    pub(crate) async fn run<F: Future>(&self, leave: Leave, future: F) -> Left<F::Output> {
        let left = leave.run(future).await;
        if let Left::Forgotten = left {
            self.forgotten.set(self.forgotten.get() + 1);
        }
        left
    }
}

fn faults(world: &World) -> Faults {
    let mut faults = match world.below(3) {
        0 => Faults::none(),
        1 => Faults::usual(),
        _ => Faults::hostile(),
    };
    faults.scribble = true;
    faults.stray_results *= 4.0;
    faults.window = [1, 7, 100, 512, 65536][world.below(5)];
    faults.byte_limit = world.chance(1, 2);
    faults.latency = Duration::ZERO..Duration::from_micros(1 + world.below(500) as u64);
    faults
}

fn builder(world: &World) -> Builder {
    let buffers = 1 + world.below(4);
    let pool = PoolConfig {
        buffer_len: 64 << world.below(3),
        buffers,
        buffers_max: buffers + world.below(4),
        zeroize: world.chance(1, 4),
    };
    Builder::new().pool(pool)
}

/// Runs the schedule of `seed`; returns the operations in it.
fn schedule(seed: u64) -> u64 {
    let world = World {
        rng: Rc::new(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)),
        watch: Watched::watch(),
        forgotten: Rc::default(),
    };
    // The first numbers of such a generator depend little on the seed.
    (0..8).for_each(|_| {
        world.below(2);
    });
    let faults = faults(&world);
    let strays = faults.stray_results > 0.0;
    let runtime = sim::runtime(seed, faults, &builder(&world)).expect("the pool is small");
    let rest = runtime.block_on(program(world.clone()));
    if rest {
        at_rest(&runtime, &world);
    }
    let metrics = runtime.metrics();
    assert!(
        strays || metrics.stale_completions == 0,
        "{} results for nobody",
        metrics.stale_completions
    );
    assert_eq!(metrics.panics, 0, "a task panicked");
    // What is left has to end in time, or to be reported and left alone.
    let limit = if world.chance(1, 4) { Duration::ZERO } else { Duration::from_secs(5) };
    let report = runtime.shutdown(limit);
    check_books(&world, limit, report.operations_leaked);
    metrics.submitted
}

/// Waits until nothing is in flight any more, and looks for what is left.
fn at_rest(runtime: &Runtime, world: &World) {
    runtime.block_on(async {
        for _ in 0..2000 {
            if ringbolt::metrics().in_flight as usize <= world.forgotten.get() {
                break;
            }
            ringbolt::sleep(Duration::from_millis(5)).await;
        }
        let metrics = ringbolt::metrics();
        assert!(
            metrics.in_flight as usize <= world.forgotten.get(),
            "{} operations never end",
            metrics.in_flight
        );
        if world.forgotten.get() == 0 {
            assert_eq!(metrics.buffers_leased, 0, "lent buffers were lost");
            assert_eq!(sim::descriptors(), 0, "descriptors were lost");
        }
        // The kernel takes what is free at every turn; other tasks may free more in between.
        for turn in 0.. {
            ringbolt::yield_now().await;
            let now = ringbolt::metrics();
            if now.in_flight > 0 || now.buffers == sim::lent() as u64 + now.buffers_leased {
                break;
            }
            assert!(turn < 100, "a buffer of the pool is nowhere");
        }
    });
}

fn check_books(world: &World, limit: Duration, leaked: u32) {
    if leaked > 0 {
        // What was left to the kernel is used by nobody else, also not by these.
        let blocks: Vec<Box<[u8]>> =
            (0..40).map(|i| vec![PATTERN; 4096 + i * 512].into()).collect();
        sim::finish_late();
        let whole = std::hint::black_box(blocks).iter().all(|b| b.iter().all(|x| *x == PATTERN));
        assert!(whole, "the kernel wrote to memory that had been freed");
    }
    assert!(world.watch.untouched(), "the kernel wrote to a buffer after it was freed");
    if !limit.is_zero() {
        assert_eq!(leaked, 0, "operations did not end although they were cancelled");
    }
    let alive = world.watch.alive();
    let explained = 2 * (world.forgotten.get() + leaked as usize);
    assert!(alive <= explained, "{alive} buffers are left, {explained} are explained");
}

/// One random program; true if it ended by itself, so that nothing may be left.
async fn program(world: World) -> bool {
    let mut tasks = Vec::new();
    for _ in 0..1 + world.below(3) {
        let w = world.clone();
        tasks.push(match world.below(3) {
            0 => ringbolt::spawn(streams::exchange(w)),
            1 => ringbolt::spawn(files::versions(w)),
            _ => ringbolt::spawn(streams::odds(w)),
        });
    }
    if world.chance(1, 4) {
        // The runtime ends in the middle of it.
        ringbolt::sleep(Duration::from_micros(world.below(20_000) as u64)).await;
        return false;
    }
    let mut all = true;
    for mut task in tasks {
        if world.chance(1, 16) {
            task.abort();
            all = false;
        }
        match task.await {
            Ok(()) => {}
            Err(ringbolt::JoinError::Panicked(payload)) => resume_unwind(payload),
            Err(_) => assert!(!all, "a task was aborted by nobody"),
        }
    }
    true
}

/// Runs schedule `seed` and names it if it fails.
fn run_named(seed: u64) -> u64 {
    catch_unwind(AssertUnwindSafe(|| schedule(seed))).unwrap_or_else(|payload| {
        eprintln!("a schedule failed; RINGBOLT_SEED={seed} runs it alone");
        resume_unwind(payload)
    })
}

/// Schedules that one process runs: what is forgotten in them stays in its memory.
const BATCH: u64 = 10_000;

/// Runs the seeds of one batch in a process of its own; returns the operations in them.
fn run_apart(first: u64, end: u64) -> u64 {
    let program = std::env::current_exe().expect("this program has a path");
    let name = "schedules::no_schedule_loses_or_doubles_anything";
    let output = Command::new(program)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("RINGBOLT_SCHEDULE_RANGE", format!("{first}..{end}"))
        .output()
        .expect("this program can be started again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "schedules {first} to {end}: {}\n{errors}", output.status);
    let operations =
        text.lines().find_map(|line| line.split_once("operations: ").map(|found| found.1));
    operations.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no count in {text}"))
}

/// Runs the schedules from zero to `count` on every processor.
fn run_all(count: u64) -> u64 {
    let (next, operations) = (AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= count {
                    return;
                }
                let done = run_apart(first, count.min(first + BATCH));
                operations.fetch_add(done, Ordering::Relaxed);
            }
        };
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    operations.into_inner()
}

#[test]
fn no_schedule_loses_or_doubles_anything() {
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(range) = variable("RINGBOLT_SCHEDULE_RANGE") {
        let (first, end) = range.split_once("..").expect("a range of seeds");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let operations: u64 = (number(first)..number(end)).map(run_named).sum();
        println!("operations: {operations}");
        return;
    }
    if let Some(seed) = variable("RINGBOLT_SEED").and_then(|text| text.parse().ok()) {
        run_named(seed);
        return;
    }
    let count = match variable("RINGBOLT_SCHEDULES") {
        Some(text) => text.parse().expect("RINGBOLT_SCHEDULES is a number"),
        None => scaled(4_000, 2_000_000, 100_000_000),
    };
    let operations = run_all(count);
    figure("simulated schedules", count, "schedules");
    figure("operations in simulated schedules", operations, "operations");
}
