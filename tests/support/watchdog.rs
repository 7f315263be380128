//! Ends the process when a test hangs, and says which.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A time limit until this is dropped.
#[derive(Debug)]
pub(crate) struct Deadline(u64);

#[derive(Default)]
struct Watch {
    next: u64,
    running: HashMap<u64, (Instant, String)>,
    watched: bool,
}

static WATCH: LazyLock<Mutex<Watch>> = LazyLock::new(Mutex::default);
static CHANGED: Condvar = Condvar::new();

/// Starts a time limit for what runs on this thread.
pub(crate) fn deadline(name: &str, place: &Location<'_>) -> Deadline {
    let thread = std::thread::current();
    let what = format!("{} at {place}, on {name}", thread.name().unwrap_or("?"));
    let mut watch = lock();
    let id = watch.next;
    watch.next += 1;
    watch.running.insert(id, (Instant::now() + limit(), what));
    if !std::mem::replace(&mut watch.watched, true) {
        std::thread::spawn(guard);
    }
    drop(watch);
    CHANGED.notify_one();
    Deadline(id)
}

impl Drop for Deadline {
    fn drop(&mut self) {
        lock().running.remove(&self.0);
    }
}

fn limit() -> Duration {
    let seconds = std::env::var("RINGBOLT_TEST_DEADLINE_S").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

fn guard() {
    let mut watch = lock();
    loop {
        let now = Instant::now();
        if let Some((_, what)) = watch.running.values().find(|(end, _)| *end <= now) {
            use std::io::Write;
            let line = format!("\nHUNG for {:?}: {what}\n", limit());
            let _ = std::io::stderr().write_all(line.as_bytes());
            std::process::abort();
        }
        let next = watch.running.values().map(|(end, _)| *end - now).min();
        let wait = next.unwrap_or(Duration::from_secs(3600));
        watch = CHANGED.wait_timeout(watch, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn lock() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}
