//! What the cells stand on: a runtime on a real ring, buffers that are counted, and things to work
//! on.

use super::expect::{Kind, Seen};
use crate::buffers::{BufResult, IoBuf, IoBufMut, PoolConfig};
use crate::driver::uring::inject::{self, Forced};
use crate::op::{Nop, Submit};
use crate::sqe::opcode;
use crate::{Builder, DriverKind, Fd, Runtime, metrics, yield_now};
use socket2::{Domain, Socket, Type};
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long anything may take that is waited for.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// The runtime that cells run on. The completion queue holds eight results, so that a multishot
/// request ends now and then.
pub(super) fn builder() -> Builder {
    let pool = PoolConfig { buffer_len: 4096, buffers: 8, buffers_max: 16, zeroize: false };
    Builder::new().driver(DriverKind::Uring).ring_entries(1).pool(pool).drain_timeout(LIMIT)
}

/// A runtime, and no rules; `None`, after saying why, where results cannot be forced.
pub(super) fn runtime() -> Option<Runtime> {
    inject::clear();
    let runtime = match builder().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            skipped(&format!("io_uring cannot start here: {error}"));
            return None;
        }
    };
    force(opcode::NOP, 0, 1, -libc::EIO);
    let tried = runtime.block_on(Submit::new(Nop));
    inject::clear();
    if tried.is_err_and(|error| error.raw_os_error() == Some(libc::EIO)) {
        return Some(runtime);
    }
    skipped("this kernel's no-operation takes no result (6.10)");
    None
}

fn skipped(missing: &str) {
    // The test harness hides what the print macros write.
    let _ = io::stderr().write_all(format!("SKIPPED: {missing}\n").as_bytes());
}

/// Makes `times` requests with `opcode` end with `res`, after `skip` others.
pub(super) fn force(opcode: u8, skip: u32, times: u32, res: i32) {
    inject::force(Forced { opcode, skip, times, res });
}

/// Things to work on, and the count of buffers in somebody's hands.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) dir: Arc<tempfile::TempDir>,
    pub(super) buffers: Arc<AtomicUsize>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        // Thousands of syncs are of no use to a disk.
        let in_memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let dir = Arc::new(in_memory.expect("a directory for temporary files"));
        Bench { dir, buffers: Arc::default() }
    }

    /// A buffer with `content` and room for `capacity` bytes.
    pub(super) fn buffer(&self, content: &[u8], capacity: usize) -> Tracked {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(content);
        self.buffers.fetch_add(1, Ordering::SeqCst);
        Tracked { bytes, count: self.buffers.clone() }
    }

    /// Buffers that have not been dropped.
    pub(super) fn alive(&self) -> usize {
        self.buffers.load(Ordering::SeqCst)
    }
}

/// A buffer that is counted while it lives.
#[derive(Debug)]
pub(super) struct Tracked {
    bytes: Vec<u8>,
    count: Arc<AtomicUsize>,
}

impl Tracked {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks that an operation that failed left it as it was.
    #[track_caller]
    pub(super) fn is_as_before(&self, content: &[u8], capacity: usize) {
        assert_eq!((self.bytes(), self.bytes.capacity()), (content, capacity), "it was changed");
    }
}

// SAFETY: the memory is that of the vector, which stays in place when its owner moves.
unsafe impl IoBuf for Tracked {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        self.bytes.io_parts()
    }
}

// SAFETY: as above; nothing else refers to the vector.
unsafe impl IoBufMut for Tracked {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        self.bytes.io_parts_mut()
    }

    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the caller's obligations are the call's.
        unsafe { self.bytes.set_init(n) }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One operation on one object, to be tried again and again.
pub(super) trait Subject: Sized + 'static {
    const KIND: Kind;

    fn new(bench: &Bench) -> Self;

    /// Tries the operation once: it does what it should, or fails with its buffers as they were.
    fn attempt(&mut self) -> impl Future<Output = io::Result<()>>;
}

/// What came out of an attempt.
pub(super) fn seen(result: &io::Result<()>) -> Seen {
    match result {
        Ok(()) => Seen::Done,
        Err(error) => match error.raw_os_error() {
            Some(number) => Seen::Error(number),
            None if error.to_string().contains("an earlier sync") => Seen::Poisoned,
            None => panic!("an error without a number: {error}"),
        },
    }
}

/// Looks at the buffer of an operation that should have moved `n` bytes.
#[track_caller]
pub(super) fn moved<B>(result: BufResult<usize, B>, n: usize) -> (io::Result<()>, B) {
    let BufResult(result, buf) = result;
    let checked = result.map(|moved| assert_eq!(moved, n, "a short transfer of so little"));
    (checked, buf)
}

/// A connected socket and its other end.
pub(super) fn pair() -> (Fd, UnixStream) {
    let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("a pair of sockets");
    theirs.set_read_timeout(Some(LIMIT)).expect("a limit above zero");
    let ours = Fd::socket(ours).expect("a socket in any mode");
    (ours, UnixStream::from(std::os::fd::OwnedFd::from(theirs)))
}

/// Polls once, and tells whether the future is ready.
pub(super) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Waits until `condition` holds.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        yield_now().await;
    }
}

/// Waits until nothing is in flight, and checks that nothing was lost on the way.
pub(super) async fn at_rest(bench: &Bench) {
    until("no operation is in flight", || metrics().in_flight == 0).await;
    let now = metrics();
    assert_eq!(now.descriptors, 0, "descriptors");
    assert_eq!(now.buffers_leased, 0, "leases");
    assert_eq!((now.panics, now.stale_completions), (0, 0), "panics, stale completions");
    assert_eq!(bench.alive(), 0, "buffers");
}
