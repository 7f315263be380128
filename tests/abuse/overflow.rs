//! More results at a time than the completion queue holds.

use crate::process::allow_descriptors;
use crate::{alone, at_rest, figure, on_every_driver, until};
use ringbolt::net::TcpListener;
use ringbolt::op::{Nop, Submit};
use ringbolt::{Builder, PoolConfig, Remote, spawn};
use std::cell::Cell;
use std::io::Write;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

/// More stay in the listener's queue than it has room for, so that it has to pause as well.
const CONNECTIONS: usize = 1000;
const MESSAGES: usize = 4;
const WAKES: usize = 1000;
const NOPS: usize = 4000;

/// The core does nothing while everything happens at once, so that one look at the ring finds it
/// all: connections, bytes on each of them, wakes from another thread, and its own operations.
#[test]
fn everything_arrives_and_every_multishot_goes_on() {
    if !alone(module_path!(), "everything_arrives_and_every_multishot_goes_on") {
        return;
    }
    if !allow_descriptors(2 * CONNECTIONS as u64 + 500) {
        return;
    }
    // The completion queue has eight entries.
    let pool =
        PoolConfig { buffer_len: 256, buffers: 16, buffers_max: 4096, ..PoolConfig::default() };
    on_every_driver(&Builder::new().ring_entries(1).pool(pool), |runtime, name| {
        runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let total = Rc::new(Cell::new(0));
            let theirs = total.clone();
            let mut accepting = spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let total = theirs.clone();
                    drop(spawn(async move {
                        while let Some(chunk) = stream.recv().await.unwrap() {
                            total.set(total.get() + chunk.len());
                        }
                    }));
                }
            });
            let remote = Remote::current();
            let woken = Arc::new(AtomicUsize::new(0));
            let step = Arc::new(Barrier::new(2));
            let (theirs, counted) = (step.clone(), woken.clone());
            let storm = std::thread::spawn(move || {
                let wake = || {
                    let counted = counted.clone();
                    drop(remote.spawn(move || async move {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }));
                };
                let mut clients: Vec<TcpStream> = Vec::new();
                theirs.wait();
                clients.extend((0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()));
                (0..WAKES / 2).for_each(|_| wake());
                theirs.wait();
                // Now the connections are known, and a receive is pending on each.
                theirs.wait();
                for message in 0..MESSAGES {
                    clients.iter_mut().for_each(|c| c.write_all(&[message as u8; 100]).unwrap());
                }
                (0..WAKES / 2).for_each(|_| wake());
                theirs.wait();
                clients
            });
            // The multishot accept is in flight before the storm.
            ringbolt::yield_now().await;
            until("the listener waits", || ringbolt::metrics().in_flight > 0).await;
            let burst = || {
                let nops: Vec<_> = (0..NOPS / 2).map(|_| spawn(Submit::new(Nop))).collect();
                // The core sleeps here, not in its driver.
                step.wait();
                step.wait();
                nops
            };
            let mut nops = burst();
            until("all are accepted", || ringbolt::metrics().tasks as usize >= CONNECTIONS).await;
            let receiving = || ringbolt::metrics().in_flight as usize > CONNECTIONS;
            until("a receive is pending on each", receiving).await;
            nops.extend(burst());
            let clients = storm.join().unwrap();
            let sent = CONNECTIONS * MESSAGES * 100;
            until("all bytes are there", || total.get() == sent).await;
            until("all wakes are there", || woken.load(Ordering::SeqCst) == WAKES).await;
            for nop in nops {
                nop.await.unwrap().unwrap();
            }
            let metrics = ringbolt::metrics();
            let events = CONNECTIONS * (1 + MESSAGES) + WAKES + NOPS;
            figure(&format!("events at once on {name}"), events, "");
            figure(&format!("overflows seen on {name}"), metrics.overflows, "");
            if name == "io_uring" {
                assert!(metrics.overflows > 0, "nothing overflowed: {metrics:?}");
            }
            again(address, clients, &total).await;
            accepting.abort();
            drop(accepting.await);
            at_rest().await;
        });
    });
}

/// After the storm each connection, the listener and the wake still work.
async fn again(address: std::net::SocketAddr, mut clients: Vec<TcpStream>, total: &Cell<usize>) {
    let before = (total.get(), ringbolt::metrics().tasks);
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    let want = before.0 + clients.len();
    until("each connection goes on", || total.get() == want).await;
    let late = TcpStream::connect(address).unwrap();
    until("the listener goes on", || ringbolt::metrics().tasks == before.1 + 1).await;
    drop((clients, late));
    // With no timer set, only the wake can end this.
    ringbolt::spawn_blocking(|| ()).await.unwrap();
    until("all have gone", || ringbolt::metrics().tasks == 1).await;
}
