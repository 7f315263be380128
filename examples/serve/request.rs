//! What a client asks for: the head of an HTTP/1.1 request (RFC 9112).
//!
//! `httparse` finds the lines; here is decided what they mean for a server of files, and what makes
//! the place where the request ends doubtful. Such a request is refused and the connection closed,
//! since the next bytes could be read as another request than the client meant.

use crate::reply::Status;
use httparse::Error;
use std::mem::MaybeUninit;

/// The longest head of a request, in bytes.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
/// The most header lines of a request.
const HEADERS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Other,
}

/// A request; its texts are parts of the bytes that were received.
#[derive(Debug)]
pub(crate) struct Request<'b> {
    pub(crate) method: Method,
    pub(crate) target: &'b str,
    /// HTTP/1.1, not 1.0.
    pub(crate) is_1_1: bool,
    /// Whether the client would send another request on this connection.
    pub(crate) keep_alive: bool,
    /// Bytes that follow the head.
    pub(crate) body_len: u64,
    /// The client waits for an answer before it sends the body.
    pub(crate) expects: bool,
    pub(crate) range: Option<&'b [u8]>,
    pub(crate) if_range: Option<&'b [u8]>,
    pub(crate) if_match: Option<&'b [u8]>,
    pub(crate) if_none_match: Option<&'b [u8]>,
    pub(crate) if_modified_since: Option<&'b [u8]>,
    pub(crate) if_unmodified_since: Option<&'b [u8]>,
}

#[derive(Debug)]
pub(crate) enum Parsed<'b> {
    /// The head has not arrived completely.
    Partial,
    /// The request, and how many bytes its head has.
    Complete(Request<'b>, usize),
    /// Nothing that can be answered but with this; the connection cannot go on.
    Refused(Status),
}

/// Reads the head that `bytes` begins with.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parser = httparse::Request::new(&mut []);
    match parser.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Partial) if bytes.len() > HEAD_MAX => Parsed::Refused(too_long(bytes)),
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Ok(httparse::Status::Complete(len)) if len > HEAD_MAX => Parsed::Refused(too_long(bytes)),
        Ok(httparse::Status::Complete(len)) => match understand(&parser) {
            Ok(request) => Parsed::Complete(request, len),
            Err(status) => Parsed::Refused(status),
        },
        Err(Error::TooManyHeaders) => Parsed::Refused(Status::HEADERS_TOO_LARGE),
        Err(Error::Version) if names_other_version(bytes) => {
            Parsed::Refused(Status::VERSION_NOT_SUPPORTED)
        }
        Err(_) => Parsed::Refused(Status::BAD_REQUEST),
    }
}

/// Whether it is the first line that takes all the room, or the headers.
fn too_long(bytes: &[u8]) -> Status {
    let line = bytes.iter().take(HEAD_MAX).position(|&byte| byte == b'\n');
    if line.is_none() { Status::URI_TOO_LONG } else { Status::HEADERS_TOO_LARGE }
}

/// Whether the first line ends as one of HTTP does, in a version that is not ours.
fn names_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let last = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    last.strip_prefix(b"HTTP/")
        .is_some_and(|version| version.first().is_some_and(u8::is_ascii_digit))
}

fn understand<'b>(parser: &httparse::Request<'_, 'b>) -> Result<Request<'b>, Status> {
    let is_1_1 = parser.version == Some(1);
    let method = match parser.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => Method::Other,
    };
    let mut request = Request {
        method,
        target: parser.path.unwrap_or_default(),
        is_1_1,
        keep_alive: is_1_1,
        body_len: 0,
        expects: false,
        range: None,
        if_range: None,
        if_match: None,
        if_none_match: None,
        if_modified_since: None,
        if_unmodified_since: None,
    };
    let (mut hosts, mut body_len, mut coded) = (0, None, false);
    for header in parser.headers.iter() {
        let value = header.value;
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("connection") {
            for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                if token.eq_ignore_ascii_case(b"close") {
                    request.keep_alive = false;
                } else if token.eq_ignore_ascii_case(b"keep-alive") && !is_1_1 {
                    request.keep_alive = true;
                }
            }
        } else if is("content-length") {
            let len = number(value).ok_or(Status::BAD_REQUEST)?;
            if body_len.replace(len).is_some_and(|before| before != len) {
                return Err(Status::BAD_REQUEST);
            }
        } else if is("transfer-encoding") {
            coded = true;
        } else if is("expect") {
            request.expects = true;
        } else if is("range") {
            request.range = Some(value);
        } else if is("if-range") {
            request.if_range = Some(value);
        } else if is("if-match") {
            request.if_match = Some(value);
        } else if is("if-none-match") {
            request.if_none_match = Some(value);
        } else if is("if-modified-since") {
            request.if_modified_since = Some(value);
        } else if is("if-unmodified-since") {
            request.if_unmodified_since = Some(value);
        }
    }
    if hosts > 1 || (is_1_1 && hosts == 0) || (coded && body_len.is_some()) {
        return Err(Status::BAD_REQUEST);
    }
    // A file server has no use for a body, so it does not learn the ways to wrap one.
    if coded {
        return Err(Status::LENGTH_REQUIRED);
    }
    request.body_len = body_len.unwrap_or(0);
    Ok(request)
}

/// A number of decimal digits and nothing else; one too large to count to is the largest there is.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |byte: &u8| u64::from(byte - b'0');
    Some(text.iter().fold(0, |n: u64, byte| n.saturating_mul(10).saturating_add(digit(byte))))
}
