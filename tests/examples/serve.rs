//! The file server, request by request, with a client that also sends what no browser would.

use super::http::{Client, Response, ask, get, request};
use super::serve_site::{SECRET, Site};
use crate::support::skipped;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, SystemTime};

#[test]
fn files_arrive_as_they_are() {
    let site = Site::new();
    site.on_every_driver(|address| {
        let cases: [(&str, &[u8], &str); 9] = [
            ("/hello.txt", b"0123456789", "text/plain; charset=utf-8"),
            ("/big.bin", &site.big, "application/octet-stream"),
            ("/empty", b"", "application/octet-stream"),
            ("/", b"<h1>index</h1>\n", "text/html; charset=utf-8"),
            ("/sub/", b"sub", "text/html; charset=utf-8"),
            ("/sub/deep/file.css?v=1", b"deep", "text/css; charset=utf-8"),
            ("/with%20space%20and%20100%25.txt", b"space", "text/plain; charset=utf-8"),
            ("/gr%C3%BCn.txt", b"umlaut", "text/plain; charset=utf-8"),
            ("http://test//./%68ello.txt", b"0123456789", "text/plain; charset=utf-8"),
        ];
        for (target, content, kind) in cases {
            let whole = get(address, target);
            assert_eq!((whole.status, whole.header("content-type")), (200, kind), "{target}");
            assert!(whole.body == content, "{target}: {} bytes", whole.body.len());
            assert!(whole.header("date").ends_with(" GMT"), "{whole:?}");
            let head = ask(address, "HEAD", target, "");
            for name in ["content-length", "content-type", "etag", "last-modified"] {
                assert_eq!(head.header(name), whole.header(name), "{target}: {name}");
            }
        }
    });
}

#[test]
fn answers_that_are_no_files() {
    let site = Site::new();
    let far = "a".repeat(300);
    site.on_every_driver(|address| {
        let status = |target: &str| get(address, target).status;
        let missing = ["/none", "/none/x", "/hello.txt/", "/hello.txt/x", "/a%2Fb", &far];
        for target in missing.map(|t| format!("/{}", t.trim_start_matches('/'))) {
            assert_eq!(status(&target), 404, "{target}");
        }
        for target in ["/bare/", "/sub/deep/"] {
            assert_eq!(status(target), 403, "{target}");
        }
        for target in ["hello.txt", "*", "/%", "/%4", "/%zz", "/%00", "/hello.txt%00.png"] {
            assert_eq!(status(target), 400, "{target}");
        }
        for (target, location) in [("/sub", "/sub/"), ("//sub?q=1", "/sub/?q=1")] {
            let moved = get(address, target);
            assert_eq!((moved.status, moved.header("location")), (301, location));
        }
        for method in ["POST", "DELETE", "OPTIONS", "get"] {
            let refused = ask(address, method, "/hello.txt", "");
            assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"), "{method}");
        }
        assert_eq!(ask(address, "HEAD", "/none", "").status, 404);
    });
}

#[test]
fn paths_do_not_leave_the_directory() {
    let site = Site::new();
    let outside = site.outside_name();
    let mut targets = vec!["/..".into(), "/../".into(), "/.%2e/etc/passwd".into()];
    for up in ["..", "%2e%2e", "%2E.", "..%2f..", "%2e%2e%2f", "..\\", "..%5c"] {
        targets.push(format!("/{up}/{outside}/secret.txt"));
        targets.push(format!("/sub/{up}/{up}/{outside}/secret.txt"));
        targets.push(format!("/sub/../{up}/{outside}/secret.txt"));
    }
    let absolute = site.path("hello.txt").canonicalize().unwrap();
    targets.push(format!("/{}", absolute.display()));
    targets.push(format!("/%2F{}", absolute.display()));
    site.on_every_driver(|address| {
        for target in &targets {
            let response = get(address, target);
            assert!([400, 403, 404].contains(&response.status), "{target}: {response:?}");
            assert!(!String::from_utf8_lossy(&response.body).contains(SECRET), "{target}");
        }
    });
}

#[cfg(unix)]
#[test]
fn links_are_followed_inside_only() {
    let site = Site::new();
    site.on_every_driver(|address| {
        for target in ["/inside", "/twice"] {
            assert_eq!(get(address, target).body, b"0123456789", "{target}");
        }
        assert_eq!(get(address, "/inside-dir/deep/file.css").body, b"deep");
        assert_eq!(get(address, "/inside-dir").header("location"), "/inside-dir/");
        for target in ["/out", "/out-dir/secret.txt", "/out-dir/", "/out-relative/secret.txt"] {
            let response = get(address, target);
            assert_eq!(response.status, 403, "{target}");
            assert!(!String::from_utf8_lossy(&response.body).contains(SECRET), "{target}");
        }
        for target in ["/loop", "/broken", "/loop/x"] {
            assert_eq!(get(address, target).status, 404, "{target}");
        }
    });
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_is_forbidden() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    site.write("closed", b"closed");
    let nobody = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(site.path("closed"), nobody).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.path("socket")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(site.path("pipe")).status();
    let all_powerful = std::fs::File::open(site.path("closed")).is_ok();
    site.on_every_driver(|address| {
        assert_eq!(get(address, "/socket").status, 403);
        match pipe {
            Ok(status) if status.success() => assert_eq!(get(address, "/pipe").status, 403),
            _ => skipped("there is no mkfifo for a pipe to be refused"),
        }
        if all_powerful {
            skipped("this user may read every file, so none can be forbidden");
        } else {
            assert_eq!(get(address, "/closed").status, 403);
        }
    });
}

#[test]
fn ranges() {
    let site = Site::new();
    site.on_every_driver(|address| {
        let range = |value: &str| ask(address, "GET", "/hello.txt", &format!("Range: {value}\r\n"));
        let parts: [(&str, &[u8], &str); 9] = [
            ("bytes=0-0", b"0", "bytes 0-0/10"),
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=0-", b"0123456789", "bytes 0-9/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=5-99999999999999999999999", b"56789", "bytes 5-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=-11", b"0123456789", "bytes 0-9/10"),
            ("Bytes= 9-9 ", b"9", "bytes 9-9/10"),
            ("bytes=-99999999999999999999999", b"0123456789", "bytes 0-9/10"),
        ];
        for (value, content, place) in parts {
            let part = range(value);
            assert_eq!((part.status, part.header("content-range")), (206, place), "{value}");
            assert_eq!(part.body, content, "{value}");
        }
        for value in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"] {
            let none = range(value);
            assert_eq!((none.status, none.header("content-range")), (416, "bytes */10"), "{value}");
        }
        for value in [
            "bytes=4-2",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-x",
            "lines=1-2",
            "bytes=0-1,3-4",
            "bytes",
            "bytes=+1-2",
            "bytes=--1",
            "bytes=12-11",
        ] {
            let whole = range(value);
            assert_eq!((whole.status, whole.body.len()), (200, 10), "{value}");
        }
        let empty = ask(address, "GET", "/empty", "Range: bytes=0-\r\n");
        assert_eq!((empty.status, empty.header("content-range")), (416, "bytes */0"));
        let head = ask(address, "HEAD", "/hello.txt", "Range: bytes=2-4\r\n");
        assert_eq!((head.status, head.header("content-length")), (200, "10"));
        let (from, to) = (1_000_000, 2_500_000);
        let middle = ask(address, "GET", "/big.bin", &format!("Range: bytes={from}-{to}\r\n"));
        assert!(middle.body == site.big[from..=to], "{} bytes", middle.body.len());
    });
}

#[test]
fn conditions() {
    let site = Site::new();
    site.on_every_driver(|address| {
        let first = get(address, "/hello.txt");
        let (tag, date) = (first.header("etag"), first.header("last-modified"));
        let old = "Sun, 06 Nov 1994 08:49:37 GMT";
        let with = |lines: String| ask(address, "GET", "/hello.txt", &lines);
        let cases = [
            (format!("If-None-Match: {tag}\r\n"), 304),
            (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
            ("If-None-Match: *\r\n".into(), 304),
            ("If-None-Match: \"x\"\r\n".into(), 200),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"), 200),
            (format!("If-Modified-Since: {date}\r\n"), 304),
            (format!("If-Modified-Since: {old}\r\n"), 200),
            ("If-Modified-Since: yesterday\r\n".into(), 200),
            (format!("If-Match: {tag}\r\n"), 200),
            (format!("If-Match: W/{tag}\r\n"), 412),
            ("If-Match: \"x\"\r\n".into(), 412),
            (format!("If-Unmodified-Since: {date}\r\n"), 200),
            (format!("If-Unmodified-Since: {old}\r\n"), 412),
            (format!("Range: bytes=1-2\r\nIf-Range: {tag}\r\n"), 206),
            (format!("Range: bytes=1-2\r\nIf-Range: {date}\r\n"), 206),
            (format!("Range: bytes=1-2\r\nIf-Range: W/{tag}\r\n"), 200),
            (format!("Range: bytes=1-2\r\nIf-Range: {old}\r\n"), 200),
        ];
        for (lines, status) in cases {
            let response = with(lines.clone());
            assert_eq!(response.status, status, "{lines}");
            if status == 304 {
                assert_eq!((response.header("etag"), response.body.len()), (tag, 0), "{lines}");
            }
        }
        // The same length at another time is another version.
        site.write("hello.txt", b"9876543210");
        let file = std::fs::File::options().write(true).open(site.path("hello.txt")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(1000)).unwrap();
        let changed = with(format!("If-None-Match: {tag}\r\n"));
        assert_eq!((changed.status, &*changed.body), (200, &b"9876543210"[..]));
        site.write("hello.txt", b"0123456789");
    });
}

#[test]
fn files_from_times_without_a_date() {
    let site = Site::new();
    let file = std::fs::File::options().write(true).open(site.path("hello.txt")).unwrap();
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(86_400);
    if file.set_modified(before).is_err() {
        return skipped("this file system has no times before 1970");
    }
    site.on_every_driver(|address| {
        let response = get(address, "/hello.txt");
        assert_eq!((response.status, response.header("last-modified")), (200, ""));
        assert!(!response.header("etag").is_empty());
    });
}

/// The answer to bytes that are no proper request, after which the server must close.
fn refused(address: SocketAddr, bytes: &[u8]) -> Response {
    let mut client = Client::connect(address);
    client.send(bytes);
    let response = client.receive(false);
    assert_eq!(response.header("connection"), "close", "{response:?}");
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest().expect("closed without a reset"), b"");
    response
}

#[test]
fn requests_that_are_none() {
    let site = Site::new();
    let line = "GET /hello.txt HTTP/1.1\r\nHost: test\r\n";
    let cases = [
        ("\x16\x03\x01\x02\0\x01\0\x01".to_string(), 400),
        ("GET\r\n\r\n".into(), 400),
        ("GET /hello.txt\r\n\r\n".into(), 400),
        ("GET /hello.txt JUNK\r\n\r\n".into(), 400),
        ("GET /hello.txt HTTP/1.1\r\n\r\n".into(), 400),
        (format!("{line}Host: other\r\n\r\n"), 400),
        (format!("{line}No colon\r\n\r\n"), 400),
        (format!("{line}Bad : name\r\n\r\n"), 400),
        (format!("{line}Content-Length: -1\r\n\r\n"), 400),
        (format!("{line}Content-Length: 1\r\nContent-Length: 2\r\n\r\n12"), 400),
        (format!("{line}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
        (format!("{line}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 411),
        (format!("{line}Content-Length: 99999999999999999999\r\n\r\n"), 413),
        ("GET /hello.txt HTTP/2.0\r\nHost: test\r\n\r\n".into(), 505),
        ("GET /hello.txt HTTP/0.9\r\nHost: test\r\n\r\n".into(), 505),
        (format!("{line}Long: {}\r\n\r\n", "x".repeat(20_000)), 431),
        (format!("{line}Long: {}", "x".repeat(20_000)), 431),
        (format!("{line}{}\r\n", "Many: x\r\n".repeat(200)), 431),
    ];
    site.on_every_driver(|address| {
        for (bytes, status) in &cases {
            let response = refused(address, bytes.as_bytes());
            assert_eq!(response.status, *status, "{:.60}", bytes);
        }
    });
}

#[test]
fn a_request_line_without_end_is_answered() {
    let site = Site::new();
    let line = format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(1 << 20));
    site.on_every_driver(|address| {
        assert_eq!(refused(address, line.as_bytes()).status, 414);
        assert_eq!(get(address, "/hello.txt").status, 200);
    });
}

#[test]
fn requests_in_a_row() {
    let site = Site::new();
    site.on_every_driver(|address| {
        let mut client = Client::connect(address);
        let targets = ["/hello.txt", "/none", "/empty", "/sub/deep/file.css", "/big.bin"];
        let all: String = (0..50).map(|i| request("GET", targets[i % 5], "")).collect();
        client.send(all.as_bytes());
        for i in 0..50 {
            let response = client.receive(false);
            let expected: &[u8] = match i % 5 {
                0 => b"0123456789",
                1 => b"404 Not Found\n",
                2 => b"",
                3 => b"deep",
                _ => &site.big,
            };
            assert!(response.body == expected, "{i}: {}", response.status);
        }
    });
}

#[test]
fn requests_in_pieces() {
    let site = Site::new();
    let second = request("GET", "/sub/deep/file.css", "X-Filler: some value\r\n");
    site.on_every_driver(|address| {
        let mut client = Client::connect(address);
        for cut in 0..=second.len() {
            // The first answer shows that the server has got the beginning of the second request.
            let (begin, end) = second.split_at(cut);
            client.send((request("GET", "/hello.txt", "") + begin).as_bytes());
            assert_eq!(client.receive(false).body, b"0123456789", "cut at {cut}");
            client.send(end.as_bytes());
            assert_eq!(client.receive(false).body, b"deep", "cut at {cut}");
        }
        for byte in second.bytes() {
            client.send(&[byte]);
        }
        assert_eq!(client.receive(false).body, b"deep");
    });
}

#[test]
fn bodies_are_passed_over() {
    let site = Site::new();
    site.on_every_driver(|address| {
        let mut client = Client::connect(address);
        for (method, status, len) in [("GET", 200, 5), ("POST", 405, 5), ("GET", 200, 900_000)] {
            let lines = format!("Content-Length: {len}\r\n");
            client.send((request(method, "/hello.txt", &lines) + &"G".repeat(len)).as_bytes());
            client.send(request("GET", "/sub/deep/file.css", "").as_bytes());
            assert_eq!(client.receive(false).status, status);
            assert_eq!(client.receive(false).body, b"deep");
        }
        // Who waits for a word before it sends its body is told at once.
        let lines = "Content-Length: 10\r\nExpect: 100-continue\r\n";
        assert_eq!(ask(address, "POST", "/hello.txt", lines).header("connection"), "close");
    });
}

#[test]
fn connections_stay_open_as_long_as_the_client_wants() {
    let site = Site::new();
    site.on_every_driver(|address| {
        let mut closing = Client::connect(address);
        closing.send(request("GET", "/hello.txt", "Connection: foo, Close\r\n").as_bytes());
        assert_eq!(closing.receive(false).header("connection"), "close");
        assert_eq!(closing.rest().unwrap(), b"");

        let mut old = Client::connect(address);
        old.send(b"GET /hello.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(old.receive(false).header("connection"), "keep-alive");
        old.send(b"GET /hello.txt HTTP/1.0\r\n\r\n");
        assert_eq!(old.receive(false).header("connection"), "close");
        assert_eq!(old.rest().unwrap(), b"");

        // A client that has ended its side still gets its answer.
        let mut half = Client::connect(address);
        half.send(request("GET", "/big.bin", "").as_bytes());
        half.stream().shutdown(Shutdown::Write).unwrap();
        assert!(half.receive(false).body == site.big);
        assert_eq!(half.rest().unwrap(), b"");
    });
}
