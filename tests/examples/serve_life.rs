//! The file server: its start, its listeners, and what may go wrong meanwhile.

use super::drivers;
use super::http::{Client, ask, get, request};
use super::program::{Program, binary, tool};
use super::serve_site::{Site, start};
use crate::support::skipped;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

#[test]
fn it_says_where_and_how_it_serves() {
    let site = Site::new();
    for driver in drivers() {
        let server = start(site.dir.path(), driver, &["--cores", "1"]);
        let address = server.address();
        assert_eq!(get(address, "/hello.txt").status, 200);
        let text = server.stdout.text();
        let name = if driver == "uring" { "driver: io_uring" } else { "driver: " };
        let parts = [name, "cores: 1\n", &format!("listening on {address}\n")];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(driver == "uring", text.contains("io_uring"), "{text}");
        let ended = server.stop();
        if cfg!(unix) {
            let last = "served 1 requests on 1 connections, 0 of them cut off\n";
            assert!(ended.stdout.ends_with(last), "{ended:?}");
        }
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn a_file_that_shrinks_ends_the_connection() {
    let site = Site::new();
    site.on_every_driver(|address| {
        let file = std::fs::File::create(site.path("shrinking")).unwrap();
        file.set_len(64 << 20).unwrap();
        let mut client = Client::connect(address);
        client.send(request("GET", "/shrinking", "").as_bytes());
        assert_eq!(client.receive_head().status, 200);
        file.set_len(1000).unwrap();
        let got = client.rest().map_or(0, |rest| rest.len());
        assert!(got < 64 << 20, "{got} bytes");
        assert_eq!(get(address, "/shrinking").body.len(), 1000);
    });
}

#[test]
fn clients_that_leave_disturb_nobody() {
    let site = Site::new();
    site.on_every_driver(|address| {
        for i in 0..50 {
            let mut client = Client::connect(address);
            client.send(request("GET", "/big.bin", "").as_bytes());
            match i % 3 {
                0 => assert_eq!(client.receive_head().status, 200),
                1 => client.send(b"GET /hello"),
                _ => client.reset(),
            }
        }
        assert_eq!(get(address, "/hello.txt").status, 200);
    });
}

#[test]
fn one_listener_serves_all_cores() {
    let site = Site::new();
    for driver in drivers() {
        let server = start(site.dir.path(), driver, &["--cores", "3", "--one-listener"]);
        let address = server.address();
        let mut clients: Vec<_> = (0..12).map(|_| Client::connect(address)).collect();
        for _ in 0..3 {
            for client in &mut clients {
                client.send(request("GET", "/hello.txt", "").as_bytes());
            }
            for client in &mut clients {
                assert_eq!(client.receive(false).body, b"0123456789");
            }
        }
        drop(clients);
        let ended = server.stop();
        if cfg!(unix) {
            assert!(ended.stdout.contains("served 36 requests on 12 connections"), "{ended:?}");
        }
    }
}

#[test]
fn what_is_in_the_way_is_said() {
    let site = Site::new();
    let dir = site.dir.path().to_str().unwrap();
    let file = site.path("hello.txt");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cases = [
        (["--dir", dir, "--addr", &address], address.as_str()),
        (["--dir", "no/such/place", "--addr", "127.0.0.1:0"], "no/such/place"),
        (["--dir", file.to_str().unwrap(), "--addr", "127.0.0.1:0"], "hello.txt"),
        (["--dir", dir, "--addr", "nonsense"], "HOST:PORT"),
        (["--dir", dir, "--addr", "127.0.0.1:99999"], "HOST:PORT"),
        // An address for documentation, which no machine has (RFC 5737).
        (["--dir", dir, "--addr", "192.0.2.1:8080"], "192.0.2.1:8080"),
    ];
    for driver in drivers() {
        for (arguments, named) in &cases {
            let ended = Program::start("serve", driver, arguments).end();
            assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            let is_clear = ended.stderr.starts_with("serve: ") && ended.stderr.contains(named);
            assert!(is_clear, "{arguments:?}: {ended:?}");
        }
        // A server of ours shares its port among its cores, and with nobody else.
        let first = start(site.dir.path(), driver, &[]);
        let address = first.address().to_string();
        let second = Program::start("serve", driver, &["--dir", dir, "--addr", &address]).end();
        assert_eq!(second.code, Some(1), "{second:?}");
        first.stop();
    }
}

#[test]
fn without_io_uring_it_says_so_once_and_serves() {
    if !cfg!(target_os = "linux") {
        return skipped("this system has no io_uring to be denied");
    }
    let Some(python) = tool("python3") else { return };
    let site = Site::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deny-io-uring.py");
    let mut command = Command::new(python);
    command.arg(script).arg("--").arg(binary("serve")).arg("--dir").arg(site.dir.path());
    command.args(["--addr", "127.0.0.1:0", "--cores", "2"]).env_remove("RINGBOLT_DRIVER");
    let server = Program::run(command);
    let address = server.address();
    assert_eq!(get(address, "/hello.txt").body, b"0123456789");
    assert!(get(address, "/big.bin").body == site.big);
    assert_eq!(ask(address, "GET", "/hello.txt", "Range: bytes=1-1\r\n").body, b"1");
    let ended = server.stop();
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("io_uring is not available"), "{ended:?}");
    assert!(ended.stderr.contains("seccomp"), "{ended:?}");
}

#[test]
fn many_clients_at_a_time() {
    let site = Site::new();
    site.on_every_driver(|address| {
        let mut threads = Vec::new();
        for _ in 0..8 {
            threads.push(std::thread::spawn(move || download_all(address)));
        }
        let bytes: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(bytes > 200 * site.big.len() as u64, "{bytes} bytes");
    });
}

/// Asks for the large file 25 times at once; how many bytes came back.
fn download_all(address: SocketAddr) -> u64 {
    let last = request("GET", "/big.bin", "Connection: close\r\n");
    let mut streams = Vec::new();
    for _ in 0..25 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(last.as_bytes()).unwrap();
        streams.push(stream);
    }
    let drain = |mut stream| std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    streams.into_iter().map(drain).sum()
}
