//! Copies a file, and reads on while it writes.
//!
//! What it teaches: files and `io::copy`, a sink of your own around a file, a task that reports
//! while another works, and errors that say what is left on the disk.
//!
//! ```text
//! cargo run --release --example copy -- SRC DST
//! ```

#![forbid(unsafe_code)]

use ringbolt::fs::{self, File, Metadata, OpenOptions};
use ringbolt::{BufResult, Builder, IoBuf, signal};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

const HELP: &str = "\
Copies the content of a regular file, and waits until it is on the disk.

usage: copy [--progress] SRC DST

  --progress  show how far it is even if the standard error is not a terminal
  --help      print this

DST is replaced if it exists, and gets the permissions of SRC if not. Holes of SRC are written as
zeros. When the copy fails, or is stopped by Ctrl-C or SIGTERM, the exit code is 1 and the message
says how much of DST has been written.
";

/// How often the progress is shown; a copy that is done before shows none.
const REPORT_EVERY: Duration = Duration::from_millis(250);

struct Options {
    source: PathBuf,
    target: PathBuf,
    progress: bool,
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&format!("{error}\ncopy: try `copy --help`"));
            return ExitCode::from(2);
        }
    };
    match Builder::new().build().and_then(|runtime| runtime.block_on(run(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value};
    let (mut paths, mut progress) = (Vec::new(), io::stderr().is_terminal());
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(path) if paths.len() < 2 => paths.push(PathBuf::from(path)),
            Long("progress") => progress = true,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    match <[PathBuf; 2]>::try_from(paths) {
        Ok([source, target]) => Ok(Some(Options { source, target, progress })),
        Err(paths) if paths.is_empty() => Err("SRC and DST are missing".into()),
        Err(_) => Err("DST is missing".into()),
    }
}

async fn run(options: &Options) -> io::Result<()> {
    let Options { source: from, target: to, progress } = options;
    // First of all, since a DST that has been opened is empty already.
    let mut end = signal::termination()?;
    let mut source = File::open(from).await?;
    let metadata = source.metadata().await?;
    check(from, &metadata, to).await?;
    let mut wish = OpenOptions::new();
    wish.write(true).create(true).truncate(true).mode(metadata.mode() & 0o777);
    let target = wish.open(to).await?;

    let len = metadata.len();
    let (written, shown) = (Cell::new(0), Cell::new(false));
    let state = Rc::new(Progress { start: Instant::now(), len, written, shown });
    let mut sink = Sink { file: &target, progress: state.clone() };
    let work = async {
        ringbolt::io::copy(&mut source, &mut sink).await?;
        target.sync_all().await
    };
    let showing = state.clone();
    let report = progress.then(|| ringbolt::spawn(async move { showing.keep_showing().await }));
    let stopped = || io::Error::new(io::ErrorKind::Interrupted, "stopped by a signal");
    let result = until(&mut end, work).await.unwrap_or_else(|| Err(stopped()));
    if let Some(mut report) = report {
        report.abort();
    }
    if state.shown.get() {
        state.show();
        let _ = writeln!(io::stderr());
    }
    result.and(target.close().await).map_err(|error| {
        let (written, to) = (state.written.get(), to.display());
        let text = format!("{error}; {to} is incomplete: {written} of {len} bytes were written");
        io::Error::new(error.kind(), text)
    })
}

/// Whether there is something to copy, and a place where it can go.
async fn check(from: &Path, source: &Metadata, to: &Path) -> io::Result<()> {
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if !source.is_file() {
        return wrong(format!("{} is not a regular file", from.display()));
    }
    match fs::metadata(to).await {
        Ok(target) if target.is_dir() => wrong(format!("{} is a directory", to.display())),
        // By whatever names: to empty DST would empty SRC.
        Ok(target) if target.id() == source.id() => {
            wrong(format!("{} and {} are the same file", from.display(), to.display()))
        }
        Ok(target) if !target.is_file() => wrong(format!("{} is not a regular file", to.display())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The output of `future`, or `None` if the process is asked to end before.
async fn until<F: Future>(end: &mut signal::Signal, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match Pin::new(&mut *end).poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(cx).map(Some),
    })
    .await
}

/// The file that is written, from its beginning on.
struct Sink<'a> {
    file: &'a File,
    progress: Rc<Progress>,
}

impl ringbolt::io::Write for Sink<'_> {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let written = &self.progress.written;
        let BufResult(result, buf) = self.file.write_at(buf, written.get()).await;
        if let Ok(n) = result {
            written.set(written.get() + n as u64);
        }
        BufResult(result, buf)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How far the copy is.
struct Progress {
    start: Instant,
    len: u64,
    written: Cell<u64>,
    shown: Cell<bool>,
}

impl Progress {
    fn show(&self) {
        let (done, len) = (self.written.get(), self.len);
        let percent = (u128::from(done) * 100).checked_div(u128::from(len)).unwrap_or(100);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let speed = mib(done) / self.start.elapsed().as_secs_f64();
        let (done, len) = (mib(done), mib(len));
        let line = format!("{percent:3} %  {done:.1} of {len:.1} MiB  {speed:.0} MiB/s");
        let _ = write!(io::stderr(), "\r{line:<60}");
        self.shown.set(true);
    }

    /// Shows it again and again.
    async fn keep_showing(&self) {
        loop {
            ringbolt::sleep(REPORT_EVERY).await;
            self.show();
        }
    }
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "copy: {text}");
}
