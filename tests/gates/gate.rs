//! Memory with a page that keeps whoever touches it first: userfaultfd(2).
//!
//! A buffer of three pages lies behind a [`Gate`]; one of the pages is missing. Whoever copies
//! from or to it, a worker of the ring, a helper thread or the core inside of a system call, stays
//! in the middle of the copy until [`Gate::release`] supplies the page. The gate says which thread
//! it caught, and notes every drop of a buffer: one that comes before the release frees memory
//! under the kernel's hands. Dropped memory turns into a guard page and is never used again.

use crate::thread_id;
use ringbolt::{IoBuf, IoBufMut};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{Error, ErrorKind, Read};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) const PAGE: usize = 4096;
pub(crate) const PAGES: usize = 3;
/// The length of a buffer behind a gate.
pub(crate) const LEN: usize = PAGES * PAGE;

const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const UNREGISTER: u64 = 0x8010_aa01;
const COPY: u64 = 0xc028_aa03;
/// Messages name the thread that was caught.
const THREAD_ID: u64 = 1 << 8;
const DONT_WAKE: u64 = 1;
/// The first touch of a page is what is waited for.
const MISSING: u64 = 1;
/// How long nobody is caught before that counts as a failure, in milliseconds.
const PATIENCE_MS: i32 = 20_000;

/// Memory with pages that are missing until `release`. It is never unmapped.
#[derive(Debug)]
pub(crate) struct Gate {
    faults: File,
    /// Buffers of three pages, one of its own or several of somebody else: where each begins,
    /// which of its pages is missing, and what that will hold, or nothing if none is.
    shut: Vec<(usize, usize, Vec<u8>)>,
    released: AtomicBool,
    caught: Mutex<Caught>,
    /// Buffers that there were, that were dropped, and how many of those too early.
    made: AtomicUsize,
    dropped: AtomicUsize,
    too_early: AtomicUsize,
    /// What the dropped buffers held, by their place.
    taken: Mutex<Vec<(usize, Vec<u8>)>>,
}

#[derive(Debug, Default)]
struct Caught {
    thread: Option<i32>,
    address: usize,
    waker: Option<Waker>,
}

/// Why there can be no gate here; `None` if there can.
pub(crate) fn refused() -> Option<String> {
    open().err().map(|error| format!("userfaultfd is not to be had here: {error}"))
}

fn open() -> Result<File, Error> {
    // SAFETY: the call names no memory.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: `fd` is new.
    Ok(unsafe { File::from_raw_fd(fd as i32) })
}

/// A new mapping, which is never unmapped.
fn map(len: usize) -> usize {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping anywhere touches nothing that exists.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED, "{}", Error::last_os_error());
    start.expose_provenance()
}

impl Gate {
    /// Three pages that hold `content`, of which page `shut` is missing until the release.
    pub(crate) fn new(content: &[u8], shut: usize) -> Arc<Gate> {
        assert_eq!(content.len(), LEN);
        let start = map(LEN);
        let faults = opened();
        register(&faults, start);
        for (page, bytes) in content.chunks(PAGE).enumerate().filter(|(page, _)| *page != shut) {
            supply(&faults, start + page * PAGE, bytes).expect("the page is missing");
        }
        let bytes = content[shut * PAGE..][..PAGE].to_vec();
        Gate::with(faults, vec![(start, shut, bytes)])
    }

    /// Three pages of which none is missing: the drops of the buffers are noted all the same.
    pub(crate) fn open(content: &[u8]) -> Arc<Gate> {
        let start = map(LEN);
        let faults = opened();
        register(&faults, start);
        for (page, bytes) in content.chunks(PAGE).enumerate() {
            supply(&faults, start + page * PAGE, bytes).expect("the page is missing");
        }
        Gate::with(faults, vec![(start, 0, Vec::new())])
    }

    /// Takes page `shut` out of each of these buffers of three pages.
    ///
    /// # Safety
    ///
    /// The buffers begin at pages, nobody relies on what these hold, and their memory outlives the
    /// release.
    pub(crate) unsafe fn over(buffers: &[usize], shut: usize) -> Arc<Gate> {
        let faults = opened();
        let mut missing = Vec::new();
        for start in buffers {
            register(&faults, *start);
            // A page that was never touched is missing as well, and must not catch anybody.
            for page in 0..PAGES {
                match supply(&faults, start + page * PAGE, &[0; PAGE]) {
                    Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
                    result => result.expect("the page can be supplied"),
                }
            }
            let at = start + shut * PAGE;
            let page = std::ptr::with_exposed_provenance_mut(at);
            // SAFETY: the caller gives the content of the page up.
            let n = unsafe { libc::madvise(page, PAGE, libc::MADV_DONTNEED) };
            assert_eq!(n, 0, "madvise: {}", Error::last_os_error());
            missing.push((*start, shut, vec![0; PAGE]));
        }
        Gate::with(faults, missing)
    }

    fn with(faults: File, shut: Vec<(usize, usize, Vec<u8>)>) -> Arc<Gate> {
        Arc::new(Gate {
            faults,
            shut,
            released: AtomicBool::new(false),
            caught: Mutex::default(),
            made: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            too_early: AtomicUsize::new(0),
            taken: Mutex::default(),
        })
    }

    /// Waits on a thread of its own until somebody is caught, says so to who waits in
    /// [`Gate::catches`], and then calls `then`.
    pub(crate) fn watch(self: &Arc<Gate>, then: impl FnOnce(&Gate) + Send + 'static) {
        let gate = self.clone();
        std::thread::spawn(move || {
            let (thread, address) = gate.next_fault();
            let mut caught = gate.caught.lock().expect("nobody panics under this lock");
            caught.thread = Some(thread);
            caught.address = address;
            let waker = caught.waker.take();
            drop(caught);
            if let Some(waker) = waker {
                waker.wake();
            }
            then(&gate);
        });
    }

    fn next_fault(&self) -> (i32, usize) {
        let mut poll =
            libc::pollfd { fd: self.faults.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut message = [0_u8; 32];
        loop {
            // SAFETY: one descriptor is passed by a valid pointer.
            let n = unsafe { libc::poll(&mut poll, 1, PATIENCE_MS) };
            if n != 1 {
                eprintln!("nobody was caught in {PATIENCE_MS} ms");
                std::process::abort();
            }
            match (&self.faults).read(&mut message) {
                Ok(n) => {
                    assert_eq!((n, message[0]), (32, 0x12), "a page fault");
                    let thread = message[24..28].try_into().expect("four bytes");
                    let address = message[16..24].try_into().expect("eight bytes");
                    return (i32::from_ne_bytes(thread), usize::from_ne_bytes(address));
                }
                // A thread with a signal pending tries again and again.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The thread that was caught; ready once there is one.
    pub(crate) fn catches(&self) -> impl Future<Output = i32> + Unpin {
        std::future::poll_fn(move |cx| {
            let mut caught = self.caught.lock().expect("nobody panics under this lock");
            if let Some(thread) = caught.thread {
                return Poll::Ready(thread);
            }
            caught.waker = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Supplies the missing pages, and lets who was caught go on, which may end this memory.
    pub(crate) fn release(&self) {
        if self.released.swap(true, Ordering::SeqCst) {
            return;
        }
        let caught = self.caught.lock().expect("nobody panics under this lock").address;
        let is_caught = |start: usize| (start..start + LEN).contains(&caught);
        let (last, others): (Vec<_>, Vec<_>) =
            self.shut.iter().partition(|(start, ..)| is_caught(*start));
        let missing = others.into_iter().chain(last).filter(|(.., bytes)| !bytes.is_empty());
        for (start, page, bytes) in missing {
            supply(&self.faults, start + page * PAGE, bytes).expect("the page is missing");
            // This wakes, and the owner of the memory may do with it what it likes.
            let gone = control(&self.faults, UNREGISTER, &mut [*start as u64, LEN as u64]);
            // A thread that looked at the page by itself may have been faster.
            assert!(gone.is_ok() || is_caught(*start), "{gone:?}");
        }
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }

    /// Buffers that were dropped; fails if one was while somebody was held.
    #[track_caller]
    pub(crate) fn dropped(&self) -> usize {
        let early = self.too_early.load(Ordering::SeqCst);
        if early > 0 && !self.is_released() {
            // So that a failure is no hang.
            self.release();
        }
        assert_eq!(early, 0, "a buffer was freed under the kernel's hands");
        self.dropped.load(Ordering::SeqCst)
    }

    /// What the dropped buffers held, in the order of their places.
    pub(crate) fn taken(&self) -> Vec<u8> {
        let mut parts = self.taken.lock().expect("nobody panics under this lock").clone();
        parts.sort();
        parts.into_iter().flat_map(|(_, bytes)| bytes).collect()
    }

    /// What the memory holds now. Whoever asks before the release is caught.
    pub(crate) fn memory(&self) -> Vec<u8> {
        assert!(self.is_released());
        let start: *const u8 = std::ptr::with_exposed_provenance(self.shut[0].0);
        // SAFETY: the memory is mapped for ever; the kernel may write to it at any time.
        (0..LEN).map(|at| unsafe { start.wrapping_add(at).read_volatile() }).collect()
    }

    /// Waits until the threads that watch and release have gone, so that the descriptor of the gate
    /// goes with this handle, unless buffers were left to the system.
    pub(crate) fn abandon(self: Arc<Gate>) {
        let start = Instant::now();
        let buffers = self.made.load(Ordering::SeqCst) - self.dropped.load(Ordering::SeqCst);
        while Arc::strong_count(&self) > 1 + buffers {
            assert!(start.elapsed() < Duration::from_secs(10), "somebody keeps the gate");
            std::thread::yield_now();
        }
    }

    fn part(self: &Arc<Gate>, place: Range<usize>, len: usize) -> Gated {
        self.made.fetch_add(1, Ordering::SeqCst);
        Gated { gate: self.clone(), place, len }
    }

    /// One buffer over all pages, with this many bytes of content.
    pub(crate) fn buffer(self: &Arc<Gate>, len: usize) -> Gated {
        self.part(0..LEN, len)
    }

    /// A buffer for each page, empty or full.
    pub(crate) fn buffers(self: &Arc<Gate>, full: bool) -> Vec<Gated> {
        let len = if full { PAGE } else { 0 };
        (0..PAGES).map(|page| self.part(page * PAGE..(page + 1) * PAGE, len)).collect()
    }
}

/// Puts `bytes` at the missing page at `at`, without a wake of who waits for it.
fn supply(faults: &File, at: usize, bytes: &[u8]) -> Result<(), Error> {
    control(faults, COPY, &mut [at as u64, bytes.as_ptr() as u64, PAGE as u64, DONT_WAKE, 0])
}

/// A descriptor that faults are read from.
fn opened() -> File {
    let faults = open().expect("`refused` was asked");
    let mut api = [0xaa_u64, THREAD_ID, 0];
    control(&faults, API, &mut api).expect("the kernel names threads (4.14)");
    faults
}

/// From now on, who touches a page that is missing in this buffer of three is caught.
fn register(faults: &File, start: usize) {
    let mut register = [start as u64, LEN as u64, MISSING, 0];
    control(faults, REGISTER, &mut register).expect("private memory can be watched");
}

fn control(faults: &File, request: u64, argument: &mut [u64]) -> Result<(), Error> {
    // SAFETY: the argument has the size that the request asks for.
    let n = unsafe { libc::ioctl(faults.as_raw_fd(), request, argument.as_mut_ptr()) };
    if n == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// A buffer behind a gate.
#[derive(Debug)]
pub(crate) struct Gated {
    gate: Arc<Gate>,
    /// Its bytes in the memory of the gate.
    place: Range<usize>,
    len: usize,
}

impl Gated {
    fn start(&self) -> NonNull<u8> {
        let start = std::ptr::with_exposed_provenance_mut(self.gate.shut[0].0 + self.place.start);
        NonNull::new(start).expect("a mapping is not at zero")
    }
}

// SAFETY: the memory is mapped for ever, at one place, and used by this buffer only; all of it is
// initialised.
unsafe impl IoBuf for Gated {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        (self.start(), self.len)
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Gated {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        (self.start(), self.place.len())
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.len = n;
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        let start = self.start().as_ptr();
        self.gate.dropped.fetch_add(1, Ordering::SeqCst);
        if self.gate.is_released() {
            // SAFETY: the memory is mapped and initialised, and nobody else uses it any more.
            let bytes = unsafe { std::slice::from_raw_parts(start, self.len) }.to_vec();
            if let Ok(mut taken) = self.gate.taken.lock() {
                taken.push((self.place.start, bytes));
            }
        } else {
            self.gate.too_early.fetch_add(1, Ordering::SeqCst);
        }
        // A copy that comes late finds a wall and fails.
        // SAFETY: nobody uses this memory any more, and it is not given to anybody else.
        let n = unsafe { libc::mprotect(start.cast(), self.place.len(), libc::PROT_NONE) };
        debug_assert_eq!(n, 0, "mprotect: {}", Error::last_os_error());
    }
}

/// Polls `job` until its copy is held, which must not be by the core itself.
pub(crate) async fn until_held<F: Future + Unpin>(job: &mut F, gate: &Gate) {
    let mut catches = gate.catches();
    let thread = poll_fn(|cx| {
        assert!(Pin::new(&mut *job).poll(cx).is_pending(), "the copy was not held");
        Pin::new(&mut catches).poll(cx)
    })
    .await;
    assert_ne!(thread, thread_id(), "the core itself is held");
}
