//! A connection whose reader is slow: the receive is paused, and goes on without a loss.

use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::sim::{self, Faults};
use ringbolt::{Builder, PoolConfig};
use std::time::Duration;

const TOTAL: usize = 1 << 20;

#[test]
fn a_paused_receive_goes_on_however_its_pause_ends() {
    for seed in 0..100 {
        let mut faults = Faults::none();
        faults.window = TOTAL / 2;
        faults.refused_cancel = 0.3;
        faults.byte_limit = seed % 2 == 0;
        let pool = PoolConfig {
            buffer_len: 16 << 10,
            buffers: 128,
            buffers_max: 256,
            ..PoolConfig::default()
        };
        let runtime = sim::runtime(seed, faults, &Builder::new().pool(pool)).expect("a pool");
        runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.expect("ports are free");
            let address = listener.local_addr().expect("it is bound");
            let sender = ringbolt::spawn(async move {
                let mut stream = TcpStream::connect(address).await.expect("somebody listens");
                let bytes: Vec<u8> = (0..TOTAL).map(|i| (i % 253) as u8).collect();
                stream.write_all(bytes).await.0.expect("the reader is there");
            });
            let (mut stream, _) = listener.accept().await.expect("the client connects");
            let mut position = 0;
            while let Some(chunk) = stream.recv().await.expect("nothing breaks") {
                let right =
                    chunk.iter().enumerate().all(|(i, b)| *b == ((position + i) % 253) as u8);
                assert!(right, "bytes are wrong after {position}");
                position += chunk.len();
                if position < TOTAL / 2 {
                    ringbolt::sleep(Duration::from_micros(50)).await;
                }
            }
            assert_eq!(position, TOTAL);
            sender.await.expect("it is not aborted");
        });
    }
}

#[test]
fn an_interrupted_receive_is_made_again() {
    const RECV: u8 = 27;
    const EINTR: i32 = 4;
    let runtime = sim::runtime(1, Faults::none(), &Builder::new()).expect("a pool");
    runtime.block_on(async {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.expect("ports are free");
        let address = listener.local_addr().expect("it is bound");
        let mut client = TcpStream::connect(address).await.expect("somebody listens");
        let (mut server, _) = listener.accept().await.expect("the client connects");
        client.write_all("all of it").await.0.expect("the server is there");
        sim::force(RECV, 0, -EINTR);
        let chunk = server.recv().await.expect("nothing broke").expect("nothing ended");
        assert_eq!(&*chunk, b"all of it");
    });
}
