//! The end of the file server, which loses no request that has begun.

use super::drivers;
use super::http::{Client, request};
use super::program::LIMIT;
use super::serve_site::{Site, start};
use std::io::Read;
use std::net::TcpStream;
use std::time::Instant;

#[test]
fn a_download_is_finished_when_the_server_is_to_end() {
    let site = Site::new();
    for driver in drivers() {
        let server = start(site.dir.path(), driver, &["--cores", "2"]);
        let address = server.address();
        // Not yet begun, idle after a request, and in the middle of one.
        let mut fresh = TcpStream::connect(address).unwrap();
        let mut idle = Client::connect(address);
        idle.send(request("GET", "/hello.txt", "").as_bytes());
        assert_eq!(idle.receive(false).status, 200);
        let mut late = Client::connect(address);
        late.send(request("GET", "/hello.txt", "").as_bytes());
        assert_eq!(late.receive(false).status, 200);
        late.send(b"GET /hello.txt HT");
        // The size of a socket's buffers is a fraction of this.
        let large = std::fs::File::create(site.path("large")).unwrap();
        large.set_len(64 << 20).unwrap();
        let mut busy = Client::connect(address);
        busy.send(request("GET", "/large", "").as_bytes());
        let head = busy.receive_head();
        assert_eq!((head.status, head.header("content-length")), (200, "67108864"));

        server.signal("TERM");
        assert_eq!(idle.rest().unwrap(), b"");
        let mut nothing = Vec::new();
        assert!(fresh.read_to_end(&mut nothing).is_err() || nothing.is_empty());
        // A listener that is dropped is closed when its accept in flight has been cancelled.
        let limit = Instant::now() + LIMIT;
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < limit, "it still listens");
            std::thread::yield_now();
        }
        late.send(b"TP/1.1\r\nHost: test\r\n\r\n");
        let response = late.receive(false);
        assert_eq!((response.status, response.header("connection")), (200, "close"));
        assert_eq!(late.rest().unwrap(), b"");
        assert_eq!(busy.rest().unwrap().len(), 64 << 20);
        drop((late, busy));
        let ended = server.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("served 4 requests on 4 connections, 0 of"), "{ended:?}");
    }
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let site = Site::new();
    std::fs::File::create(site.path("large")).unwrap().set_len(64 << 20).unwrap();
    let driver = drivers()[0];
    let server = start(site.dir.path(), driver, &["--cores", "1"]);
    let mut busy = Client::connect(server.address());
    busy.send(request("GET", "/large", "").as_bytes());
    assert_eq!(busy.receive_head().status, 200);
    server.signal("INT");
    let ended = server.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("1 of them cut off"), "{ended:?}");
    let rest = busy.rest().map_or(0, |rest| rest.len());
    assert!(rest < 64 << 20, "{rest} bytes");
}
