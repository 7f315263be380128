//! A replicated counter with a mistake in it, and a simulation that finds the mistake.
//!
//! What it teaches: the same servers run on real machines and, here, on simulated ones. A test runs
//! them in world after world, cuts their network and their power, and checks what they promised. A
//! world is determined by its seed, so that whatever goes wrong goes wrong again.
//!
//! The primary writes each increment to its log, has at least one follower write it as well, and
//! only then acknowledges it: no acknowledged increment may be lost with one machine. The follower
//! has the mistake: it answers before its disk has got the increment. `--fixed` puts that right.
//!
//! ```text
//! cargo run --release --features sim --example deterministic
//! ```

#![forbid(unsafe_code)]

use lexopt::{Error, Parser};
use ringbolt::fs::{self, File, OpenOptions};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::sim::{self, Faults, Host, World};
use ringbolt::{sleep, timeout};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

const HELP: &str = "Looks for a simulated world in which a replicated counter loses an increment.

usage: deterministic [--fixed] [--seeds N | --seed S]

  --fixed    without the mistake that the counter has
  --seeds N  how many worlds to try (default 2000)
  --seed S   try this world only, and say what happens in it
  --help     print this

The exit code is 0 if every world keeps what it acknowledged, 1 if one does not.
";

const FOLLOWERS: [&str; 2] = ["follower-1", "follower-2"];
/// After so much silence the other side of a connection is taken for dead.
const SILENCE: Duration = Duration::from_millis(250);

// ---- The program: nothing in it knows that it is simulated. ----

/// The increments that one machine knows of: record `n` is the number `n`.
struct Log {
    file: File,
    len: u64,
}

impl Log {
    async fn open() -> io::Result<Log> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).open("/log").await?;
        // A new name lasts once its directory has been synced.
        File::open("/").await?.sync_all().await?;
        // Records of which a power cut left only some are not counted, nor any behind them.
        let bytes = fs::read("/log").await?;
        let sound = |(record, n): &(&[u8], u64)| *record == n.to_le_bytes();
        let len = bytes.chunks_exact(8).zip(1..).take_while(sound).count() as u64;
        Ok(Log { file, len })
    }

    async fn append(&mut self) -> io::Result<()> {
        let record = (self.len + 1).to_le_bytes().to_vec();
        self.file.write_all_at(record, self.len * 8).await.0?;
        self.len += 1;
        Ok(())
    }
}

/// A connection on which both sides send numbers, one per line.
struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        Peer { stream, received: Vec::new() }
    }

    async fn connect(name: &str) -> io::Result<Peer> {
        Ok(Peer::new(TcpStream::connect_timeout((name, 7), SILENCE).await?))
    }

    async fn send(&mut self, number: u64) -> io::Result<()> {
        timeout(SILENCE, self.stream.write_all(format!("{number}\n"))).await?.0
    }

    async fn receive(&mut self) -> io::Result<u64> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let number = std::str::from_utf8(&line).ok().and_then(|l| l.trim().parse().ok());
                return number.ok_or_else(|| ErrorKind::InvalidData.into());
            }
            match timeout(SILENCE, self.stream.recv()).await?? {
                Some(chunk) => self.received.extend_from_slice(&chunk),
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

async fn follower(fixed: bool) -> io::Result<()> {
    let mut log = Log::open().await?;
    let mut listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let mut primary = Peer::new(listener.accept().await?.0);
        // The primary connects again after whatever happens here.
        let _ = follow(&mut log, &mut primary, fixed).await;
    }
}

/// Says how much it has, and takes the next, again and again.
async fn follow(log: &mut Log, primary: &mut Peer, fixed: bool) -> io::Result<()> {
    loop {
        if fixed {
            log.file.sync_data().await?;
            primary.send(log.len).await?;
        } else {
            // The mistake: the primary counts on what a power cut can still take away.
            primary.send(log.len).await?;
            log.file.sync_data().await?;
        }
        if primary.receive().await? == log.len + 1 {
            log.append().await?;
        }
    }
}

async fn primary() -> io::Result<()> {
    let mut log = Log::open().await?;
    let mut links = FOLLOWERS.map(|name| (name, None));
    let mut listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let mut client = Peer::new(listener.accept().await?.0);
        while client.receive().await.is_ok() {
            log.append().await?;
            log.file.sync_data().await?;
            let mut copies = 0;
            while copies == 0 {
                for (name, link) in &mut links {
                    match catch_up(name, link.take(), log.len).await {
                        Ok(peer) => (copies, *link) = (copies + 1, Some(peer)),
                        Err(_) => sleep(Duration::from_millis(5)).await,
                    }
                }
            }
            let _ = client.send(log.len).await;
        }
    }
}

/// Sends a follower what it lacks. Returns the connection, and how many increments are there.
async fn catch_up(name: &str, link: Option<(Peer, u64)>, len: u64) -> io::Result<(Peer, u64)> {
    let (mut peer, mut has) = match link {
        Some(link) => link,
        None => {
            let mut peer = Peer::connect(name).await?;
            let has = peer.receive().await?;
            (peer, has)
        }
    };
    while has < len {
        peer.send(has + 1).await?;
        has = peer.receive().await?;
    }
    Ok((peer, has))
}

/// Counts as fast as it can; `acknowledged` is the last total that it was told.
async fn client(acknowledged: Rc<Cell<u64>>) {
    loop {
        if let Ok(mut primary) = Peer::connect("primary").await {
            while primary.send(1).await.is_ok() {
                let Ok(total) = primary.receive().await else { break };
                acknowledged.set(total);
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
}

// ---- The test. ----

/// What happened in a world, with times.
type Trace = Rc<RefCell<Vec<String>>>;

fn note(trace: &Trace, text: String) {
    trace.borrow_mut().push(format!("{:>12?}  {text}", sim::elapsed()));
}

fn start(host: &Host, fixed: bool) {
    match host.name() {
        "primary" => drop(host.spawn(primary)),
        _ => drop(host.spawn(move || follower(fixed))),
    }
}

/// Some trouble, then a power cut everywhere, after which the primary does not come back. Returns
/// what was acknowledged, what the followers have, and the story.
async fn trouble(fixed: bool) -> (u64, u64, Vec<String>) {
    let trace = Trace::default();
    let servers = ["primary", FOLLOWERS[0], FOLLOWERS[1]].map(sim::host);
    servers.iter().for_each(|host| start(host, fixed));
    for host in servers[1..].iter().filter(|_| sim::chance(0.5)) {
        let mut slow = Faults::usual();
        slow.disk = Duration::from_millis(1)..Duration::from_millis(20);
        host.set_disk(slow);
        note(&trace, format!("the disk of {} is slow", host.name()));
    }
    let acknowledged = Rc::new(Cell::new(0));
    let seen = acknowledged.clone();
    sim::host("client").spawn(move || client(seen));
    for _ in 0..sim::below(8) {
        sleep(Duration::from_micros(sim::below(30_000))).await;
        let [host, other] = [(); 2].map(|()| &servers[sim::below(3) as usize]);
        if host == other {
            note(&trace, format!("{} loses power and starts again", host.name()));
            host.crash();
            host.restart();
            start(host, fixed);
        } else if sim::chance(0.5) {
            note(&trace, format!("{} and {} are cut apart", host.name(), other.name()));
            host.cut(other);
        } else {
            host.heal(other);
        }
    }
    sleep(Duration::from_micros(sim::below(30_000))).await;
    servers.iter().for_each(Host::crash);
    let acknowledged = acknowledged.get();
    note(&trace, format!("everything loses power; {acknowledged} increments are acknowledged"));
    let mut kept = 0;
    for host in &servers[1..] {
        host.restart();
        let log = host.spawn(Log::open).await.expect("the log opens").expect("the disk is sound");
        note(&trace, format!("{} has {}", host.name(), log.len));
        kept = kept.max(log.len);
    }
    (acknowledged, kept, trace.take())
}

fn run(seed: u64, fixed: bool) -> (u64, u64, Vec<String>) {
    World::new(seed).run(|| trouble(fixed))
}

/// Runs the worlds of `seeds`; false if one lost an increment.
pub(crate) fn explore(seeds: Range<u64>, fixed: bool, out: &mut impl Write) -> io::Result<bool> {
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let (acknowledged, kept, trace) = run(seed, fixed);
        if count == 1 || kept < acknowledged {
            writeln!(out, "seed {seed}:\n{}", trace.join("\n"))?;
        }
        if kept < acknowledged {
            writeln!(out, "lost: {acknowledged} were acknowledged, {kept} are left")?;
            let again = run(seed, fixed) == (acknowledged, kept, trace);
            writeln!(out, "seed {seed} again: {}", if again { "the same" } else { "different" })?;
            return Ok(false);
        }
    }
    writeln!(out, "{count} worlds, and no acknowledged increment was lost")?;
    Ok(true)
}

/// Whether the mistake is put right, and which worlds to try; `None` if help is wanted.
pub(crate) fn parse(mut arguments: Parser) -> Result<Option<(bool, Range<u64>)>, Error> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let (mut fixed, mut first, mut count) = (false, 0u64, 2000);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("fixed") => fixed = true,
            Long("seeds") => (first, count) = (0, arguments.value()?.parse()?),
            Long("seed") => (first, count) = (arguments.value()?.parse()?, 1),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some((fixed, first..first.saturating_add(count))))
}

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let passed = match parse(Parser::from_env()) {
        Ok(Some((fixed, seeds))) => explore(seeds, fixed, &mut out),
        Ok(None) => out.write_all(HELP.as_bytes()).map(|()| true),
        Err(error) => {
            let _ = writeln!(io::stderr(), "deterministic: {error}\ntry `deterministic --help`");
            return ExitCode::from(2);
        }
    };
    // Whoever has closed the output does not want to know.
    if passed.unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
