//! What children of fork(2) get of a runtime: nothing.
//!
//! A child has copies of the memory and shares the descriptors, so it could disturb its parent:
//! take its descriptors out of the shared poller, or put requests into a ring that both have.
//! Memory that the kernel works on is therefore not there in a child (`MADV_DONTFORK`), and a page
//! that the kernel wipes in every child (`MADV_WIPEONFORK`, madvise(2), 4.14) tells the two apart.
//! Looking at it is one load. Asking getpid(2) would be a system call each time, and a handler of
//! pthread_atfork(3) is not run for a child that was made by clone(2).

use ringbolt_buffers::{Pool, PoolConfig, PoolMemory};
use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The process that something belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    page: &'static AtomicU32,
    number: u32,
}

impl Origin {
    /// The calling process.
    pub(crate) fn here() -> Origin {
        static PAGE: OnceLock<&'static AtomicU32> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let page = *PAGE.get_or_init(wiped_page);
        let mut number = page.load(Ordering::Relaxed);
        if number == 0 {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            let known = page.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
            number = known.err().unwrap_or(new);
        }
        Origin { page, number }
    }

    /// Whether this is still that process, and not a child of it.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.page.load(Ordering::Relaxed) == self.number
    }

    /// Ends a child before it does harm, and says why.
    #[inline]
    pub(crate) fn check(self) {
        if !self.is_here() {
            abort_child();
        }
    }
}

/// Panicking would run the parent's destructors, and needs locks that some other thread may have
/// held when it forked.
#[cold]
fn abort_child() -> ! {
    let text = "ringbolt: this process is a child of fork(2) and touched the runtime of its \
                parent; build another one here, or fork before the first is built\n";
    // SAFETY: as many bytes are passed as are counted.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    // SAFETY: always allowed.
    unsafe { libc::abort() }
}

/// Zero in every new process. Where the kernel does not wipe, a child is taken for its parent.
fn wiped_page() -> &'static AtomicU32 {
    match Mapping::new(size_of::<AtomicU32>(), libc::MADV_WIPEONFORK) {
        Ok(page) => {
            let page = Box::leak(Box::new(page));
            // SAFETY: the mapping is never dropped, aligned to a page, zeroed, and this is the
            // only view of it.
            unsafe { AtomicU32::from_ptr(page.start.as_ptr().cast()) }
        }
        Err(_) => Box::leak(Box::default()),
    }
}

/// Zeroed pages of their own, which children get in the way that `advice` says.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    origin: Option<Origin>,
}

// SAFETY: the pages are owned by this value, and have no affinity to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference only the address can be had.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// At least `len` bytes that are not there in children.
    pub(crate) fn for_parent(len: usize) -> io::Result<Mapping> {
        let mut mapping = Mapping::new(len, libc::MADV_DONTFORK)?;
        mapping.origin = Some(Origin::here());
        Ok(mapping)
    }

    fn new(len: usize, advice: i32) -> io::Result<Mapping> {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a free address touches nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).expect("a mapping is not at zero");
        // A kernel that does not know the advice gives children a copy, which does less than this
        // hopes for and no harm.
        // SAFETY: these pages were just mapped, and the advice is about children only.
        unsafe { libc::madvise(start.as_ptr().cast(), len, advice) };
        Ok(Mapping { start, len, origin: None })
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and owned by this value alone.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SAFETY: 1. the pages stay where they are until the value is dropped. 2. The value owns them.
unsafe impl PoolMemory for Mapping {
    fn parts(&self) -> (NonNull<u8>, usize) {
        (self.start, self.len)
    }

    fn is_present(&self) -> bool {
        self.origin.is_none_or(Origin::is_here)
    }
}

/// A pool whose buffers children do not get.
pub(crate) fn new_pool(config: PoolConfig) -> io::Result<Pool> {
    Pool::with_memory(config, |len| {
        let pages = Mapping::for_parent(len).map_err(|error| {
            crate::error::with_context(&error, &format!("no memory for a pool of {len} bytes"))
        })?;
        Ok(Box::new(pages))
    })
}
