//! One side of a comparison of runtimes: small servers and batch jobs behind a fixed command line.
//!
//! ```text
//! versus WORKLOAD [--key value]...
//! versus caps       the workloads that there are, one per line: WORKLOAD or WORKLOAD:VARIANT
//! versus version    one line
//! ```
//!
//! | workload | options | does |
//! |---|---|---|
//! | `echo` | `--port --buf` | sends back what it receives |
//! | `http` | `--port --buf` | answers every HTTP/1.1 request with the same 77 bytes |
//! | `proxy` | `--port --backend --buf` | relays each client to a port of this machine |
//! | `fileread` | `--path --qd --bs --secs` | random reads past the page cache |
//! | `copy` | `--src --dst --buf` | copies a file piece by piece |
//! | `smallfiles` | `--dir --count --conc` | opens, reads and closes `f000000` and so on |
//! | `spawn`, `spawnbatch`, `yield`, `timer`, `xthread` | `--n` | costs of the scheduler |
//!
//! `--variant readiness` forces the readiness driver. A server prints `READY` and runs until it is
//! killed; a batch job prints `{"ops":N,"secs":S,"cpu":C}` as its last line. The exit status is 2
//! for a wrong command line, 3 for a workload that does not exist, and 1 when the work fails.

mod arguments;
mod files;
mod mail;
mod meter;
mod micro;
mod serve;

use arguments::Arguments;
use ringbolt::{Builder, DriverKind, Runtime};
use std::io;
use std::process::ExitCode;

/// Servers and files exist on each driver; the rest hardly notices which one it is.
const CAPS: &[&str] = &[
    "echo",
    "echo:readiness",
    "http",
    "http:readiness",
    "proxy",
    "proxy:readiness",
    "fileread",
    "fileread:readiness",
    "copy",
    "copy:readiness",
    "smallfiles",
    "smallfiles:readiness",
    "spawn",
    "spawnbatch",
    "yield",
    "timer",
    "xthread",
    "xthread:readiness",
];

/// Why the program ends early.
enum Stop {
    /// The command line is wrong.
    Usage(String),
    /// There is no such workload, or not in this variant.
    Unknown(String),
    /// The work failed.
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Failed(error)
    }
}

fn main() -> ExitCode {
    let (text, code) = match run() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Stop::Usage(text)) => (text, 2),
        Err(Stop::Unknown(text)) => (text, 3),
        Err(Stop::Failed(error)) => (error.to_string(), 1),
    };
    eprintln!("versus: {text}");
    ExitCode::from(code)
}

fn run() -> Result<(), Stop> {
    let arguments = Arguments::parse()?;
    match arguments.workload() {
        "caps" => {
            CAPS.iter().for_each(|cap| println!("{cap}"));
            return Ok(());
        }
        "version" => {
            println!("ringbolt {}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        _ => {}
    }
    let cap = arguments.cap();
    if !CAPS.contains(&cap.as_str()) {
        return Err(Stop::Unknown(format!("there is no workload `{cap}`, see `versus caps`")));
    }
    match arguments.workload() {
        "echo" | "http" | "proxy" => serve::run(&arguments),
        "fileread" => files::read_at_random(&arguments),
        "copy" => files::copy(&arguments),
        "smallfiles" => files::read_small(&arguments),
        _ => micro::run(&arguments),
    }
}

/// The settings that all workloads share.
fn builder(arguments: &Arguments) -> Builder {
    let builder = Builder::new().ring_entries(1024);
    match arguments.variant() {
        Some(_) => builder.driver(DriverKind::Readiness),
        None => builder,
    }
}

fn runtime(arguments: &Arguments) -> io::Result<Runtime> {
    builder(arguments).build()
}
