//! One thread and one runtime per core, and how they reach one another.

use crate::builder::{Builder, Runtime};
use crate::core::Core;
use crate::mailbox::Mailbox;
use crate::sync::{AtomicBool, oneshot};
use crate::task::{JoinHandle, spawn_on};
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

/// A runtime on each of `count` cores, or on every core the process may use if `count` is zero.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let numbers = ringbolt_runtime::cores(2).run(|worker| async move { worker.index() })?;
/// assert_eq!(numbers, [0, 1]);
/// # Ok(())
/// # }
/// ```
pub fn cores(count: usize) -> Cores {
    let all = || thread::available_parallelism().map_or(1, usize::from);
    Cores { count: if count == 0 { all() } else { count }, builder: Builder::new(), pin: true }
}

/// Settings of a group of cores, see [`cores`].
#[derive(Clone, Debug)]
#[must_use = "call `run`"]
pub struct Cores {
    count: usize,
    builder: Builder,
    pin: bool,
}

/// One core of a group, as the future on it sees it.
#[derive(Clone, Debug)]
pub struct Worker {
    index: usize,
    remotes: Arc<[Remote]>,
}

/// Reaches a core from any thread.
#[derive(Clone)]
pub struct Remote {
    mailbox: Arc<Mailbox>,
}

impl Cores {
    /// Uses the settings of `builder` on every core.
    pub fn builder(mut self, builder: Builder) -> Cores {
        self.builder = builder;
        self
    }

    /// Whether each thread is bound to a processor (default true; Linux and Windows).
    pub fn pin(mut self, pin: bool) -> Cores {
        self.pin = pin;
        self
    }

    /// Runs the future that `main` makes on every core, and returns what they returned, in the
    /// order of the cores.
    ///
    /// # Errors
    ///
    /// When a thread or a runtime cannot be started; then no future runs on any core.
    ///
    /// # Panics
    ///
    /// With the panic of the first core that panicked, after all have ended.
    pub fn run<M, F>(self, main: M) -> io::Result<Vec<F::Output>>
    where
        M: Fn(Worker) -> F + Send + Sync,
        F: Future,
        F::Output: Send,
    {
        thread::scope(|scope| {
            let (started, starts) = mpsc::channel();
            let mut threads = Vec::with_capacity(self.count);
            let mut signals = Vec::with_capacity(self.count);
            for index in 0..self.count {
                let (go, wait) = mpsc::channel::<Arc<[Remote]>>();
                let (this, started, main) = (&self, started.clone(), &main);
                let body = move || this.run_one(index, &started, &wait, main);
                let name = format!("ringbolt-{index}");
                threads.push(thread::Builder::new().name(name).spawn_scoped(scope, body)?);
                signals.push(go);
            }
            drop(started);
            let mut remotes = Vec::with_capacity(self.count);
            for start in starts.iter().take(self.count) {
                let start: io::Result<(usize, Remote)> = start;
                // On an error the signals are dropped, and the other threads end.
                remotes.push(start?);
            }
            remotes.sort_by_key(|(index, _)| *index);
            let remotes: Arc<[Remote]> = remotes.into_iter().map(|(_, remote)| remote).collect();
            for go in signals {
                let _ = go.send(remotes.clone());
            }
            let mut outputs = Vec::with_capacity(self.count);
            let mut panicked = None;
            for thread in threads {
                match thread.join() {
                    Ok(output) => outputs.extend(output),
                    Err(payload) => panicked = panicked.or(Some(payload)),
                }
            }
            match panicked {
                Some(payload) => resume_unwind(payload),
                None => Ok(outputs),
            }
        })
    }

    fn run_one<M, F>(
        &self,
        index: usize,
        started: &mpsc::Sender<io::Result<(usize, Remote)>>,
        wait: &mpsc::Receiver<Arc<[Remote]>>,
        main: &M,
    ) -> Option<F::Output>
    where
        M: Fn(Worker) -> F,
        F: Future,
    {
        if self.pin {
            // A thread that cannot be bound runs all the same.
            let _ = crate::sys::pin_thread(index);
        }
        let runtime = match self.builder.build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = started.send(Err(error));
                return None;
            }
        };
        let _ = started.send(Ok((index, runtime.remote())));
        let remotes = wait.recv().ok()?;
        Some(runtime.block_on(async { main(Worker { index, remotes }).await }))
    }
}

impl Worker {
    /// Which core of the group this is, from zero.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Cores in the group.
    pub fn count(&self) -> usize {
        self.remotes.len()
    }

    /// All cores of the group, this one included.
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }
}

impl Runtime {
    /// Reaches this runtime from other threads.
    pub fn remote(&self) -> Remote {
        Remote { mailbox: self.mailbox().clone() }
    }
}

impl Remote {
    /// Reaches the current core from other threads.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn current() -> Remote {
        Remote { mailbox: Core::current().mailbox().clone() }
    }

    /// Spawns the future that `make` makes on that core. `make` crosses threads, the future does
    /// not. It runs whether or not the handle is kept, so that a connection can be handed over for
    /// good. If the core has gone, the handle says that the task was aborted.
    pub fn spawn<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let aborted = Arc::new(AtomicBool::new(false));
        let given_up = aborted.clone();
        let call = move |core: &std::rc::Rc<Core>| {
            // A handle that was only dropped lets the task run.
            if given_up.load(Ordering::Relaxed) {
                return;
            }
            let task = spawn_on(core, async move { make().await });
            drop(spawn_on(core, async move {
                let result = match task.await {
                    Ok(value) => Ok(value),
                    Err(crate::task::JoinError::Panicked(payload)) => Err(payload),
                    Err(_) => return,
                };
                // Nobody waits any more if this fails.
                let _ = sender.send(result);
            }));
        };
        // A call that is given back is dropped, and with it the sender.
        let _ = self.mailbox.call(Box::new(call));
        JoinHandle::of_remote(receiver, aborted)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("mailbox", &self.mailbox).finish()
    }
}
