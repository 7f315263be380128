//! Scarce descriptors and scarce lockable memory.
//!
//! Limits are set in a child process: this program starts itself again with the name of a child in
//! `RINGBOLT_LIMITS_CHILD`. Linux only, since the limits are.

#![cfg(target_os = "linux")]

mod descriptors;
mod exit;
mod locked_memory;

use std::process::{Command, Output, Stdio};

/// Runs the test `name` of this program once more, as a child that does the work.
fn run_child(name: &str, environment: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("RINGBOLT_LIMITS_CHILD", name).envs(environment.iter().copied());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child.output().expect("this program can be started again")
}

/// Whether this process is the child of `name`.
fn is_child(name: &str) -> bool {
    std::env::var("RINGBOLT_LIMITS_CHILD").is_ok_and(|child| child == name)
}

/// What a child wrote to stderr, after it succeeded.
fn stderr_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "the child failed: {}\n{text}", output.status);
    text
}

/// Sets a limit of this process, soft and hard.
fn set_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the limit is passed by a valid pointer.
    let n = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(n, 0, "setrlimit: {}", std::io::Error::last_os_error());
}
