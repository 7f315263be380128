//! Tests that count what belongs to the whole process run in a process of their own.

use std::io::Write;
use std::process::Command;

const ALONE: &str = "RINGBOLT_TEST_ALONE";

/// True in a process that runs this test only; elsewhere it starts one and checks how it ended.
///
/// `module` is the caller's `module_path!()` and `test` the name of its function.
pub(crate) fn alone(module: &str, test: &str) -> bool {
    let (_, module) = module.split_once("::").expect("a module below the root");
    let name = format!("{module}::{test}");
    if std::env::var_os(ALONE).is_some_and(|wanted| wanted == *name) {
        return true;
    }
    let program = std::env::current_exe().expect("the program knows its path");
    let output = Command::new(program)
        .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
        .env(ALONE, &name)
        .output()
        .expect("the program starts again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", output.status);
    assert!(text.contains("1 passed"), "{name} did not run:\n{text}");
    // What a long test reached and what it had to leave out is said also when it passes.
    for line in text.lines().filter(|l| l.starts_with("figure: ") || l.starts_with("SKIPPED: ")) {
        let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
    false
}
