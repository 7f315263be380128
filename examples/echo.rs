//! Sends back what it receives, on every core.
//!
//! What it teaches: one listener per core on a shared port, a task per connection, and bytes that
//! go from the kernel's buffer back to the kernel without being copied: `recv` lends a chunk, and
//! `write_all` takes it.
//!
//! ```text
//! cargo run --release --example echo
//! ```

#![forbid(unsafe_code)]

use ringbolt::net::{ListenOptions, TcpListener, TcpStream};
use ringbolt::{Builder, Worker, signal};
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::available_parallelism;

const HELP: &str = "\
Sends back what it receives.

usage: echo [--addr HOST:PORT] [--cores N]

  --addr HOST:PORT  where to listen (default 127.0.0.1:7777); port 0 lets the system choose
  --cores N         how many cores to use (default: all; one where the system does not spread
                    connections over several listeners)
  --help            print this

Ctrl-C or SIGTERM stops it.
";

struct Options {
    address: String,
    cores: usize,
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&format!("{error}\necho: try `echo --help`"));
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let cores = available_parallelism().map_or(1, usize::from);
    let mut options = Options { address: "127.0.0.1:7777".into(), cores };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("addr") => options.address = arguments.value()?.string()?,
            Long("cores") => options.cores = arguments.value()?.parse_with(count)?,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

fn count(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or("`--cores` wants 1 to 1024")
}

fn run(options: &Options) -> io::Result<()> {
    // Only Linux spreads connections evenly over all who listen on a port.
    let cores = if cfg!(target_os = "linux") { options.cores } else { 1 };
    let probe = Builder::new().build()?;
    let shared = ListenOptions::new().reuse_port(true);
    // The port is ours until every core listens on it.
    let reserved = match cores {
        1 => None,
        _ => Some(probe.block_on(shared.reserve(&options.address))?),
    };
    let address = match &reserved {
        Some(reserved) => reserved.local_addr(),
        None => {
            probe.block_on(async { TcpListener::bind(&options.address).await?.local_addr() })?
        }
    };
    drop(probe);
    let ready = AtomicUsize::new(0);
    let results = ringbolt::cores(cores).run(|worker| serve(address, worker, &ready))?;
    results.into_iter().collect()
}

/// What one core does until the process is asked to end.
async fn serve(address: SocketAddr, worker: Worker, ready: &AtomicUsize) -> io::Result<()> {
    let mut end = signal::termination()?;
    let options = ListenOptions::new().reuse_port(worker.count() > 1).nodelay(true);
    let mut listener = match options.listen(address).await {
        Ok(listener) => listener,
        Err(error) => {
            // The other cores would wait for this one.
            complain(&error.to_string());
            std::process::exit(1);
        }
    };
    if ready.fetch_add(1, Ordering::SeqCst) + 1 == worker.count() {
        say(&format!("listening on {address}\n"));
    }
    loop {
        let mut accept = pin!(listener.accept());
        let accepted = poll_fn(|cx| match Pin::new(&mut end).poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => accept.as_mut().poll(cx).map(Some),
        });
        match accepted.await {
            Some(Ok((stream, _))) => drop(ringbolt::spawn(echo(stream))),
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}

/// One connection; it ends with its client, or with the first error.
async fn echo(mut stream: TcpStream) {
    while let Ok(Some(chunk)) = stream.recv().await {
        if stream.write_all(chunk).await.0.is_err() {
            return;
        }
    }
}

/// Writes to the standard output. Whoever has closed it does not want to know.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "echo: {text}");
}
