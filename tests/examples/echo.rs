//! The echo server.

use super::drivers;
use super::program::{LIMIT, Program};
use crate::support::{Rng, pattern, reset};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

fn start(driver: &str) -> Program {
    Program::start("echo", driver, &["--addr", "127.0.0.1:0", "--cores", "2"])
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

#[test]
fn everything_comes_back() {
    let mut random = Rng::new();
    let content = pattern(3_000_000);
    for driver in drivers() {
        let server = start(driver);
        let address = server.address();
        let mut stream = connect(address);
        let mut back = stream.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            back.read_to_end(&mut bytes).map(|_| bytes)
        });
        let mut rest = &content[..];
        while !rest.is_empty() {
            let limit = [1, 100, 5_000, 200_000][random.below(4)];
            let (now, later) = rest.split_at((1 + random.below(limit)).min(rest.len()));
            stream.write_all(now).unwrap();
            rest = later;
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let bytes = reader.join().unwrap().expect("an end without a reset");
        assert!(bytes == content, "{} bytes came back", bytes.len());
        server.stop();
    }
}

#[test]
fn clients_do_not_mix() {
    for driver in drivers() {
        let server = start(driver);
        let address = server.address();
        let mut clients: Vec<_> = (0..60).map(|_| connect(address)).collect();
        reset(clients.pop().unwrap());
        for round in 0..5 {
            for (i, client) in clients.iter_mut().enumerate() {
                write!(client, "{i:04}{round:04}").unwrap();
            }
            for (i, client) in clients.iter_mut().enumerate() {
                let mut answer = [0; 8];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(String::from_utf8_lossy(&answer), format!("{i:04}{round:04}"));
            }
        }
        // It ends with its clients still there, as those that wait for nothing must not hold it up.
        server.stop();
    }
}

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for driver in drivers() {
        let ended = Program::start("echo", driver, &["--addr", &address]).end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(&address) && ended.stderr.lines().count() == 1, "{ended:?}");
    }
}
