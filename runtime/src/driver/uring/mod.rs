//! The driver on io_uring: requests go into the ring as they are.
//!
//! The ring is set up by the `io-uring` crate; our [`Sqe`] is its entry, byte by byte. There is
//! one `enter` per wait, which submits, runs the kernel's deferred work and waits.

mod buffers;
#[cfg(all(test, not(ringbolt_loom)))]
pub(crate) mod inject;
mod setup;
mod wake;

use super::{Bell, Facts, Tally};
use crate::builder::Settings;
use crate::error;
use crate::sqe::{Addr, Cqe, Key, Kind, Sqe, flag, opcode};
use crate::sys::linux::RingName;
use buffers::BufferRing;
use io_uring::{IoUring, squeue};
use ringbolt_buffers::Pool;
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;
use wake::Wake;

/// How often the kernel is asked at most whether it can do something.
const PROBES_MAX: usize = 100;

/// The io_uring driver of one core.
pub(crate) struct Uring {
    // Dropped by hand in `Drop`, in the order that the kernel needs.
    name: ManuallyDrop<RingName>,
    ring: ManuallyDrop<IoUring>,
    wake: ManuallyDrop<Wake>,
    buffers: ManuallyDrop<Option<BufferRing>>,
    /// Requests that found the submission queue full; they keep their order.
    backlog: VecDeque<Sqe>,
    /// Whether receives may carry a byte limit.
    takes_limit: bool,
    /// Whether the read on the wake counter is in flight.
    listens: bool,
    leaked: bool,
    tally: Tally,
}

impl Uring {
    /// Sets a ring up and finds out what it can do.
    ///
    /// # Errors
    ///
    /// Those of io_uring_setup(2), and "unsupported" where an operation that is needed is missing.
    pub(crate) fn new(settings: &Settings, pool: &Pool) -> io::Result<(Uring, Facts)> {
        // Declared first, so that its memory outlives the ring also where an error ends this.
        let buffers;
        let (ring, mut features) = setup::ring(settings)?;
        setup::check_operations(&ring)?;
        let name = RingName::new(std::os::fd::AsRawFd::as_raw_fd(&ring));
        if name.is_registered() {
            features.push("registered ring".into());
        }
        // Every registration comes before the restriction, after which there are no more.
        buffers = BufferRing::register(&ring, pool);
        if settings.harden {
            setup::restrict(&ring, &mut features)?;
        }
        let wake = Wake::new(&ring, &mut features)?;
        let mut uring = Uring {
            name: ManuallyDrop::new(name),
            ring: ManuallyDrop::new(ring),
            wake: ManuallyDrop::new(wake),
            buffers: ManuallyDrop::new(None),
            backlog: VecDeque::with_capacity(64),
            takes_limit: false,
            listens: false,
            leaked: false,
            tally: Tally::default(),
        };
        uring.probe_enter()?;
        uring.start_lending(buffers, pool, &mut features);
        if let Some(read) = uring.wake.request() {
            uring.listens = true;
            uring.submit(&read);
        }
        let facts = Facts {
            driver: "io_uring",
            fallback_reason: None,
            nonblocking_sockets: false,
            lends_buffers: uring.buffers.is_some(),
            features,
        };
        Ok((uring, facts))
    }

    pub(crate) fn bell(&self) -> Arc<dyn Bell> {
        self.wake.bell()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn submit(&mut self, sqe: &Sqe) {
        self.tally.submitted += 1;
        if self.takes_limit {
            self.stage(sqe);
        } else {
            self.stage(&Sqe { limit: 0, ..*sqe });
        }
    }

    fn stage(&mut self, sqe: &Sqe) {
        #[cfg(all(test, not(ringbolt_loom)))]
        let sqe = &inject::request(sqe);
        if !self.backlog.is_empty() || !self.push(sqe) {
            self.backlog.push_back(*sqe);
        }
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        let mut sqe = Sqe::new(opcode::ASYNC_CANCEL, -1);
        sqe.addr = Addr::number(key.0);
        sqe.user_data = key.with_kind(Kind::Cancel).0;
        self.submit(&sqe);
    }

    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        results: &mut Vec<Cqe>,
    ) -> io::Result<()> {
        if let Some(buffers) = self.buffers.as_mut() {
            buffers.refill();
        }
        self.push_backlog();
        // What does not fit goes out with the next wait, which this one must not delay.
        let block = limit != Some(Duration::ZERO) && self.backlog.is_empty();
        let have = !self.ring.completion().is_empty();
        let (waiting, work, overflown) = {
            let queue = self.ring.submission();
            (queue.len() as u32, queue.taskrun(), queue.cq_overflow())
        };
        self.tally.overflows += u64::from(overflown);
        if waiting > 0 || work || overflown || (block && !have) {
            self.enter(waiting, u32::from(block && !have), limit)?;
        }
        self.reap(results);
        Ok(())
    }

    /// Keeps for ever what the kernel may still write to.
    pub(crate) fn leak(&mut self) {
        self.leaked = true;
    }

    fn enter(&mut self, count: u32, want: u32, limit: Option<Duration>) -> io::Result<()> {
        self.tally.enters += 1;
        match self.call(count, want, limit) {
            Ok(_) => Ok(()),
            // The requests that were not taken are still in the queue (io_uring_enter(2)).
            Err(errno) if is_passing(errno) => Ok(()),
            Err(errno) => Err(error::from_errno(errno)),
        }
    }

    fn call(&self, count: u32, want: u32, limit: Option<Duration>) -> Result<u32, i32> {
        #[cfg(all(test, not(ringbolt_loom)))]
        return inject::enter(count, want, limit, |n, want, limit| self.name.enter(n, want, limit));
        #[cfg(any(not(test), ringbolt_loom))]
        self.name.enter(count, want, limit)
    }

    fn reap(&mut self, results: &mut Vec<Cqe>) {
        let mut woken = false;
        let queue = self.ring.completion();
        for entry in queue {
            let cqe =
                Cqe { key: Key(entry.user_data()), res: entry.result(), flags: entry.flags() };
            match cqe.key.kind() {
                Kind::Op | Kind::Cancel => results.push(cqe),
                Kind::Wake => woken = true,
                Kind::Internal => {}
            }
        }
        if woken && let Some(read) = self.wake.request() {
            self.submit(&read);
        }
    }

    fn push(&mut self, sqe: &Sqe) -> bool {
        // SAFETY: both are the 64 bytes of `struct io_uring_sqe`, checked below.
        let entry = unsafe { &*std::ptr::from_ref(sqe).cast::<squeue::Entry>() };
        // SAFETY: the operation's slot keeps what the request names until its final result
        // (SAFETY.md, S1); the driver's own requests name memory of the driver.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    fn push_backlog(&mut self) {
        while let Some(sqe) = self.backlog.front().copied() {
            if !self.push(&sqe) {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Waits for the end of the read on the wake counter, which was just made readable.
    fn await_wake(&mut self) -> bool {
        for _ in 0..10 {
            let waiting = self.ring.submission().len() as u32;
            let _ = self.call(waiting, 1, Some(Duration::from_millis(10)));
            let woken = |cqe: io_uring::cqueue::Entry| Key(cqe.user_data()).kind() == Kind::Wake;
            if self.ring.completion().any(woken) {
                return true;
            }
        }
        false
    }

    /// A sandbox may allow the set-up and forbid the rest, so one request is sent around.
    fn probe_enter(&mut self) -> io::Result<()> {
        let mut nop = Sqe::new(opcode::NOP, -1);
        nop.user_data = Key::new(Kind::Internal, 0, 0).0;
        self.push(&nop);
        let mut last = libc::ETIME;
        for _ in 0..PROBES_MAX {
            let waiting = self.ring.submission().len() as u32;
            match self.call(waiting, 1, Some(Duration::from_millis(100))) {
                Ok(_) => {}
                Err(errno) if is_passing(errno) => last = errno,
                Err(errno) => return Err(error::from_errno(errno)),
            }
            // The wake was tried before, so that its message may be there as well.
            if self.ring.completion().any(|cqe| cqe.user_data() == nop.user_data) {
                return Ok(());
            }
        }
        Err(error::from_errno(last))
    }

    /// Hands the pool's buffers to the kernel, if receives can use them.
    fn start_lending(
        &mut self,
        buffers: io::Result<BufferRing>,
        pool: &Pool,
        features: &mut Vec<String>,
    ) {
        match buffers {
            Ok(ring) => *self.buffers = Some(ring),
            Err(error) => {
                features.push(format!("no lent buffers: {error}"));
                return;
            }
        }
        self.takes_limit = true;
        let with_limit = self.probe_receive(pool, 1);
        self.takes_limit = with_limit;
        if with_limit {
            features.push("lent buffers with byte limit".into());
        } else if self.probe_receive(pool, 0) {
            features.push("lent buffers".into());
        } else {
            // The ring stays registered, and its memory with it, but nothing uses it.
            features.push("no lent buffers: multishot receive does not work here".into());
            std::mem::forget(self.buffers.take());
        }
    }

    /// Receives one byte from a socket pair by multishot; true if it behaves as it should.
    fn probe_receive(&mut self, pool: &Pool, limit: u32) -> bool {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let Ok((ours, mut theirs)) = std::os::unix::net::UnixStream::pair() else { return false };
        if theirs.write_all(&[1]).is_err() {
            return false;
        }
        drop(theirs);
        if let Some(buffers) = self.buffers.as_mut() {
            buffers.refill();
        }
        let mut sqe = Sqe::new(opcode::RECV, ours.as_raw_fd());
        sqe.flags = flag::BUFFER_SELECT;
        sqe.ioprio = flag::RECV_MULTISHOT;
        sqe.limit = limit;
        sqe.user_data = Key::new(Kind::Internal, 0, 1).0;
        self.push(&sqe);
        let mut bytes = 0;
        let mut more_with_byte = false;
        for _ in 0..PROBES_MAX {
            let waiting = self.ring.submission().len() as u32;
            let limit = Some(Duration::from_millis(100));
            match self.call(waiting, 1, limit) {
                Ok(_) => {}
                // Nothing came although everything was there.
                Err(libc::ETIME) => return false,
                Err(errno) if is_passing(errno) => {}
                Err(_) => return false,
            }
            for entry in self.ring.completion().filter(|cqe| cqe.user_data() == sqe.user_data) {
                let more = entry.flags() & flag::MORE != 0;
                if entry.flags() & flag::BUFFER != 0 {
                    pool.put_back((entry.flags() >> 16) as u16);
                }
                if entry.result() > 0 {
                    bytes += entry.result();
                    more_with_byte = more;
                }
                if !more {
                    return bytes == 1 && more_with_byte == (sqe.limit == 0);
                }
            }
        }
        false
    }
}

/// Whether a call failed in a way that passes: interrupted, timed out, or short of something that
/// reaping will free (io_uring_enter(2)).
fn is_passing(errno: i32) -> bool {
    matches!(errno, libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY)
}

const _: () = assert!(size_of::<squeue::Entry>() == size_of::<Sqe>());
const _: () = assert!(align_of::<squeue::Entry>() <= align_of::<Sqe>());

impl Drop for Uring {
    fn drop(&mut self) {
        // The kernel's table of registered rings keeps a ring alive, so the name goes first; then
        // the ring; then the memory that only the ring used. What the kernel may still write to
        // is left where it is (SAFETY.md, S1): closing a ring does not end what it is doing.
        self.wake.silence();
        let wake_ended = !self.listens || self.await_wake();
        // SAFETY: each part is dropped once, here, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.name) };
        // SAFETY: as above.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        if !self.leaked {
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        }
        if wake_ended {
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.wake) };
        }
    }
}

#[cfg(all(test, not(ringbolt_loom)))]
mod tests;
