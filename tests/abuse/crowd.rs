//! Ten thousand connections of another process, half of which mean harm: the others are served,
//! and the server's memory stays within what was configured.

use crate::process::{Peer, allow_descriptors, hear, memory, role, say};
use crate::{alone, at_rest, drivers, figure, on, quantile, scaled, until};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{Builder, DriverKind, JoinHandle, PoolConfig, spawn};
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

const POOL: PoolConfig =
    PoolConfig { buffer_len: 8 << 10, buffers: 64, buffers_max: 1024, zeroize: false };
/// A piece of an endless reply, made anew for every connection.
const PIECE: usize = 16 << 10;
/// What a peer that never reads sends on top of its wish.
const GARBAGE: usize = 64 << 10;
/// A line may not be longer.
const LINE_MAX: usize = 1024;

/// Memory of one connection besides the pool: its task, two slots of about 300 bytes, the stream
/// with its queue of received chunks (up to 32 of about 50 bytes), its queues in the readiness
/// driver (two of four requests of 72 bytes), its place in the lists of tasks and results, and a
/// line that is not finished; all of it less than 4 KiB, with what the allocator adds.
const CONNECTION: u64 = 4 << 10;
/// A receive that finds the pool lent out waits with 4 KiB of its own.
const ALONE: u64 = (4 << 10) + 64;

/// What the server may have more than at its start with `all` connections, of which `replied` are
/// being sent a piece.
fn cap(all: u64, replied: u64) -> u64 {
    let pool = (POOL.buffer_len * POOL.buffers_max) as u64;
    pool + all * (CONNECTION + ALONE) + replied * PIECE as u64
}

/// How many of `all` send a byte at a time, and as many never read.
fn of_each_kind(all: usize) -> usize {
    all / 4
}

// ---- The server ----

#[derive(Default)]
struct Served {
    lines: Cell<u64>,
    replying: Cell<u64>,
}

/// Sends lines back, and endless replies to those who wish one.
async fn serve(mut stream: TcpStream, served: Rc<Served>) -> io::Result<()> {
    let mut line = Vec::new();
    while let Some(chunk) = stream.recv().await? {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") {
                if line == b"reply\n" {
                    drop(chunk);
                    return reply(stream, &served).await;
                }
                served.lines.set(served.lines.get() + 1);
                line = stream.write_all(line).await.into_result()?.1;
                line.clear();
            }
        }
        if line.len() > LINE_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

async fn reply(mut stream: TcpStream, served: &Served) -> io::Result<()> {
    served.replying.set(served.replying.get() + 1);
    let mut piece = vec![b'.'; PIECE];
    loop {
        piece = stream.write_all(piece).await.into_result()?.1;
    }
}

async fn listen(served: Rc<Served>) -> (std::net::SocketAddr, JoinHandle<()>) {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Connections inherit it. What the kernel keeps for a peer that never reads is its own matter.
    listener.socket().set_send_buffer_size(16 << 10).unwrap();
    listener.socket().set_recv_buffer_size(32 << 10).unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // How a connection ends is the peer's choice.
            drop(spawn(serve(stream, served.clone())));
        }
    });
    (address, accepting)
}

#[test]
fn memory_is_capped_and_good_clients_are_served_on_uring() {
    if alone(module_path!(), "memory_is_capped_and_good_clients_are_served_on_uring") {
        run(DriverKind::Uring);
    }
}

#[test]
fn memory_is_capped_and_good_clients_are_served_on_readiness() {
    if alone(module_path!(), "memory_is_capped_and_good_clients_are_served_on_readiness") {
        run(DriverKind::Readiness);
    }
}

/// Each driver has a process of its own, since what one has freed would serve the other.
fn run(driver: DriverKind) {
    let all = scaled(2_000, 10_000, 19_000) as usize;
    if !allow_descriptors(all as u64 + 200) {
        return;
    }
    if role().is_some() {
        return clients(all);
    }
    if drivers().contains(&driver) {
        on(driver, &Builder::new().pool(POOL), Location::caller(), &mut |runtime, name| {
            runtime.block_on(crowd(all, name));
            runtime.block_on(at_rest());
        });
    }
}

async fn crowd(all: usize, name: &str) {
    let kind = of_each_kind(all) as u64;
    let served = Rc::new(Served::default());
    let (address, mut accepting) = listen(served.clone()).await;
    // One connection comes and goes, so that what is made once is there.
    drop(TcpStream::connect(address).await.unwrap());
    until("it has gone", || ringbolt::metrics().tasks == 1).await;
    let start = memory("VmRSS");

    let mut peer = Peer::start("clients", &[("RINGBOLT_ABUSE_SERVER", &address.to_string())]);
    assert_eq!(peer.heard().await, "connected");
    until("all are accepted", || ringbolt::metrics().tasks as usize == all + 1).await;
    let idle = memory("VmRSS");
    assert_eq!(ringbolt::metrics().buffers_leased, 0, "an idle connection holds a buffer");
    figure(&format!("connections on {name}"), all, "");
    figure(&format!("idle connection on {name}"), (idle - start) / all as u64, "bytes");
    within(idle - start, all as u64 * CONNECTION, name);

    peer.tell("slow");
    say_times(&format!("{kind} slow senders on {name}"), &peer.heard().await);
    until("no buffer is lent", || ringbolt::metrics().buffers_leased == 0).await;
    within(memory("VmRSS") - start, cap(all as u64, 0), name);

    peer.tell("deaf");
    say_times(&format!("{kind} more that never read on {name}"), &peer.heard().await);
    until("all replies have begun", || served.replying.get() == kind).await;
    let warm = memory("VmRSS");
    within(warm - start, cap(all as u64, kind), name);
    let before = served.lines.get();
    peer.tell("again");
    say_times(&format!("the same again on {name}"), &peer.heard().await);
    let last = memory("VmRSS");
    assert!(served.lines.get() > before);
    within(last - start, cap(all as u64, kind), name);
    figure(&format!("memory of the server on {name}"), last >> 10, "KiB");
    figure(&format!("its cap on {name}"), (start + cap(all as u64, kind)) >> 10, "KiB");
    assert!(last <= warm + warm / 50, "it grew from {warm} to {last} bytes on {name}");
    let metrics = ringbolt::metrics();
    eprintln!("{name}: {metrics:?}");
    assert_eq!(metrics.tasks as usize, all + 1, "a connection was given up");
    assert!(metrics.buffers as usize <= POOL.buffers_max);

    peer.tell("end");
    assert!(peer.end().success());
    accepting.abort();
    drop(accepting.await);
}

/// Prints what the good clients met beside `others`.
fn say_times(others: &str, met: &str) {
    let met: Vec<&str> = met.split(' ').collect();
    let [trips, half, most] = met[..] else { panic!("{met:?}") };
    figure(&format!("round trips without an error beside {others}"), trips, "");
    figure(&format!("their p50 and p99 beside {others}"), format!("{half} and {most}"), "us");
}

/// Two parts of a hundred are for what the measurement itself leaves behind.
#[track_caller]
fn within(used: u64, cap: u64, name: &str) {
    assert!(used <= cap + cap / 50, "{used} bytes on {name}, where {cap} were reckoned with");
}

// ---- The clients ----

/// The other process: does as it is told, and says what became of the good clients.
fn clients(all: usize) {
    let address = std::env::var("RINGBOLT_ABUSE_SERVER").unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    let runtime = Builder::new().build().unwrap();
    runtime.block_on(async {
        let kind = of_each_kind(all);
        let mut streams = Vec::with_capacity(all);
        while streams.len() < all {
            // As many at a time as the listener surely keeps.
            let some = (all - streams.len()).min(200);
            let tasks: Vec<_> = (0..some).map(|_| spawn(TcpStream::connect(address))).collect();
            for task in tasks {
                streams.push(task.await.unwrap().expect("the server listens"));
            }
        }
        say("connected");
        let deaf = streams.split_off(all - kind);
        let slow = streams.split_off(all - 2 * kind);
        let good: Vec<_> = streams.into_iter().map(|s| Rc::new(RefCell::new(Some(s)))).collect();

        expect("slow").await;
        slow.into_iter().for_each(|stream| drop(spawn(drip(stream))));
        say(work(&good).await);

        expect("deaf").await;
        deaf.into_iter().for_each(|stream| drop(spawn(wish(stream))));
        say(work(&good).await);

        expect("again").await;
        say(work(&good).await);
        expect("end").await;
    });
}

async fn expect(what: &'static str) {
    let heard = ringbolt::spawn_blocking(hear).await.unwrap();
    assert_eq!(heard.as_deref(), Some(what));
}

/// A byte per second of a line that never ends.
async fn drip(mut stream: TcpStream) {
    let mut second = ringbolt::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        stream.write_all("x").await.0.expect("the server is patient");
    }
}

/// Wishes an endless reply, sends more, and never reads.
async fn wish(mut stream: TcpStream) {
    stream.socket().set_recv_buffer_size(8 << 10).unwrap();
    let mut wish = b"reply\n".to_vec();
    wish.resize(GARBAGE, b'g');
    let _ = stream.write_all(wish).await;
    std::future::pending::<()>().await;
}

/// All good clients at once, for a number of round trips each. What they met, as a line.
async fn work(good: &[Rc<RefCell<Option<TcpStream>>>]) -> String {
    let rounds = scaled(5, 40, 200) as usize;
    let times = Rc::new(RefCell::new(Vec::with_capacity(good.len() * rounds)));
    let tasks: Vec<_> = good
        .iter()
        .enumerate()
        .map(|(id, place)| {
            let (place, times) = (place.clone(), times.clone());
            spawn(async move {
                let mut stream = place.borrow_mut().take().expect("it was put back");
                for round in 0..rounds {
                    let start = Instant::now();
                    trip(&mut stream, format!("client {id} round {round}\n")).await;
                    times.borrow_mut().push(start.elapsed());
                }
                place.replace(Some(stream));
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a good client is served without an error");
    }
    let mut times = times.borrow_mut();
    times.sort_unstable();
    let (half, most) = (quantile(&times, 500), quantile(&times, 990));
    format!("{} {} {}", times.len(), half.as_micros(), most.as_micros())
}

async fn trip(stream: &mut TcpStream, line: String) {
    let line = stream.write_all(line.into_bytes()).await.into_result().expect("a send").1;
    let mut got = Vec::with_capacity(line.len());
    while got.len() < line.len() {
        let chunk = stream.recv().await.expect("a receive").expect("the server goes on");
        got.extend_from_slice(&chunk);
    }
    assert_eq!(got, line);
}
