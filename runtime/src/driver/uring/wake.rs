//! Waking a core that sleeps in its ring.
//!
//! Where the kernel allows a message to a ring from any thread (6.13), that is the wake; else a
//! counter that the ring always has a read on.

use crate::driver::Bell;
use crate::sqe::{Addr, Key, Kind, Sqe, opcode};
use crate::sync::{Mutex, thread};
use crate::sys::linux::{count_up, event_fd, send_msg_ring};
use io_uring::IoUring;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, PoisonError};

/// The core's side.
pub(super) struct Wake {
    bell: Arc<UringBell>,
    counter: Option<Counter>,
}

struct Counter {
    fd: Arc<OwnedFd>,
    /// Where the kernel puts what it read; nobody looks at it.
    value: Box<u64>,
}

enum UringBell {
    Message(Target),
    Counter(Arc<OwnedFd>),
}

/// The ring to send to, until the core has gone.
struct Target(Mutex<Option<i32>>);

impl Target {
    /// Calls `send` with the ring, which stays open until that returns; not after `silence`.
    fn reach(&self, send: impl FnOnce(i32)) {
        let target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fd) = *target {
            send(fd);
        }
    }

    fn silence(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

const KEY: u64 = Key::new(Kind::Wake, 0, 0).0;

impl Wake {
    pub(super) fn new(ring: &IoUring, features: &mut Vec<String>) -> io::Result<Wake> {
        let target = ring.as_raw_fd();
        if send_msg_ring(target, KEY).is_ok() {
            features.push("message wake".into());
            let bell = Arc::new(UringBell::Message(Target(Mutex::new(Some(target)))));
            return Ok(Wake { bell, counter: None });
        }
        let fd = Arc::new(event_fd()?);
        features.push("eventfd wake".into());
        let bell = Arc::new(UringBell::Counter(fd.clone()));
        Ok(Wake { bell, counter: Some(Counter { fd, value: Box::new(0) }) })
    }

    pub(super) fn bell(&self) -> Arc<dyn Bell> {
        self.bell.clone()
    }

    /// The read that has to be in flight for the next wake, if there is one.
    pub(super) fn request(&mut self) -> Option<Sqe> {
        let counter = self.counter.as_mut()?;
        let mut sqe = Sqe::new(opcode::READ, counter.fd.as_raw_fd());
        sqe.addr = Addr::pointer(&raw mut *counter.value);
        sqe.len = size_of::<u64>() as u32;
        sqe.user_data = KEY;
        Some(sqe)
    }

    /// The ring is about to be closed: its number must not be used any more.
    pub(super) fn silence(&self) {
        match &*self.bell {
            UringBell::Message(target) => target.silence(),
            // The pending read ends now, so that it does not outlive the memory it writes to.
            UringBell::Counter(fd) => count_up(fd),
        }
    }
}

impl Bell for UringBell {
    fn ring(&self) {
        match self {
            UringBell::Counter(fd) => count_up(fd),
            UringBell::Message(target) => target.reach(|fd| {
                // Only a lack of kernel memory makes this fail, and that passes.
                while let Err(errno) = send_msg_ring(fd, KEY) {
                    debug_assert!(matches!(errno, libc::ENOMEM | libc::EAGAIN | libc::EOVERFLOW));
                    thread::yield_now();
                }
            }),
        }
    }
}

#[cfg(all(test, ringbolt_loom))]
mod models;
