//! Messages over loopback and back, on both drivers. Client and server share one core, so that
//! neither waits for the scheduler of the system.

mod shared;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringbolt::net::{ListenOptions, TcpStream};
use ringbolt::{JoinHandle, spawn};
use shared::{DRIVERS, runtime, settings};
use std::io;
use std::time::{Duration, Instant};

/// Connections, bytes of a message.
const SHAPES: [(usize, usize); 4] = [(1, 64), (1, 4096), (32, 64), (32, 4096)];

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo");
    for driver in DRIVERS {
        for (connections, len) in SHAPES {
            let runtime = runtime(driver);
            let name = format!("{connections} x {len} B");
            group.throughput(Throughput::Elements(connections as u64));
            group.bench_function(BenchmarkId::new(format!("{driver:?}"), name), |b| {
                b.iter_custom(|rounds| {
                    let run = measure(connections, len, rounds);
                    runtime.block_on(run).expect("loopback works")
                });
            });
        }
    }
    group.finish();
}

/// Sends `rounds` messages on each connection and waits for each to come back.
async fn measure(connections: usize, len: usize, rounds: u64) -> io::Result<Duration> {
    let mut listener = ListenOptions::new().nodelay(true).listen("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let client = TcpStream::connect(address).await?;
        client.set_nodelay(true)?;
        let (server, _) = listener.accept().await?;
        drop(spawn(serve(server)));
        clients.push(client);
    }
    let start = Instant::now();
    let tasks: Vec<JoinHandle<io::Result<()>>> =
        clients.into_iter().map(|client| spawn(call(client, len, rounds))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(start.elapsed())
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.write_all(chunk).await.0?;
    }
    Ok(())
}

async fn call(mut stream: TcpStream, len: usize, rounds: u64) -> io::Result<()> {
    let mut message = vec![b'x'; len];
    for _ in 0..rounds {
        message = stream.write_all(message).await.into_result()?.1;
        let mut missing = len;
        while missing > 0 {
            let Some(chunk) = stream.recv().await? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            missing -= chunk.len();
        }
    }
    Ok(())
}

criterion_group! { name = benches; config = settings(); targets = echo }
criterion_main!(benches);
