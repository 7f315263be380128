//! What models run on: loom's types, and the exploration itself.
#![allow(missing_docs, missing_debug_implementations)]

pub use loom::sync::{Arc, Mutex};
use std::io::Write;
use std::sync::atomic::AtomicUsize as Plain;
use std::sync::atomic::Ordering::{self, SeqCst};

/// Switches of threads that a model's schedule may force, unless `LOOM_MAX_PREEMPTIONS` says
/// otherwise.
const PREEMPTIONS_MAX: usize = 3;
/// Steps of one schedule, unless `LOOM_MAX_BRANCHES` says otherwise: a loop that makes no progress
/// ends there, and fails.
const BRANCHES_MAX: usize = 20_000;

/// Runs `model` in all its interleavings and counts it.
///
/// Each prints its own line, and each line with the number of models so far replaces the one
/// before, so that the last one is the total of `owner`.
pub fn explore(owner: &str, name: &str, model: impl Fn() + Send + Sync + 'static) {
    static MODELS: Plain = Plain::new(0);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS_MAX));
    if std::env::var_os("LOOM_MAX_BRANCHES").is_none() {
        builder.max_branches = BRANCHES_MAX;
    }
    let runs = std::sync::Arc::new(Plain::new(0));
    let (counted, start) = (runs.clone(), std::time::Instant::now());
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let (runs, ms) = (runs.load(Ordering::Relaxed), start.elapsed().as_millis());
    let models = MODELS.fetch_add(1, Ordering::Relaxed) + 1;
    let lines = format!(
        "model: {owner} {name}: {runs} interleavings in {ms} ms\n\
         figure: loom models in {owner} = {models} models\n"
    );
    // Past the capture of the test harness.
    let _ = std::io::stderr().write_all(lines.as_bytes());
}

/// An atomic of loom whose first value is a sequentially consistent store.
///
/// Loom lets a load of that order see any older value that was not stored in the same order, so
/// without this it would also explore what the language rules out.
macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        pub struct $name(loom::sync::atomic::$name);

        impl $name {
            #[track_caller]
            pub fn new(value: $value) -> $name {
                let atomic = loom::sync::atomic::$name::new(value);
                atomic.store(value, SeqCst);
                $name(atomic)
            }
        }

        impl std::ops::Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU32, u32);
atomic!(AtomicUsize, usize);
