//! The example programs, as whoever downloads them runs them: real binaries, sockets and files.

mod copy;
mod echo;
#[cfg(target_os = "linux")]
mod echo_interrupted;
mod http;
mod program;
mod proxy;
mod serve;
mod serve_curl;
#[cfg(unix)]
mod serve_end;
mod serve_life;
mod serve_site;
mod usage;

use crate::support;
use program::Program;

/// The values of `RINGBOLT_DRIVER` that can be tested here.
fn drivers() -> Vec<&'static str> {
    let roomy = support::cases().into_iter().filter(|case| !case.tiny);
    roomy.map(|case| if case.is_uring() { "uring" } else { "readiness" }).collect()
}
