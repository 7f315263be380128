//! A TCP relay: whoever connects to one address talks to another.
//!
//! What it teaches: both directions of a stream at the same time in one task, ends that are passed
//! on one by one (half-close), resets that are passed on as resets, and time limits for connecting.
//!
//! ```text
//! cargo run --release --example proxy -- --listen 127.0.0.1:8000 --to 127.0.0.1:8080
//! ```

#![forbid(unsafe_code)]

use ringbolt::net::{ListenOptions, ReadHalf, TcpListener, TcpStream, WriteHalf};
use ringbolt::{Builder, signal, timeout};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

const HELP: &str = "\
Relays TCP connections.

usage: proxy --listen HOST:PORT --to HOST:PORT

  --listen HOST:PORT  where to listen; port 0 lets the system choose
  --to HOST:PORT      where to connect to for each client
  --help              print this

When one side ends its sending, the other is told so and may go on. When one side resets its
connection, so is the other. Ctrl-C or SIGTERM stops it, and ends the connections there are.
";

/// How long to wait for the other side.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a client that could not be served has to see the end.
const LINGER: Duration = Duration::from_secs(1);

struct Options {
    listen: String,
    to: String,
}

#[derive(Default)]
struct Counts {
    open: Cell<u64>,
    relayed: Cell<u64>,
    failed: Cell<u64>,
    reset: Cell<u64>,
    /// Bytes from clients, and to them.
    up: Cell<u64>,
    down: Cell<u64>,
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&format!("{error}\nproxy: try `proxy --help`"));
            return ExitCode::from(2);
        }
    };
    let result = Builder::new().build().and_then(|runtime| runtime.block_on(run(options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let (mut listen, mut to) = (None, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("listen") => listen = Some(arguments.value()?.string()?),
            Long("to") => to = Some(arguments.value()?.string()?),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    match (listen, to) {
        (Some(listen), Some(to)) => Ok(Some(Options { listen, to })),
        (None, _) => Err("`--listen HOST:PORT` is missing".into()),
        (_, None) => Err("`--to HOST:PORT` is missing".into()),
    }
}

async fn run(options: Options) -> io::Result<()> {
    // An address that is none is better found now than with the first client.
    ringbolt::net::lookup_host(&options.to).await?;
    let mut end = signal::termination()?;
    let mut listener = ListenOptions::new().nodelay(true).listen(&options.listen).await?;
    say(&format!("listening on {}\n", listener.local_addr()?));
    let to: Rc<str> = options.to.into();
    let counts = Rc::new(Counts::default());
    while let Some(accepted) = next(&mut listener, &mut end).await {
        let (client, to, counts) = (accepted?, to.clone(), counts.clone());
        drop(ringbolt::spawn(async move { serve(client, &to, &counts).await }));
    }
    let Counts { open, relayed, failed, reset, up, down } = &*counts;
    say(&format!(
        "relayed {} connections, {} of them reset; {} failed, {} still open; \
         {} bytes up, {} down\n",
        relayed.get(),
        reset.get(),
        failed.get(),
        open.get(),
        up.get(),
        down.get()
    ));
    Ok(())
}

/// The next client; `None` once the process is asked to end.
async fn next(
    listener: &mut TcpListener,
    end: &mut signal::Signal,
) -> Option<io::Result<TcpStream>> {
    let mut accept = pin!(listener.accept());
    poll_fn(|cx| match Pin::new(&mut *end).poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => accept.as_mut().poll(cx).map(|accepted| Some(accepted.map(|(s, _)| s))),
    })
    .await
}

async fn serve(mut client: TcpStream, to: &str, counts: &Counts) {
    match TcpStream::connect_timeout(to, CONNECT_LIMIT).await {
        Ok(server) => {
            add(&counts.open, 1);
            relay(client, server, counts).await;
            counts.open.set(counts.open.get() - 1);
        }
        Err(error) => {
            add(&counts.failed, 1);
            complain(&error.to_string());
            // What the client has sent is thrown away: a socket that is closed with bytes in it
            // would reset the connection, where the client should see a plain end.
            let _ = client.shutdown(Shutdown::Write).await;
            let drain = async { while let Ok(Some(_)) = client.recv().await {} };
            let _ = timeout(LINGER, drain).await;
        }
    }
}

/// Relays until both sides have ended, or one of them breaks.
async fn relay(mut client: TcpStream, mut server: TcpStream, counts: &Counts) {
    // What is small is not to wait for more; a socket that refuses this works all the same.
    let _ = server.set_nodelay(true);
    let result = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, &counts.up);
        let down = pump(from_server, to_client, &counts.down);
        both(up, down).await
    };
    add(&counts.relayed, 1);
    if result.is_err() {
        add(&counts.reset, 1);
        // Closed like this, a socket resets its connection: neither side may take what it has
        // received for all there was. The broken one has nothing left to reset.
        for stream in [&client, &server] {
            let _ = stream.socket().set_linger(Some(Duration::ZERO));
        }
    }
}

/// One direction, its end included.
async fn pump(from: &mut ReadHalf, to: &mut WriteHalf, bytes: &Cell<u64>) -> io::Result<()> {
    while let Some(chunk) = from.recv().await? {
        let n = chunk.len() as u64;
        to.write_all(chunk).await.0?;
        add(bytes, n);
    }
    to.shutdown().await
}

/// Waits for both to end well, or for the first that does not.
async fn both(
    a: impl Future<Output = io::Result<()>>,
    b: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_done, mut b_done) = (false, false);
    poll_fn(|cx| {
        if !a_done && let Poll::Ready(result) = a.as_mut().poll(cx) {
            a_done = true;
            if result.is_err() {
                return Poll::Ready(result);
            }
        }
        if !b_done && let Poll::Ready(result) = b.as_mut().poll(cx) {
            b_done = true;
            if result.is_err() {
                return Poll::Ready(result);
            }
        }
        if a_done && b_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

fn add(count: &Cell<u64>, n: u64) {
    count.set(count.get() + n);
}

/// Writes to the standard output. Whoever has closed it does not want to know.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "proxy: {text}");
}
