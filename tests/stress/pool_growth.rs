//! A burst on many connections lets the pool grow as far as the burst needs, and no further.

use crate::{alone, on_every_driver};
use ringbolt::net::TcpListener;
use ringbolt::{Builder, PoolConfig};
use std::io::Write;

const CONNECTIONS: usize = 64;
const SENT: usize = 32 * 1024;
const BUFFER: usize = 4096;

#[test]
fn a_burst_does_not_take_the_pool_to_its_maximum() {
    let _alone = alone();
    let pool = PoolConfig {
        buffer_len: BUFFER,
        buffers: 8,
        buffers_max: 16 * 1024,
        ..PoolConfig::default()
    };
    on_every_driver(&Builder::new().pool(pool), |runtime| {
        let metrics = runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            // All that will be sent waits in the sockets before the first receive.
            let clients: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    let mut client = std::net::TcpStream::connect(address).unwrap();
                    client.write_all(&[1; SENT]).unwrap();
                    client
                })
                .collect();
            let mut tasks = Vec::new();
            for _ in 0..CONNECTIONS {
                let (mut stream, _) = listener.accept().await.unwrap();
                tasks.push(ringbolt::spawn(async move {
                    let mut received = 0;
                    while received < SENT {
                        received += stream.recv().await.unwrap().expect("more was sent").len();
                    }
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            drop(clients);
            ringbolt::metrics()
        });
        let needed = (CONNECTIONS * SENT / BUFFER) as u64;
        eprintln!(
            "growth on {}: {} buffers for a burst of {needed}, found empty {} times",
            runtime.facts().driver,
            metrics.buffers,
            metrics.pool_empty
        );
        assert!(metrics.buffers > 8, "the pool did not grow, so nothing was tested");
        assert!(metrics.buffers <= needed * 4, "{} buffers for {needed}", metrics.buffers);
    });
}
