//! The body of a fuzz target; it belongs to no server.
//!
//! Whatever a client sends, the answer is one well-formed response about something inside of the
//! served directory.

use crate::find;
use crate::reply::{self, Fate};
use crate::request::{self, HEAD_MAX, Parsed};
use ringbolt::{Builder, DriverKind, Runtime};
use std::fs;
use std::path::{Path, PathBuf};

/// What no answer may reveal.
const SECRET: &str = "the secret";

/// A directory to serve, with links in it, and beside it what must stay hidden.
#[derive(Debug)]
pub(crate) struct Site {
    root: PathBuf,
    runtime: Runtime,
}

impl Site {
    /// Fills the empty directory `folder`.
    pub(crate) fn new(folder: &Path) -> Site {
        let root = folder.join("site");
        let write = |name: &str, content: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a name below the root")).expect("a folder");
            fs::write(path, content).expect("a file");
        };
        write("index.html", "index");
        write("a", "0123456789");
        write("d/index.html", "inner");
        write("d/b.txt", "b");
        write("e/c", "");
        fs::write(folder.join("hidden"), SECRET).expect("a file");
        #[cfg(unix)]
        for (target, name) in [
            ("a", "in"),
            ("d", "di"),
            ("../hidden", "out"),
            ("..", "up"),
            ("loop", "loop"),
            ("../site/a", "back"),
        ] {
            std::os::unix::fs::symlink(target, root.join(name)).expect("a link");
        }
        let runtime = Builder::new().driver(DriverKind::Readiness).build().expect("a runtime");
        Site { root: root.canonicalize().expect("a folder"), runtime }
    }

    /// Answers `data` as one connection would.
    pub(crate) fn http_request(&self, data: &[u8]) {
        let mut bytes = data;
        // Several requests may come in one piece.
        for _ in 0..4 {
            match request::parse(bytes) {
                Parsed::Partial => {
                    assert!(bytes.len() <= HEAD_MAX, "a head of {} bytes goes on", bytes.len());
                    break;
                }
                Parsed::Refused(status) => {
                    let mut out = Vec::new();
                    reply::refuse(status, request::Method::Get, Fate::Close, &mut out);
                    let head = check_head(&out);
                    assert!((400..600).contains(&head.code), "{head:?}");
                    break;
                }
                Parsed::Complete(request, len) => {
                    assert!((1..=HEAD_MAX.min(bytes.len())).contains(&len));
                    check_prefixes(bytes, len);
                    self.answer(&request);
                    bytes = &bytes[len..];
                }
            }
        }
    }

    fn answer(&self, request: &request::Request<'_>) {
        let mut out = Vec::new();
        let body = self.runtime.block_on(reply::answer(&self.root, request, Fate::Open, &mut out));
        let head = check_head(&out);
        assert!(!String::from_utf8_lossy(&out).contains(SECRET));
        let Some(body) = body else {
            assert!(!matches!(head.code, 206) || request.method != request::Method::Get);
            return;
        };
        assert!(matches!(head.code, 200 | 206), "{head:?} with a body");
        assert_eq!(head.content_len, Some(body.len));
        let content = self.runtime.block_on(async {
            let (start, len) = (body.start, body.len as usize);
            let read = body.file.read_at(Vec::with_capacity(len), start).await;
            read.1
        });
        assert_eq!(content.len() as u64, body.len, "the part is inside of the file");
        assert!(!content.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
        let (path, _) = find::split(request.target).expect("a file was found for it");
        self.check_path(path, &content, body.start);
    }

    /// What was found is what the decoded path leads to, and that is inside of the root.
    fn check_path(&self, path: &str, content: &[u8], start: u64) {
        let decoded = decode(path);
        let inside = decoded.trim_start_matches('/');
        let mut real = self.root.join(inside);
        if decoded.ends_with('/') {
            real.push("index.html");
        }
        let real = real.canonicalize().expect("a file that was served");
        assert!(real.starts_with(&self.root), "{real:?} was served");
        let whole = fs::read(&real).expect("a file that was served");
        assert_eq!(content, &whole[start as usize..][..content.len()]);
    }
}

/// Fewer bytes are no other request: the end of a head does not depend on what follows.
fn check_prefixes(bytes: &[u8], len: usize) {
    let shorter = request::parse(&bytes[..len]);
    assert!(matches!(shorter, Parsed::Complete(_, same) if same == len), "{shorter:?}");
    let partial = request::parse(&bytes[..len - 1]);
    assert!(matches!(partial, Parsed::Partial), "{partial:?}");
}

#[derive(Debug)]
struct Head {
    code: u16,
    content_len: Option<u64>,
}

/// Reads a response back: there is one head, and no client can write into it.
fn check_head(out: &[u8]) -> Head {
    let mut lines = [httparse::EMPTY_HEADER; 20];
    let mut parser = httparse::Response::new(&mut lines);
    let parsed = parser.parse(out).expect("a response");
    let httparse::Status::Complete(len) = parsed else { panic!("half a response: {parser:?}") };
    const NAMES: [&str; 12] = [
        "Date",
        "Connection",
        "Location",
        "Content-Length",
        "Content-Type",
        "Content-Range",
        "ETag",
        "Last-Modified",
        "Accept-Ranges",
        "Allow",
        "Server",
        "Cache-Control",
    ];
    let mut names: Vec<&str> = parser.headers.iter().map(|header| header.name).collect();
    assert!(names.iter().all(|name| NAMES.contains(name)), "{names:?}");
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "a header comes twice");
    let value = |name: &str| parser.headers.iter().find(|header| header.name == name);
    let number = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    let content_len = value("Content-Length").map(|h| number(h.value).expect("a number"));
    let text = &out[len..];
    assert!(text.is_empty() || content_len == Some(text.len() as u64), "{parser:?}");
    if let Some(place) = value("Location") {
        assert!(place.value.starts_with(b"/") && !place.value.starts_with(b"//"), "{parser:?}");
    }
    Head { code: parser.code.expect("a whole response"), content_len }
}

/// Undoes the encoding of a path in the plainest way.
fn decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next().expect("two digits")).to_digit(16);
        let (high, low) = (digit().expect("a digit"), digit().expect("a digit"));
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).expect("the names in the site are ASCII")
}
