//! Wall and processor clock of what is measured, and numbers that look random.

use std::io::{self, Write};
use std::time::Instant;

/// Runs from its making to [`Meter::finish`].
pub(crate) struct Meter {
    cpu: f64,
    wall: Instant,
}

impl Meter {
    pub(crate) fn start() -> Meter {
        Meter { cpu: cpu_secs(), wall: Instant::now() }
    }

    /// Prints the result of `ops` operations.
    pub(crate) fn finish(self, ops: u64) -> io::Result<()> {
        let secs = self.wall.elapsed().as_secs_f64();
        let cpu = cpu_secs() - self.cpu;
        let mut out = io::stdout().lock();
        writeln!(out, "{{\"ops\":{ops},\"secs\":{secs:.6},\"cpu\":{cpu:.6}}}")?;
        out.flush()
    }
}

/// User and system seconds of all threads of this process, those of the kernel for it included.
#[cfg(unix)]
fn cpu_secs() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// There is no such clock in reach here, so the result says 0.
#[cfg(not(unix))]
fn cpu_secs() -> f64 {
    0.0
}

/// Xorshift: fast, and the same numbers in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * u128::from(end)) >> 64) as u64
    }
}
