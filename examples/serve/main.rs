//! A static file server for HTTP/1.1 on all cores: the whole of ringbolt at work.
//!
//! What it teaches: one runtime per core, each with a listener of its own on the same port;
//! receives that lend their buffers; files read into buffers that go around; time limits; calls
//! that would block sent elsewhere; and an end that loses no request.
//!
//! ```text
//! cargo run --release --example serve -- --dir . --addr 127.0.0.1:8080
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `connection` | one client: requests in, answers out |
//! | `request` | the head of a request |
//! | `reply` | the head of an answer, conditional requests |
//! | `range` | parts of files |
//! | `find` | from a target to an open file, never outside of the directory |
//! | `site` | what the connections of a core share |
//!
//! Nothing is cached: each request opens its file and sees what is there now.

#![forbid(unsafe_code)]

mod connection;
mod content_type;
mod find;
mod range;
mod reply;
mod request;
mod site;

use ringbolt::net::{ListenOptions, Reservation, TcpListener, TcpStream};
use ringbolt::signal::Signal;
use ringbolt::{Builder, Worker, signal};
use site::{Site, Tally};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::available_parallelism;
use std::time::Duration;

const HELP: &str = "\
Serves the files of a directory over HTTP/1.1, on all cores.

usage: serve [--dir DIR] [--addr HOST:PORT] [--cores N] [--one-listener]

  --dir DIR         what to serve (default: the current directory)
  --addr HOST:PORT  where to listen (default 127.0.0.1:8080); port 0 lets the system choose
  --cores N         how many cores to use (default: all)
  --one-listener    let the first core accept for all of them, as is done anyway on systems
                    that do not spread connections over several listeners
  --help            print this

GET and HEAD, ranges and conditional requests. A directory is answered with its index.html;
symbolic links are followed as long as they stay inside of the directory. Ctrl-C or SIGTERM stops
it: requests that have begun are finished, for at most 5 seconds.
";

/// How long requests may take that have begun when the process is asked to end.
const END_LIMIT: Duration = Duration::from_secs(5);

struct Options {
    dir: PathBuf,
    address: String,
    cores: usize,
    one_listener: bool,
}

/// What all cores know.
struct Plan {
    root: PathBuf,
    address: SocketAddr,
    one_listener: bool,
    /// Cores that accept already.
    ready: AtomicUsize,
    failed: AtomicBool,
}

thread_local! {
    /// The site of this core, for connections that another core hands over.
    static SITE: RefCell<Option<Rc<Site>>> = const { RefCell::new(None) };
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&format!("{error}\nserve: try `serve --help`"));
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let mut options = Options {
        dir: PathBuf::from("."),
        address: "127.0.0.1:8080".into(),
        cores: available_parallelism().map_or(1, usize::from),
        // Only Linux spreads connections evenly over all who listen on a port.
        one_listener: !cfg!(target_os = "linux"),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("dir") => options.dir = arguments.value()?.into(),
            Long("addr") => options.address = arguments.value()?.string()?,
            Long("cores") => options.cores = arguments.value()?.parse_with(cores)?,
            Long("one-listener") => options.one_listener = true,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

fn cores(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or("`--cores` wants 1 to 1024")
}

/// Serves until the process is asked to end. False if a core failed meanwhile.
fn run(options: &Options) -> io::Result<bool> {
    let root = directory(&options.dir)?;
    let probe = Builder::new().build()?;
    let (address, _reserved) = probe.block_on(claim(options))?;
    let facts = probe.facts().to_string();
    drop(probe);
    let (dir, count) = (root.display(), options.cores);
    say(&format!("serving {dir} on {address}\ncores: {count}\ndriver: {facts}\n"));

    let one_listener = options.one_listener;
    let (ready, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let plan = Plan { root, address, one_listener, ready, failed };
    let tallies = ringbolt::cores(count).run(|worker| serve(&plan, worker))?;

    let sum = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum::<u64>();
    let (requests, connections) = (sum(|t| t.requests), sum(|t| t.connections));
    let cut_off = sum(|t| t.cut_off);
    say(&format!(
        "served {requests} requests on {connections} connections, {cut_off} of them cut off\n"
    ));
    Ok(!plan.failed.into_inner())
}

/// The address to listen on. Where the cores are to share it, it is ours until all of them listen.
async fn claim(options: &Options) -> io::Result<(SocketAddr, Option<Reservation>)> {
    if options.one_listener {
        let alone = TcpListener::bind(&options.address).await?;
        return Ok((alone.local_addr()?, None));
    }
    let reserved = ListenOptions::new().reuse_port(true).reserve(&options.address).await?;
    Ok((reserved.local_addr(), Some(reserved)))
}

/// The real path of the directory that is to be served.
fn directory(dir: &Path) -> io::Result<PathBuf> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot serve {}: {error}", dir.display()))
    };
    let root = dir.canonicalize().map_err(named)?;
    if !root.is_dir() {
        return Err(named(io::Error::from(io::ErrorKind::NotADirectory)));
    }
    Ok(root)
}

/// What one core does.
async fn serve(plan: &Plan, worker: Worker) -> Tally {
    let site = Site::new(plan.root.clone());
    SITE.set(Some(site.clone()));
    if let Err(error) = accept(plan, &worker, &site).await {
        complain(&format!("core {}: {error}", worker.index()));
        plan.failed.store(true, Ordering::Relaxed);
        // The others would wait for this core, or serve without it, which nobody asked for.
        if plan.ready.load(Ordering::SeqCst) < worker.count() {
            std::process::exit(1);
        }
    }
    let tally = site.end(END_LIMIT).await;
    SITE.set(None);
    tally
}

/// Accepts connections until the process is asked to end.
async fn accept(plan: &Plan, worker: &Worker, site: &Rc<Site>) -> io::Result<()> {
    let mut end = signal::termination()?;
    let accepts = worker.index() == 0 || !plan.one_listener;
    let options = ListenOptions::new().reuse_port(!plan.one_listener).nodelay(true);
    let listener = if accepts { Some(options.listen(plan.address).await?) } else { None };
    if plan.ready.fetch_add(1, Ordering::SeqCst) + 1 == worker.count() {
        say(&format!("listening on {}\n", plan.address));
    }
    let Some(mut listener) = listener else {
        end.await;
        return Ok(());
    };
    let mut turn = 0;
    while let Some(accepted) = next(&mut listener, &mut end).await {
        let (stream, _) = accepted?;
        if plan.one_listener && turn != worker.index() {
            hand_over(stream, worker, turn);
        } else {
            site.admit(stream);
        }
        turn = (turn + 1) % worker.count();
    }
    Ok(())
}

/// The next connection; `None` once the process is asked to end.
async fn next(
    listener: &mut TcpListener,
    end: &mut Signal,
) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    let mut accept = pin!(listener.accept());
    poll_fn(|cx| match Pin::new(&mut *end).poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => accept.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Gives a connection to another core. A stream belongs to its core, the socket below does not.
fn hand_over(stream: TcpStream, worker: &Worker, index: usize) {
    let Ok(socket) = stream.into_std() else { return };
    drop(worker.remotes()[index].spawn(move || async move {
        let site = SITE.with_borrow(Clone::clone);
        if let (Some(site), Ok(stream)) = (site, TcpStream::from_std(socket)) {
            site.admit(stream);
        }
    }));
}

/// Writes to the standard output. Whoever has closed it does not want to know.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "serve: {text}");
}
