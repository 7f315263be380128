//! How much a long test does, and how it says what it reached.
//!
//! `RINGBOLT_SCALE` is `quick` (the default: seconds in a debug build), `ci` or `release`. A test
//! reports what it counted with [`figure`]; those lines are gathered from the output, also of tests
//! that pass, so nothing about a long run has to be taken on trust.

use std::fmt::Display;
use std::io::Write;

/// The amount of work for the scale that the environment asks for.
///
/// # Panics
///
/// If `RINGBOLT_SCALE` is none of its values.
pub(crate) fn scaled(quick: u64, ci: u64, release: u64) -> u64 {
    match std::env::var("RINGBOLT_SCALE").as_deref() {
        Err(_) | Ok("" | "quick") => quick,
        Ok("ci") => ci,
        Ok("release") => release,
        Ok(other) => panic!("RINGBOLT_SCALE is quick, ci or release, not `{other}`"),
    }
}

/// Prints `figure: NAME = REACHED UNIT`, past the capture of the test harness.
pub(crate) fn figure(name: &str, reached: impl Display, unit: &str) {
    let line = format!("figure: {name} = {reached} {unit}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
