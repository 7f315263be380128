//! How hard a simulated kernel, network and disk make it for the program.

use std::ops::Range;
use std::time::Duration;

/// What may go wrong in a simulated world. Chances are from 0 (never) to 1 (always).
///
/// All of it is what a real kernel, network or disk may do, except for
/// [`stray_results`](Faults::stray_results), which only a broken one does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Faults {
    /// How long a result takes from the kernel to the program; each one its own time, so that
    /// results overtake one another.
    pub delay: Range<Duration>,
    /// How long a packet takes from host to host. Within a host it takes no time.
    pub latency: Range<Duration>,
    /// How long the disk takes for a request.
    pub disk: Range<Duration>,
    /// The chance that a packet is lost, so that TCP sends it again after 200 ms or more.
    pub loss: f64,
    /// The chance that a transfer is shorter than it could be.
    pub short: f64,
    /// Bytes in flight on a connection, or waiting at its receiver, before the sender has to wait.
    pub window: usize,
    /// The chance that a cancel is refused although the operation goes on
    /// (io_uring_cancelation(7)).
    pub refused_cancel: f64,
    /// The chance that a multishot request ends although it could go on.
    pub ended_multishot: f64,
    /// The chance that a receive finds no buffer although there are some.
    pub no_buffer: f64,
    /// Whether the kernel knows the byte limit of a multishot receive, as newer ones do.
    pub byte_limit: bool,
    /// The chance that a call into the kernel returns early or takes only some of the requests.
    pub interrupted: f64,
    /// The chance that a sync of a file fails, and the data that was not on the disk is lost to it.
    pub sync_error: f64,
    /// Bytes that the disk holds; further ones fail with "no space left".
    pub disk_len: u64,
    /// Whether the kernel writes nonsense into buffers that it may write to, until they are given
    /// back, and looks whether buffers that it reads from have been left alone.
    pub scribble: bool,
    /// The chance that a result comes twice, or for an operation that ended long ago.
    pub stray_results: f64,
}

impl Faults {
    /// Nothing goes wrong; results and packets still take their times.
    pub fn none() -> Faults {
        Faults {
            delay: Duration::ZERO..Duration::from_micros(20),
            latency: Duration::from_micros(100)..Duration::from_millis(2),
            disk: Duration::from_micros(20)..Duration::from_micros(500),
            loss: 0.0,
            short: 0.0,
            window: 64 * 1024,
            refused_cancel: 0.0,
            ended_multishot: 0.0,
            no_buffer: 0.0,
            byte_limit: true,
            interrupted: 0.0,
            sync_error: 0.0,
            disk_len: u64::MAX,
            scribble: false,
            stray_results: 0.0,
        }
    }

    /// What happens on a bad day: short transfers, lost packets, slow disks, refused cancels. A
    /// program that is right passes with it.
    pub fn usual() -> Faults {
        Faults {
            loss: 0.01,
            short: 0.1,
            refused_cancel: 0.1,
            ended_multishot: 0.05,
            no_buffer: 0.02,
            interrupted: 0.05,
            scribble: true,
            ..Faults::none()
        }
    }

    /// Everything at once and often, in short times, with a kernel that even repeats itself.
    pub fn hostile() -> Faults {
        Faults {
            delay: Duration::ZERO..Duration::from_millis(3),
            disk: Duration::ZERO..Duration::from_millis(8),
            loss: 0.05,
            short: 0.4,
            window: 512,
            refused_cancel: 0.4,
            ended_multishot: 0.2,
            no_buffer: 0.1,
            interrupted: 0.2,
            scribble: true,
            stray_results: 0.05,
            ..Faults::none()
        }
    }
}

impl Default for Faults {
    /// See [`Faults::usual`].
    fn default() -> Faults {
        Faults::usual()
    }
}
