//! Tells whether a call panics, for targets that hand on what a callee has to refuse.
//!
//! Included by the crates that hold targets.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

/// Calls `f`; `None` if it panicked.
pub(crate) fn accepted<T>(f: impl FnOnce() -> T) -> Option<T> {
    // The hook of libFuzzer ends the process at any panic. Tests run on several threads, which
    // share one hook, so they keep theirs.
    let hook = cfg!(fuzzing).then(|| {
        let hook = take_hook();
        set_hook(Box::new(|_| {}));
        hook
    });
    let result = catch_unwind(AssertUnwindSafe(f)).ok();
    if let Some(hook) = hook {
        set_hook(hook);
    }
    result
}
