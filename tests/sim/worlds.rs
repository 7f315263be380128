//! What the simulator promises to programs: hosts, networks, disks and clocks that a seed
//! determines.

use ringbolt::fs::{File, OpenOptions};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::sim::{self, Faults, World};
use ringbolt::{now, sleep, timeout};
use std::io;
use std::time::Duration;

const SEEDS: u64 = 200;

async fn echo(mut listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        ringbolt::spawn(async move {
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            io::Result::Ok(())
        });
    }
}

fn serve_echo() -> sim::Host {
    let server = sim::host("server");
    server.spawn(|| async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        echo(listener).await
    });
    server
}

async fn connect() -> TcpStream {
    loop {
        match TcpStream::connect("server:7").await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Sends `text` and reads as much back. Both at a time: a window may be smaller than the text.
async fn round_trip(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut back = Vec::new();
    for part in text.chunks(200) {
        stream.write_all(part.to_vec()).await.0?;
        let whole = back.len() + part.len();
        while back.len() < whole {
            let Some(chunk) = stream.recv().await? else { return Ok(back) };
            back.extend_from_slice(&chunk);
        }
    }
    Ok(back)
}

#[test]
fn an_echo_comes_back_whole_over_every_bad_network() {
    for seed in 0..SEEDS {
        let faults = if seed % 2 == 0 { Faults::usual() } else { Faults::hostile() };
        World::new(seed).faults(faults).run(|| async {
            serve_echo();
            let mut stream = connect().await;
            let text: Vec<u8> = (0..5000u32).map(|i| (i % 251) as u8).collect();
            assert_eq!(round_trip(&mut stream, &text).await.unwrap(), text);
        });
    }
}

#[test]
fn a_seed_determines_the_run() {
    let trace = |seed| {
        World::new(seed).faults(Faults::hostile()).run(|| async {
            serve_echo();
            let mut stream = connect().await;
            let start = now();
            let mut times = Vec::new();
            for i in 0..20u8 {
                round_trip(&mut stream, &[i; 700]).await.unwrap();
                times.push((now() - start, sim::random()));
            }
            times
        })
    };
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12));
}

#[test]
fn a_cut_holds_packets_back_until_it_heals() {
    for seed in 0..SEEDS {
        sim::run(seed, || async {
            let server = serve_echo();
            let client = sim::host("client");
            let (client_host, server_host) = (client.clone(), server.clone());
            client
                .spawn(move || async move {
                    let mut stream = connect().await;
                    round_trip(&mut stream, b"before").await.unwrap();
                    client_host.cut(&server_host);
                    let start = now();
                    let waited =
                        timeout(Duration::from_secs(5), round_trip(&mut stream, b"during"));
                    let held = waited.await.map_or(true, |result| result.is_err());
                    assert!(held && now() - start >= Duration::from_secs(5));
                    client_host.heal(&server_host);
                    let mut back = Vec::new();
                    while back.len() < 6 {
                        back.extend_from_slice(&stream.recv().await.unwrap().unwrap());
                    }
                    assert_eq!(back, b"during");
                })
                .await
                .unwrap();
        });
    }
}

#[test]
fn what_was_synced_survives_a_power_cut() {
    let mut torn = 0;
    for seed in 0..SEEDS {
        torn += sim::run(seed, || async {
            let host = sim::host("disk");
            host.spawn(|| async {
                let file = File::create("/data").await.unwrap();
                file.write_all_at(vec![1u8; 2000], 0).await.0.unwrap();
                file.sync_all().await.unwrap();
                let root = File::open("/").await.unwrap();
                root.sync_all().await.unwrap();
                file.write_all_at(vec![2u8; 4000], 1000).await.0.unwrap();
                std::mem::forget(file);
            })
            .await
            .unwrap();
            host.crash();
            while host.is_on() {
                sleep(Duration::from_millis(1)).await;
            }
            host.restart();
            host.spawn(|| async {
                let data = ringbolt::fs::read("/data").await.unwrap();
                assert_eq!(data[..1000], [1u8; 1000]);
                assert!(data.len() >= 2000 && data[1000..].iter().all(|b| [0, 1, 2].contains(b)));
                let twos = data.iter().filter(|b| **b == 2).count();
                usize::from(twos != 0 && twos != 4000)
            })
            .await
            .unwrap()
        });
    }
    assert!(torn > SEEDS as usize / 2, "a power cut tore {torn} of {SEEDS} writes");
}

#[test]
fn a_full_disk_says_so_and_takes_what_fits() {
    let faults = Faults::none();
    World::new(3).faults(faults.clone()).run(move || async move {
        let mut small = faults.clone();
        small.disk_len = 1000;
        sim::set_faults(small);
        let file = OpenOptions::new().write(true).create(true).open("/log").await.unwrap();
        let result = file.write_all_at(vec![7u8; 3000], 0).await.0;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.metadata().await.unwrap().len(), 1000);
    });
}

#[test]
fn a_crashed_server_is_silent_until_it_is_up_again() {
    for seed in 0..SEEDS {
        sim::run(seed, || async {
            let server = serve_echo();
            let mut stream = connect().await;
            round_trip(&mut stream, b"alive").await.unwrap();
            server.crash();
            let gone = timeout(Duration::from_secs(1000), round_trip(&mut stream, b"gone?")).await;
            assert!(gone.is_err(), "a machine without power answers: {gone:?}");
            server.restart();
            let broken = stream.recv().await;
            assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        });
    }
}

#[test]
#[should_panic(expected = "waits for something that never happens")]
fn a_deadlock_is_an_error() {
    sim::run(1, || async {
        let (_tx, rx) = futures_channel::oneshot::channel::<()>();
        let _ = rx.await;
    });
}

#[test]
#[should_panic(expected = "planted")]
fn a_panic_in_main_is_the_panic_of_the_run() {
    sim::run(1, || async { panic!("planted") });
}
