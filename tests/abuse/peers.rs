//! Peers in other processes that are killed or stopped, and more connections than a backlog holds.

use crate::process::{Peer, hear, memory, role, say};
use crate::{alone, at_rest, figure, on_every_driver, scaled, until};
use ringbolt::net::{ListenOptions, TcpListener, TcpStream};
use ringbolt::{Builder, spawn};
use std::cell::Cell;
use std::io::Read;
use std::net;
use std::rc::Rc;
use std::time::{Duration, Instant};

const SERVER: &str = "RINGBOLT_ABUSE_SERVER";

fn server() -> net::SocketAddr {
    std::env::var(SERVER).unwrap().parse().unwrap()
}

/// Half of the connections wait for a word, to the other half more is sent than they read.
#[test]
fn a_killed_peer_ends_all_its_connections() {
    if !alone(module_path!(), "a_killed_peer_ends_all_its_connections") {
        return;
    }
    const CONNECTIONS: usize = 200;
    if role().is_some() {
        let streams: Vec<_> =
            (0..CONNECTIONS).map(|_| net::TcpStream::connect(server()).unwrap()).collect();
        say("connected");
        let _ = hear();
        return drop(streams);
    }
    on_every_driver(&Builder::new(), |runtime, name| {
        runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let mut peer = Peer::start("idle", &[(SERVER, &address)]);
            let mut tasks = Vec::new();
            for n in 0..CONNECTIONS {
                let (mut stream, _) = listener.accept().await.unwrap();
                tasks.push(spawn(async move {
                    match n % 2 {
                        0 => stream.recv().await.map(|chunk| assert!(chunk.is_none())),
                        _ => loop {
                            if let Err(error) = stream.write_all(vec![0; 64 << 10]).await.0 {
                                break Err(error);
                            }
                        },
                    }
                }));
            }
            assert_eq!(peer.heard().await, "connected");
            until("all wait", || ringbolt::metrics().in_flight as usize > CONNECTIONS).await;
            let start = Instant::now();
            peer.signal(libc::SIGKILL);
            let mut cut = 0;
            for task in tasks {
                cut += usize::from(task.await.unwrap().is_err());
            }
            let took = start.elapsed();
            figure(&format!("end of a killed peer on {name}"), took.as_millis(), "ms");
            assert!(cut >= CONNECTIONS / 2, "only {cut} were told");
            assert!(took < Duration::from_secs(10), "{took:?}");
            assert!(!peer.end().success());
            drop(listener);
            at_rest().await;
        });
    });
}

/// The peer's place in a stream of bytes that repeat after a prime number of them.
fn byte(position: u64) -> u8 {
    (position % 251) as u8
}

/// Reads to the end, and says how much there was.
fn reader() {
    let mut stream = net::TcpStream::connect(server()).unwrap();
    let (mut position, mut buf) = (0u64, vec![0; 64 << 10]);
    loop {
        let n = stream.read(&mut buf).unwrap();
        if n == 0 {
            return say(position);
        }
        let wrong = buf[..n].iter().zip(position..).position(|(found, p)| *found != byte(p));
        assert_eq!(wrong, None, "a byte is wrong after {position}");
        position += n as u64;
    }
}

#[test]
fn a_stopped_peer_holds_the_writer_and_no_memory() {
    if !alone(module_path!(), "a_stopped_peer_holds_the_writer_and_no_memory") {
        return;
    }
    if role().is_some() {
        return reader();
    }
    let total = scaled(32, 1024, 8192) << 20;
    on_every_driver(&Builder::new(), |runtime, name| {
        runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let mut peer = Peer::start("reader", &[(SERVER, &address)]);
            let (mut stream, _) = listener.accept().await.unwrap();
            let sent = Rc::new(Cell::new(0u64));
            let ours = sent.clone();
            let sending = spawn(async move {
                let mut piece = vec![0; 64 << 10];
                while ours.get() < total {
                    piece.iter_mut().zip(ours.get()..).for_each(|(b, p)| *b = byte(p));
                    piece = stream.write_all(piece).await.unwrap().1;
                    ours.set(ours.get() + piece.len() as u64);
                }
            });
            let mut stops = 0;
            let mut growth = 0;
            for part in 1..4 {
                until("it goes on", || sent.get() >= part * (total / 4)).await;
                peer.signal(libc::SIGSTOP);
                let (stopped, before) = (sent.get(), memory("VmRSS"));
                stalled(&sent).await;
                // What the kernel's buffers take is not much.
                let taken = sent.get() - stopped;
                assert!(taken <= 32 << 20, "{taken} bytes went to a stopped peer");
                assert!(sent.get() < total, "the end came before the stop");
                growth = growth.max(memory("VmRSS") as i64 - before as i64);
                peer.signal(libc::SIGCONT);
                stops += 1;
            }
            sending.await.unwrap();
            assert_eq!(peer.heard().await, total.to_string());
            assert!(peer.end().success());
            figure(&format!("stops of the peer on {name}"), stops, "");
            figure(&format!("growth while the peer is stopped on {name}"), growth, "bytes");
            assert!(growth <= 1 << 20, "{growth} bytes");
            drop(listener);
            at_rest().await;
        });
    });
}

/// Waits until nothing has been sent for a while.
async fn stalled(sent: &Cell<u64>) {
    let mut last = (sent.get(), Instant::now());
    until("nothing more is taken", || {
        if sent.get() != last.0 {
            last = (sent.get(), Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(50)
    })
    .await;
}

/// How often this machine had no room in the backlog of a listener.
fn overflows() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "ListenOverflows").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

/// How long a client waits before it tries again.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whether a client is answered.
async fn ask(address: net::SocketAddr, n: usize) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let sent = format!("client {n}").into_bytes();
    let Ok((_, sent)) = stream.write_all(sent).await.into_result() else { return false };
    match stream.recv().await {
        Ok(Some(chunk)) => {
            assert_eq!(*chunk, *sent);
            true
        }
        _ => false,
    }
}

#[test]
fn more_connections_than_the_backlog_holds_are_all_served() {
    if !alone(module_path!(), "more_connections_than_the_backlog_holds_are_all_served") {
        return;
    }
    let clients = scaled(20, 100, 200) as usize;
    on_every_driver(&Builder::new(), |runtime, name| {
        runtime.block_on(async {
            let options = ListenOptions::new().backlog(1);
            let mut listener = options.listen("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let before = overflows();
            let start = Instant::now();
            let tasks: Vec<_> = (0..clients)
                .map(|n| {
                    spawn(async move {
                        let mut attempts = 1;
                        // The system's own attempts are seconds apart.
                        while ringbolt::timeout(PATIENCE, ask(address, n)).await != Ok(true) {
                            attempts += 1;
                        }
                        attempts
                    })
                })
                .collect();
            until("the backlog overflows", || overflows() > before).await;
            let mut serving = spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    drop(spawn(async move {
                        // A client may have lost its patience meanwhile.
                        if let Ok(Some(chunk)) = stream.recv().await {
                            let _ = stream.write_all(chunk).await;
                        }
                    }));
                }
            });
            let mut attempts = 0;
            for task in tasks {
                attempts += task.await.unwrap();
            }
            serving.abort();
            drop(serving.await);
            let took = start.elapsed();
            figure(&format!("clients of a backlog of one on {name}"), clients, "");
            figure(&format!("their attempts on {name}"), attempts, "");
            figure(&format!("time until all were served on {name}"), took.as_millis(), "ms");
            at_rest().await;
        });
    });
}
