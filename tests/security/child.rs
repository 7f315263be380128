//! This program once more, as a process that does one thing and ends.

use std::env;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const CHILD: &str = "RINGBOLT_SECURITY_CHILD";

/// The command for a child that plays `role` in the test `test`, which is called by its full name.
/// What is set in the environment for the tests at large does not reach it.
pub(crate) fn command(test: &str, role: &str) -> Command {
    let program = env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, format!("{test} as {role}"));
    command.env_remove("RINGBOLT_DRIVER").env_remove("RINGBOLT_HARDEN");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Whether this process is the child that plays `role` in `test`.
pub(crate) fn is(test: &str, role: &str) -> bool {
    env::var(CHILD).is_ok_and(|child| child == format!("{test} as {role}"))
}

/// Whether this process is a child at all.
pub(crate) fn is_any() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs `body` in a child and returns how that ended; in children with another role, nothing.
pub(crate) fn run(test: &str, role: &str, body: impl FnOnce()) -> Option<Output> {
    run_with(test, role, &[], body)
}

/// As [`run`], with these variables in the child's environment.
pub(crate) fn run_with(
    test: &str,
    role: &str,
    environment: &[(&str, &str)],
    body: impl FnOnce(),
) -> Option<Output> {
    if is(test, role) {
        body();
        std::process::exit(0);
    }
    if is_any() {
        return None;
    }
    let mut command = command(test, role);
    command.envs(environment.iter().copied());
    Some(command.output().expect("this program can be started again"))
}

/// Prints the figures of a child, which must have succeeded.
#[track_caller]
pub(crate) fn figures_of(output: &Output) {
    let text = stderr_of(output);
    for line in text.lines().filter(|line| line.starts_with("figure: ")) {
        let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
}

/// What a child wrote to stderr; it must have succeeded.
#[track_caller]
pub(crate) fn stderr_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "the child failed: {}\n{text}", output.status);
    text
}
