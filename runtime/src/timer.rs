//! Timers: a hierarchical wheel in user space, and the futures on it.
//!
//! Timers never become requests of the kernel: the next deadline is the limit of the wait that a
//! turn makes anyway. Setting and dropping a timer is O(1) and allocates nothing once the wheel has
//! grown to the number of timers in use.

mod wheel;

use crate::core::Core;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
pub(crate) use wheel::{TimerKey, Wheel};

/// What a deadline that no clock can express becomes.
const FAR_FUTURE: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// What the clock shows that timers go by: that of the system, or in a simulation that of its
/// world.
///
/// Code that is to be simulated asks this instead of `Instant::now`.
///
/// ```
/// let before = ringbolt_runtime::now();
/// assert!(ringbolt_runtime::now() >= before);
/// ```
pub fn now() -> Instant {
    #[cfg(feature = "sim")]
    if let Some(now) = Core::virtual_now() {
        return now;
    }
    Instant::now()
}

/// `delay` from now; a delay beyond the clock's range ends in thirty years.
fn deadline_in(delay: Duration) -> Instant {
    let now = now();
    now.checked_add(delay).unwrap_or_else(|| now + FAR_FUTURE)
}

/// Waits for `delay`.
///
/// The timer starts when this is called, and is exact to about a microsecond; the task runs at
/// the next turn of its core after that.
///
/// # Cancellation
///
/// Dropping it removes the timer.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let start = std::time::Instant::now();
/// ringbolt_runtime::Builder::new().build()?.block_on(async {
///     ringbolt_runtime::sleep(std::time::Duration::from_millis(2)).await;
/// });
/// assert!(start.elapsed() >= std::time::Duration::from_millis(2));
/// # Ok(())
/// # }
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    Sleep::new(delay)
}

/// Waits until `deadline`.
///
/// # Cancellation
///
/// Dropping it removes the timer.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, set: None }
}

/// The future of [`sleep`].
#[must_use = "a timer does nothing before it is awaited"]
pub struct Sleep {
    deadline: Instant,
    set: Option<(Rc<Core>, TimerKey)>,
}

impl Sleep {
    pub(crate) fn new(delay: Duration) -> Sleep {
        sleep_until(deadline_in(delay))
    }

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the end to `deadline`, also after it has passed.
    pub fn reset(&mut self, deadline: Instant) {
        self.unset();
        self.deadline = deadline;
    }

    fn unset(&mut self) {
        if let Some((core, key)) = self.set.take() {
            let waker = core.timers().remove(key);
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((core, key)) = &self.set {
            let wakes = core.timers().wakes(*key, cx.waker());
            match wakes {
                Some(true) => return Poll::Pending,
                Some(false) => {
                    // Wakers are foreign code: they are cloned and dropped outside of the wheel.
                    let waker = cx.waker().clone();
                    let old = core.timers().replace_waker(*key, waker);
                    drop(old);
                    return Poll::Pending;
                }
                None => {
                    self.set = None;
                    return Poll::Ready(());
                }
            }
        }
        if self.deadline <= now() {
            return Poll::Ready(());
        }
        let core = Core::current();
        let waker = cx.waker().clone();
        let key = core.timers().insert(self.deadline, waker);
        self.set = Some((core, key));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.unset();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish()
    }
}

/// What an [`Interval`] does after its user was late for a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// Skips the ticks that were missed and keeps to the old rhythm.
    #[default]
    Skip,
    /// Starts a new rhythm at the late tick.
    Delay,
    /// Delivers every missed tick at once.
    Burst,
}

/// Ticks every `period`, for the first time at once.
///
/// # Panics
///
/// If `period` is zero.
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval must not be zero");
    Interval { sleep: sleep_until(now()), period, missed: Missed::default() }
}

/// A clock that ticks with a fixed period, see [`interval`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: Missed,
}

impl Interval {
    /// Chooses what happens after a late tick.
    pub fn missed(mut self, missed: Missed) -> Interval {
        self.missed = missed;
        self
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick and returns when it was due.
    ///
    /// # Cancellation
    ///
    /// No tick is lost when the future is dropped.
    pub async fn tick(&mut self) -> Instant {
        (&mut self.sleep).await;
        let due = self.sleep.deadline();
        let next = due.checked_add(self.period).unwrap_or_else(|| due + FAR_FUTURE);
        let now = now();
        let next = match self.missed {
            Missed::Skip if next < now => {
                let behind = now.duration_since(due).as_nanos() % self.period.as_nanos();
                let ahead = self.period - Duration::from_nanos(behind as u64);
                now.checked_add(ahead).unwrap_or(now + FAR_FUTURE)
            }
            Missed::Delay if next < now => now.checked_add(self.period).unwrap_or(now + FAR_FUTURE),
            _ => next,
        };
        self.sleep.reset(next);
        due
    }
}
