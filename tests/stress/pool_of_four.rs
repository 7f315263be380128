//! A thousand connections on a pool of four buffers.

use crate::{alone, on_every_driver};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{Builder, PoolConfig};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 1000;
const ROUNDS: usize = 20;
const MESSAGE: usize = 700;

/// Echoes and keeps the last chunk of every eighth connection, as a program that hoards would.
async fn echo(mut stream: TcpStream, hoard: bool) -> std::io::Result<()> {
    let mut kept = None;
    while let Some(chunk) = stream.recv().await? {
        let back = stream.write_all(chunk).await;
        let chunk = back.into_result()?.1;
        if hoard {
            kept = Some(chunk);
        }
    }
    drop(kept);
    Ok(())
}

async fn client(address: std::net::SocketAddr, id: usize, slowest: Rc<Cell<Duration>>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    for round in 0..ROUNDS {
        let sent: Vec<u8> = (0..MESSAGE).map(|i| (i * 7 + id * 31 + round * 13) as u8).collect();
        let start = Instant::now();
        let sent = stream.write_all(sent).await.into_result().unwrap().1;
        let mut got = Vec::with_capacity(MESSAGE);
        while got.len() < MESSAGE {
            let rest = Vec::with_capacity(MESSAGE - got.len());
            let (n, part) = stream.read(rest).await.into_result().unwrap();
            assert_ne!(n, 0, "connection {id} ended in round {round}");
            got.extend_from_slice(&part);
        }
        assert_eq!(got, sent, "connection {id}, round {round}");
        slowest.set(slowest.get().max(start.elapsed()));
    }
}

#[test]
fn no_byte_is_lost_and_nobody_stalls() {
    let _alone = alone();
    let pool = PoolConfig { buffer_len: 1024, buffers: 4, buffers_max: 4, ..PoolConfig::default() };
    on_every_driver(&Builder::new().pool(pool), |runtime| {
        let slowest = Rc::new(Cell::new(Duration::ZERO));
        let metrics = runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = ringbolt::spawn(async move {
                let mut tasks = Vec::new();
                for id in 0..CONNECTIONS {
                    let (stream, _) = listener.accept().await.unwrap();
                    tasks.push(ringbolt::spawn(echo(stream, id % 8 == 0)));
                }
                for task in tasks {
                    task.await.unwrap().unwrap();
                }
            });
            let mut clients = Vec::new();
            for id in 0..CONNECTIONS {
                clients.push(ringbolt::spawn(client(address, id, slowest.clone())));
            }
            for client in clients {
                client.await.unwrap();
            }
            server.await.unwrap();
            ringbolt::metrics()
        });
        eprintln!(
            "pool of four on {}: {CONNECTIONS} connections x {ROUNDS} rounds, slowest round trip \
             {:.1?}, pool empty {} times, {} copied out, {} received without it",
            runtime.facts().driver,
            slowest.get(),
            metrics.pool_empty,
            metrics.copied_out,
            metrics.received_alone,
        );
        // Without optimisation the thousand tasks themselves take that long.
        let limit = Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 100 });
        assert!(slowest.get() < limit, "a connection stalled for {:?}", slowest.get());
        assert!(metrics.pool_empty > 0, "the pool was never empty, so nothing was tested");
        assert_eq!(metrics.buffers, 4);
    });
}
