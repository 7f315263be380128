//! A page that keeps whoever touches it first: userfaultfd(2).

use ringbolt::{IoBuf, IoBufMut};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

const PAGE: usize = 4096;
const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const ZERO_PAGE: u64 = 0xc020_aa04;

/// A page whose first touch is held until `release`. It is never unmapped.
pub(crate) struct Trap {
    descriptor: File,
    page: NonNull<u8>,
}

// SAFETY: the page is only read by volatile loads.
unsafe impl Sync for Trap {}

impl Trap {
    /// `None`, after saying why, where this process may not set one.
    pub(crate) fn set() -> Option<Trap> {
        // SAFETY: the call names no memory.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        if fd < 0 {
            let error = std::io::Error::last_os_error();
            eprintln!("SKIPPED: userfaultfd is not to be had here: {error}");
            return None;
        }
        // SAFETY: `fd` is new.
        let descriptor = unsafe { File::from_raw_fd(fd as i32) };
        let mut api = [0xaa_u64, 0, 0];
        control(&descriptor, API, &mut api);
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping anywhere touches nothing that exists.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        let page = NonNull::new(page.cast()).expect("a mapping is not at zero");
        // Range, and the mode that traps the first touch.
        let mut register = [page.as_ptr() as u64, PAGE as u64, 1, 0];
        control(&descriptor, REGISTER, &mut register);
        Some(Trap { descriptor, page })
    }

    /// Waits until somebody is held.
    fn wait(&self) {
        let mut message = [0; 32];
        let n = (&self.descriptor).read(&mut message).expect("a message comes");
        assert_eq!(n, 32);
    }

    /// Puts an empty page there and lets who is held go on.
    pub(crate) fn release(&self) {
        let mut zero = [self.page.as_ptr() as u64, PAGE as u64, 0, 0];
        control(&self.descriptor, ZERO_PAGE, &mut zero);
    }

    pub(crate) fn first_byte(&self) -> u8 {
        // SAFETY: the page is mapped for ever; the kernel may write to it at any time.
        unsafe { self.page.as_ptr().read_volatile() }
    }
}

fn control(descriptor: &File, request: u64, argument: &mut [u64]) {
    let fd = descriptor.as_raw_fd();
    // SAFETY: the argument has the size that the request asks for.
    let n = unsafe { libc::ioctl(fd, request, argument.as_mut_ptr()) };
    assert_eq!(n, 0, "ioctl {request:#x}: {}", std::io::Error::last_os_error());
}

/// A buffer on the trap that tells when it is dropped.
pub(crate) struct Held {
    page: NonNull<u8>,
    dropped: Arc<AtomicBool>,
}

impl Held {
    pub(crate) fn new(trap: &Trap, dropped: Arc<AtomicBool>) -> Held {
        Held { page: trap.page, dropped }
    }
}

// SAFETY: the page is mapped for ever and used by nobody else; it reads as zeros.
unsafe impl IoBuf for Held {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        (self.page, 64)
    }
}

// SAFETY: as above; nothing gives access to the bytes.
unsafe impl IoBufMut for Held {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        (self.page, 64)
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

/// A future that is ready once the trap holds somebody.
pub(crate) fn until_held<'s, 't: 's>(
    scope: &'s std::thread::Scope<'s, 't>,
    trap: &'t Trap,
) -> impl Future<Output = ()> + use<> {
    let shared = Arc::new(std::sync::Mutex::new((false, None::<std::task::Waker>)));
    let ours = shared.clone();
    scope.spawn(move || {
        trap.wait();
        let mut state = shared.lock().unwrap();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    });
    poll_fn(move |cx| {
        let mut state = ours.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    })
}
