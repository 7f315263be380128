//! The relay: ends and resets on either side.

use super::drivers;
use super::program::{LIMIT, Program};
use crate::support::{dead_address, pattern, reset};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// A relay with a client and the connection that it made to the server.
struct Pair {
    relay: Program,
    client: TcpStream,
    server: TcpStream,
}

fn start(driver: &str, to: &str) -> (Program, TcpStream) {
    let relay = Program::start("proxy", driver, &["--listen", "127.0.0.1:0", "--to", to]);
    let client = TcpStream::connect(relay.address()).unwrap();
    limit(&client);
    (relay, client)
}

fn limit(stream: &TcpStream) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
}

fn pair(driver: &str) -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (relay, client) = start(driver, &listener.local_addr().unwrap().to_string());
    let (server, _) = listener.accept().unwrap();
    limit(&server);
    Pair { relay, client, server }
}

fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an end without a reset");
    bytes
}

/// One side ends first, and the other goes on for as long as it likes.
fn half_close(relay: Program, mut first: TcpStream, mut second: TcpStream) -> Program {
    first.write_all(b"question").unwrap();
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&second), b"question");
    let answer = pattern(5_000_000);
    let sent = answer.clone();
    let writer = thread::spawn(move || {
        second.write_all(&sent).unwrap();
        second.shutdown(Shutdown::Write).unwrap();
        second
    });
    assert!(read_all(&first) == answer, "the answer differs");
    drop(writer.join().unwrap());
    relay
}

#[test]
fn either_side_may_end_first() {
    for driver in drivers() {
        let Pair { relay, client, server } = pair(driver);
        let relay = half_close(relay, client, server);
        let ended = relay.stop();
        // Bytes are counted before their end is passed on, the connection itself only after that.
        let counts = "8 bytes up, 5000000 down\n";
        if cfg!(unix) {
            assert!(ended.stdout.ends_with(counts), "{ended:?}");
        }
        let Pair { relay, client, server } = pair(driver);
        half_close(relay, server, client).stop();
    }
}

#[test]
fn both_directions_at_once() {
    let content = pattern(8_000_000);
    for driver in drivers() {
        let Pair { relay, client, server } = pair(driver);
        let sides = [client, server].map(|stream| {
            let (mut to, content) = (stream.try_clone().unwrap(), content.clone());
            let writer = thread::spawn(move || {
                to.write_all(&content).unwrap();
                to.shutdown(Shutdown::Write).unwrap();
            });
            (writer, thread::spawn(move || read_all(&stream)))
        });
        for (writer, reader) in sides {
            writer.join().unwrap();
            assert!(reader.join().unwrap() == content);
        }
        relay.stop();
    }
}

#[test]
fn a_reset_is_passed_on() {
    for driver in drivers() {
        for client_breaks in [true, false] {
            let Pair { relay, mut client, mut server } = pair(driver);
            // Both connections have been used, so that the relay reads from both.
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
            server.write_all(b"y").unwrap();
            client.read_exact(&mut [0]).unwrap();
            let (breaks, mut other) =
                if client_breaks { (client, server) } else { (server, client) };
            reset(breaks);
            // Wine reports a reset as the end of the stream.
            match other.read(&mut [0]) {
                Ok(n) => assert!(cfg!(windows) && n == 0, "a reset was expected, not an end"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
            let ended = relay.stop();
            if cfg!(unix) {
                assert!(ended.stdout.contains("relayed 1 connections, 1 of them"), "{ended:?}");
            }
        }
    }
}

#[test]
fn a_server_that_is_not_there() {
    let (gone, _nobody) = dead_address();
    let gone = gone.to_string();
    for driver in drivers() {
        let (relay, mut client) = start(driver, &gone);
        client.write_all(b"anybody there?").unwrap();
        assert_eq!(read_all(&client), b"");
        drop(client);
        let said = relay.stderr.wait_for(|text| text.contains(&gone) && text.ends_with('\n'));
        assert!(said.is_ok(), "{said:?}");
        let ended = relay.stop();
        if cfg!(unix) {
            assert!(ended.stdout.contains("1 failed"), "{ended:?}");
        }
    }
}

#[test]
fn it_ends_while_it_relays() {
    for driver in drivers() {
        let Pair { relay, mut client, server } = pair(driver);
        client.write_all(b"x").unwrap();
        (&server).read_exact(&mut [0]).unwrap();
        let ended = relay.stop();
        if cfg!(unix) {
            assert!(ended.stdout.contains("0 failed, 1 still open"), "{ended:?}");
        }
    }
}

#[test]
fn wrong_addresses_are_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for driver in drivers() {
        for (listen, to, named) in [
            (taken.as_str(), "127.0.0.1:1", taken.as_str()),
            ("nonsense", "127.0.0.1:1", "nonsense"),
            ("127.0.0.1:0", "nonsense", "nonsense"),
        ] {
            let ended = Program::start("proxy", driver, &["--listen", listen, "--to", to]).end();
            assert_eq!(ended.code, Some(1), "{ended:?}");
            let clear = ended.stderr.contains(named) && ended.stderr.lines().count() == 1;
            assert!(clear, "{ended:?}");
        }
    }
}
