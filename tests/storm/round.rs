//! One round: a runtime, work on it, its end, and the balance of everything.

use crate::guard::{Arena, Backing};
use crate::leave;
use crate::ledger::{self, Counts};
use crate::watchdog;
use ringbolt::{Builder, DriverKind, PoolConfig, Runtime, ShutdownReport};
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Rounds of one thread that may forget futures for good. Each costs some hundred kilobytes.
const LEAKING_ROUNDS: u32 = 2000;

/// What one thread keeps from round to round.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) driver: DriverKind,
    pub(crate) dir: tempfile::TempDir,
    arena: Rc<Arena>,
    rounds: u32,
    pub(crate) total: Counts,
}

/// What the work of a round sees.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) driver: DriverKind,
    pub(crate) arena: Rc<Arena>,
    pub(crate) dir: Rc<std::path::Path>,
}

impl Bench {
    pub(crate) fn new(driver: DriverKind, backing: Backing) -> Bench {
        // Where there is a file system in memory, a sync costs nothing.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Bench {
            driver,
            dir: dir.expect("a folder"),
            arena: Arena::new(backing),
            rounds: 0,
            total: Counts::default(),
        }
    }

    /// Runs `work` on a runtime of its own. If it says so, nothing but what was forgotten may be
    /// in flight after it; in any case nothing may be left after the end of the runtime. Last
    /// comes what `work` gave back.
    pub(crate) fn round<W, T>(&mut self, entries: u32, work: W)
    where
        W: AsyncFnOnce(Round) -> (T, bool),
        T: FnOnce(),
    {
        let _deadline = watchdog::deadline("a round", Location::caller());
        let arena = self.arena.clone();
        self.rounds += 1;
        leave::may_leak(self.rounds < LEAKING_ROUNDS);
        let (buffer_len, buffers, buffers_max) =
            if fastrand::u8(..3) == 0 { (1024, 4, 8) } else { (4096, 16, 64) };
        let zeroize = fastrand::bool();
        let pool = PoolConfig { buffer_len, buffers, buffers_max, zeroize };
        let builder = Builder::new().driver(self.driver).ring_entries(entries).pool(pool);
        let runtime = builder.build().expect("the driver starts");
        let round =
            Round { driver: self.driver, arena: arena.clone(), dir: self.dir.path().into() };
        let (last, quiet) = runtime.block_on(work(round));
        if quiet {
            at_rest(&runtime);
        }
        let metrics = runtime.metrics();
        assert_eq!(metrics.stale_completions, 0, "{metrics:?}");
        assert_eq!(metrics.panics, 0, "{metrics:?}");
        let report = runtime.shutdown(Duration::from_secs(20));
        assert_eq!(report, ShutdownReport::default(), "{metrics:?}");
        // What was forgotten holds a key, and nothing else.
        assert_eq!(arena.alive(), 0, "buffers were not freed; {metrics:?}");
        leave::forget_all(fastrand::u8(..32) == 0);
        last();
        if fastrand::u8(..8) == 0 {
            arena.inspect();
        }
        let counts = ledger::take();
        counts.check("round");
        self.total.add(&counts);
    }

    /// The sums, after a last look at all freed buffers.
    pub(crate) fn finish(mut self) -> Counts {
        self.arena.inspect();
        let counts = ledger::take();
        counts.check("end");
        self.total.add(&counts);
        self.total
    }
}

/// Waits until what was forgotten is all that is left.
fn at_rest(runtime: &Runtime) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let now = runtime.metrics();
        let left = [now.in_flight - now.in_flight.min(leave::forgotten() as u64), now.tasks];
        if [left[0], left[1], now.buffers_leased] == [0; 3] {
            return;
        }
        assert!(Instant::now() < end, "left over: {now:?}, {} forgotten", leave::forgotten());
        runtime.block_on(ringbolt::sleep(Duration::from_micros(200)));
    }
}
