//! What is sent back: the head of a response, and which bytes of which file follow it.

use crate::content_type;
use crate::find::{self, Found};
use crate::range::{self, Wanted};
use crate::request::{Method, Request};
use httpdate::HttpDate;
use ringbolt::fs::{File, Metadata};
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second that has no date in HTTP, the one after the year 9999.
const DATES_END: Duration = Duration::from_secs(253_402_300_800);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u16, &'static str);

impl Status {
    pub(crate) const OK: Status = Status(200, "OK");
    pub(crate) const PARTIAL: Status = Status(206, "Partial Content");
    pub(crate) const MOVED: Status = Status(301, "Moved Permanently");
    pub(crate) const NOT_MODIFIED: Status = Status(304, "Not Modified");
    pub(crate) const BAD_REQUEST: Status = Status(400, "Bad Request");
    pub(crate) const FORBIDDEN: Status = Status(403, "Forbidden");
    pub(crate) const NOT_FOUND: Status = Status(404, "Not Found");
    pub(crate) const NOT_ALLOWED: Status = Status(405, "Method Not Allowed");
    pub(crate) const TIMEOUT: Status = Status(408, "Request Timeout");
    pub(crate) const LENGTH_REQUIRED: Status = Status(411, "Length Required");
    pub(crate) const PRECONDITION_FAILED: Status = Status(412, "Precondition Failed");
    pub(crate) const TOO_LARGE: Status = Status(413, "Content Too Large");
    pub(crate) const URI_TOO_LONG: Status = Status(414, "URI Too Long");
    pub(crate) const RANGE_NOT_SATISFIABLE: Status = Status(416, "Range Not Satisfiable");
    pub(crate) const HEADERS_TOO_LARGE: Status = Status(431, "Request Header Fields Too Large");
    pub(crate) const INTERNAL_ERROR: Status = Status(500, "Internal Server Error");
    pub(crate) const VERSION_NOT_SUPPORTED: Status = Status(505, "HTTP Version Not Supported");
}

/// `len` bytes of `file` from `start` on.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) file: File,
    pub(crate) start: u64,
    pub(crate) len: u64,
}

/// Whether the connection goes on after a reply, and whether the client has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on, as it does by default.
    Open,
    /// It goes on, which a client of HTTP/1.0 does not expect.
    KeptAlive,
    Close,
}

/// Writes the head of the answer to `request` into `out`, and tells what follows it.
pub(crate) async fn answer(
    root: &Path,
    request: &Request<'_>,
    fate: Fate,
    out: &mut Vec<u8>,
) -> Option<Body> {
    let failed = |status, out: &mut Vec<u8>| {
        refuse(status, request.method, fate, out);
        None
    };
    if request.method == Method::Other {
        return failed(Status::NOT_ALLOWED, out);
    }
    let (path, query) = match find::split(request.target) {
        Ok(parts) => parts,
        Err(status) => return failed(status, out),
    };
    match find::open(root, path).await {
        Ok(Found::File(file, metadata, at)) => {
            answer_file(request, fate, file, &metadata, &at, out)
        }
        Ok(Found::Directory) => {
            // One slash at the front only: two would name another host.
            let path = path.trim_start_matches('/');
            begin(out, Status::MOVED, fate);
            header(out, "Location", format_args!("/{path}/{query}"));
            header(out, "Content-Length", 0);
            end(out);
            None
        }
        Err(status) => failed(status, out),
    }
}

/// Writes a whole response that says what went wrong.
pub(crate) fn refuse(status: Status, method: Method, fate: Fate, out: &mut Vec<u8>) {
    let Status(code, reason) = status;
    begin(out, status, fate);
    if status == Status::NOT_ALLOWED {
        header(out, "Allow", "GET, HEAD");
    }
    header(out, "Content-Type", "text/plain; charset=utf-8");
    // Three digits, two blanks in all, and the end of the line.
    header(out, "Content-Length", reason.len() + 5);
    end(out);
    if method != Method::Head {
        put(out, format_args!("{code} {reason}\n"));
    }
}

fn answer_file(
    request: &Request<'_>,
    fate: Fate,
    file: File,
    metadata: &Metadata,
    path: &Path,
    out: &mut Vec<u8>,
) -> Option<Body> {
    let version = Version::of(metadata);
    let total = metadata.len();
    let (mut status, mut start, mut len) = (Status::OK, 0, total);
    match version.check(request) {
        Status::OK => {}
        Status::NOT_MODIFIED => {
            begin(out, Status::NOT_MODIFIED, fate);
            version.write(out);
            end(out);
            return None;
        }
        status => {
            refuse(status, request.method, fate, out);
            return None;
        }
    }
    let range = request.range.filter(|_| request.method == Method::Get);
    let range = range.filter(|_| request.if_range.is_none_or(|value| version.is_exactly(value)));
    match range.map_or(Wanted::Whole, |value| range::wanted(value, total)) {
        Wanted::Whole => {}
        Wanted::Part { start: from, len: part } => {
            (status, start, len) = (Status::PARTIAL, from, part);
        }
        Wanted::Nothing => {
            begin(out, Status::RANGE_NOT_SATISFIABLE, fate);
            header(out, "Content-Range", format_args!("bytes */{total}"));
            header(out, "Content-Length", 0);
            end(out);
            return None;
        }
    }
    begin(out, status, fate);
    header(out, "Content-Type", content_type::of(path));
    header(out, "Content-Length", len);
    if status == Status::PARTIAL {
        let last = start + len - 1;
        header(out, "Content-Range", format_args!("bytes {start}-{last}/{total}"));
    }
    version.write(out);
    header(out, "Accept-Ranges", "bytes");
    end(out);
    (request.method == Method::Get && len > 0).then_some(Body { file, start, len })
}

/// Which version of a file it is: its tag changes whenever length, time or place on the disk do.
struct Version {
    tag: String,
    /// `None` for a time that has no date in HTTP.
    modified: Option<HttpDate>,
}

impl Version {
    fn of(metadata: &Metadata) -> Version {
        let modified = metadata.modified();
        let since = modified.duration_since(UNIX_EPOCH).ok().filter(|since| *since < DATES_END);
        let nanos = since.map_or(0, |since| since.as_nanos());
        let (len, place) = (metadata.len(), metadata.id().1);
        Version {
            tag: format!("\"{len:x}-{nanos:x}-{place:x}\""),
            modified: since.map(|_| modified.into()),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        header(out, "ETag", &self.tag);
        if let Some(date) = self.modified {
            header(out, "Last-Modified", date);
        }
    }

    /// Whether the request still holds for this version (RFC 9110, 13.2.2).
    fn check(&self, request: &Request<'_>) -> Status {
        let newer = |value| match (self.modified, date(value)) {
            (Some(modified), Some(date)) => modified > date,
            _ => true,
        };
        let failed = match (request.if_match, request.if_unmodified_since) {
            (Some(tags), _) => !self.is_among(tags, false),
            (None, Some(value)) => date(value).is_some() && newer(value),
            (None, None) => false,
        };
        let known = match (request.if_none_match, request.if_modified_since) {
            (Some(tags), _) => self.is_among(tags, true),
            (None, Some(value)) => !newer(value),
            (None, None) => false,
        };
        match (failed, known) {
            (true, _) => Status::PRECONDITION_FAILED,
            (_, true) => Status::NOT_MODIFIED,
            _ => Status::OK,
        }
    }

    /// Whether a list of tags has this one, or is the star that stands for all. A weak tag says
    /// that the content means the same, which is enough for a copy that is to be kept.
    fn is_among(&self, tags: &[u8], weak_too: bool) -> bool {
        tags.trim_ascii() == b"*"
            || tags.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(|tag| {
                let bare = tag.strip_prefix(b"W/").filter(|_| weak_too).unwrap_or(tag);
                bare == self.tag.as_bytes()
            })
    }

    /// Whether the value of `If-Range`, a tag or a date, names this very version.
    fn is_exactly(&self, value: &[u8]) -> bool {
        value == self.tag.as_bytes() || (self.modified.is_some() && date(value) == self.modified)
    }
}

fn date(value: &[u8]) -> Option<HttpDate> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn begin(out: &mut Vec<u8>, status: Status, fate: Fate) {
    let Status(code, reason) = status;
    put(out, format_args!("HTTP/1.1 {code} {reason}\r\n"));
    header(out, "Date", HttpDate::from(SystemTime::now()));
    match fate {
        Fate::Open => {}
        Fate::KeptAlive => header(out, "Connection", "keep-alive"),
        Fate::Close => header(out, "Connection", "close"),
    }
}

fn header(out: &mut Vec<u8>, name: &str, value: impl Display) {
    put(out, format_args!("{name}: {value}\r\n"));
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, text: impl Display) {
    write!(out, "{text}").expect("a vector takes all bytes");
}
