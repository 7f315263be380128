//! Connections that are cut at every moment, and ends that come right after the data.

use crate::process::count;
use crate::{alone, at_rest, figure, on_every_driver, scaled, until};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{Builder, spawn};
use socket2::SockRef;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Closes `peer` so that the other end sees a reset.
fn reset(peer: net::TcpStream) {
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
}

/// What a peer does before it cuts the connection.
fn cut(address: SocketAddr, how: usize) -> io::Result<()> {
    let mut peer = net::TcpStream::connect(address)?;
    match how {
        // Maybe before it is accepted.
        0 => {}
        // While a receive is pending.
        1 => {
            peer.write_all(b"one line\n")?;
            peer.read_exact(&mut [0; 9])?;
        }
        // While a long reply is being sent.
        2 | 3 => {
            peer.write_all(b"reply\n")?;
            let mut buf = [0; 4096];
            (0..how).try_for_each(|_| peer.read(&mut buf).map(drop))?;
        }
        // Right after its last word, and after saying that it was the last.
        4 => peer.write_all(b"one line\n")?,
        _ => {
            peer.write_all(b"last line\n")?;
            peer.shutdown(Shutdown::Write)?;
        }
    }
    reset(peer);
    Ok(())
}

/// Echoes lines; a reply of several megabytes for those who wish one.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        if chunk.starts_with(b"reply") {
            stream.write_all(vec![b'.'; 8 << 20]).await.0?;
        } else {
            stream.write_all(chunk).await.0?;
        }
    }
    Ok(())
}

#[test]
fn a_storm_of_resets_disturbs_nobody() {
    if !alone(module_path!(), "a_storm_of_resets_disturbs_nobody") {
        return;
    }
    let all = scaled(600, 24_000, 200_000) as usize;
    on_every_driver(&Builder::new(), |runtime, name| {
        let ends = Rc::new(RefCell::new(BTreeMap::<String, u64>::new()));
        runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let theirs = ends.clone();
            let mut accepting = spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.expect("a listener survives resets");
                    let ends = theirs.clone();
                    drop(spawn(async move {
                        let end = match serve(stream).await {
                            Ok(()) => "end".to_string(),
                            Err(error) => format!("{:?}", error.kind()),
                        };
                        *ends.borrow_mut().entry(end).or_default() += 1;
                    }));
                }
            });
            let over = Arc::new(AtomicBool::new(false));
            let storms: Vec<_> = (0..3)
                .map(|storm| {
                    std::thread::spawn(move || {
                        (storm..all).step_by(3).for_each(|n| {
                            // A reply that was cut off, or a connect that was, is no surprise.
                            let _ = cut(address, (n / 3) % 6);
                        });
                    })
                })
                .collect();
            let told = over.clone();
            let waiting = std::thread::spawn(move || {
                storms.into_iter().for_each(|storm| storm.join().unwrap());
                told.store(true, Ordering::SeqCst);
            });
            let mut good = TcpStream::connect(address).await.unwrap();
            let mut trips = 0u64;
            while !over.load(Ordering::SeqCst) {
                let line = format!("good {trips}\n").into_bytes();
                let line = good.write_all(line).await.unwrap().1;
                let mut got = Vec::new();
                while got.len() < line.len() {
                    got.extend_from_slice(&good.recv().await.unwrap().expect("an echo"));
                }
                assert_eq!(got, line);
                trips += 1;
            }
            waiting.join().unwrap();
            drop(good);
            until("all have ended", || ringbolt::metrics().tasks == 1).await;
            accepting.abort();
            drop(accepting.await);
            at_rest().await;
            assert!(trips > 0);
            figure(&format!("resets on {name}"), all, "");
        });
        eprintln!("{name}: {:?}", ends.borrow());
        let known = ["end", "ConnectionReset", "BrokenPipe"];
        let strange: Vec<_> =
            ends.borrow().keys().filter(|k| !known.contains(&&***k)).cloned().collect();
        assert!(strange.is_empty(), "{strange:?}");
        assert!(ends.borrow().contains_key("ConnectionReset"), "nothing was reset: {ends:?}");
    });
}

/// The connection dies at the hands of the administrator, with a receive and a send pending.
#[test]
fn a_connection_that_the_system_destroys_ends_with_an_error() {
    if !alone(module_path!(), "a_connection_that_the_system_destroys_ends_with_an_error") {
        return;
    }
    on_every_driver(&Builder::new(), |runtime, name| {
        runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let _peer = net::TcpStream::connect(address).unwrap();
            let (stream, peer) = listener.accept().await.unwrap();
            let (mut read, mut write) = stream.into_split();
            let receiving = spawn(async move { read.recv().await });
            let sending = spawn(async move { write.write_all(vec![1; 64 << 20]).await.0 });
            until("both wait", || ringbolt::metrics().in_flight >= 3).await;
            let filter = format!("-K -t src {address} dst {peer}");
            let killed = ringbolt::spawn_blocking(move || {
                let output = Command::new("ss").args(filter.split(' ')).output();
                output.map(|o| String::from_utf8_lossy(&o.stdout).contains("ESTAB"))
            });
            match killed.await.unwrap() {
                Ok(true) => {}
                other => {
                    eprintln!("SKIPPED: ss -K cannot destroy a connection here: {other:?}");
                    drop((receiving, sending));
                    return;
                }
            }
            let received = receiving.await.unwrap();
            let sent = sending.await.unwrap().unwrap_err();
            eprintln!("{name}: {received:?}, {sent}");
            // The system says why once; to the other direction the connection is simply over.
            let why = [received.err().map(|error| error.kind()), Some(sent.kind())];
            assert!(why.contains(&Some(ErrorKind::ConnectionAborted)), "{why:?}");
            drop(listener);
            at_rest().await;
        });
    });
}

#[test]
fn either_side_may_end_its_direction_first() {
    if !alone(module_path!(), "either_side_may_end_its_direction_first") {
        return;
    }
    const MANY: usize = 1 << 20;
    on_every_driver(&Builder::new(), |runtime, _| {
        runtime.block_on(async {
            for ours_first in [false, true] {
                let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                let (go, told) = mpsc::channel::<()>();
                let theirs = std::thread::spawn(move || {
                    if !ours_first {
                        peer.shutdown(Shutdown::Write).unwrap();
                    }
                    let mut got = Vec::new();
                    peer.read_to_end(&mut got).unwrap();
                    if ours_first {
                        told.recv().unwrap();
                        peer.write_all(&vec![b't'; MANY]).unwrap();
                    }
                    got.len()
                });
                if !ours_first {
                    assert!(stream.recv().await.unwrap().is_none());
                }
                stream.write_all(vec![b'o'; MANY]).await.unwrap();
                // The end of a direction is told while a receive is pending on the other.
                let (read, write) = stream.split();
                write.shutdown().await.unwrap();
                let refused = write.write_all("more").await.0.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
                let mut got = 0;
                let _ = go.send(());
                while let Some(chunk) = read.recv().await.unwrap() {
                    got += chunk.len();
                }
                assert_eq!(got, if ours_first { MANY } else { 0 });
                assert_eq!(theirs.join().unwrap(), MANY);
            }
            at_rest().await;
        });
    });
}

#[test]
fn what_was_sent_before_the_end_arrives() {
    if !alone(module_path!(), "what_was_sent_before_the_end_arrives") {
        return;
    }
    let rounds = scaled(100, 5_000, 50_000) as usize;
    let descriptors = count("fd");
    on_every_driver(&Builder::new(), |runtime, name| {
        runtime.block_on(async {
            let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let receiving = spawn(async move {
                let mut total = 0u64;
                for round in 0..rounds {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut len = 0;
                    while let Some(chunk) = stream.recv().await.unwrap() {
                        assert!(chunk.iter().all(|byte| *byte == round as u8));
                        len += chunk.len();
                    }
                    assert_eq!(len, size(round), "round {round}");
                    total += len as u64;
                }
                total
            });
            for round in 0..rounds {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // A receive is pending when its own side ends.
                drop(ringbolt::timeout(Duration::ZERO, stream.recv()).await);
                stream.write_all(vec![round as u8; size(round)]).await.unwrap();
                match round % 3 {
                    0 => stream.shutdown(Shutdown::Write).await.unwrap(),
                    1 => stream.shutdown(Shutdown::Both).await.unwrap(),
                    _ => {}
                }
            }
            let total = receiving.await.unwrap();
            figure(&format!("bytes before an end at once on {name}"), total, "");
            at_rest().await;
        });
    });
    assert!((0..1000).any(|_| count("fd") <= descriptors));
}

fn size(round: usize) -> usize {
    [1, 100, 4096, 70_000, 300_000][round % 5]
}
