//! A client for HTTP that does what it is told, right or wrong.

use super::program::LIMIT;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub(super) struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// The value of a header, or the empty text.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, LIMIT).expect("the server accepts");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Client { stream, reader }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next response; to a `HEAD` it has no body, whatever its head says.
    pub(super) fn receive(&mut self, is_head: bool) -> Response {
        let mut response = self.receive_head();
        let len = response.header("content-length").parse().unwrap_or(0);
        if !is_head {
            response.body.resize(len, 0);
            self.reader.read_exact(&mut response.body).expect("the whole body");
        }
        response
    }

    pub(super) fn receive_head(&mut self) -> Response {
        let line = self.line();
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("HTTP/1.1"), "{line}");
        let status = words.next().and_then(|code| code.parse().ok()).expect("a status");
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "");
                break;
            };
            headers.push((name.into(), value.into()));
        }
        Response { status, headers, body: Vec::new() }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line of a response");
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no whole line: {line:?}")).into()
    }

    /// What comes until the server closes; an error if it does so with a reset.
    pub(super) fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).map(|_| rest)
    }

    /// Leaves without a word.
    pub(super) fn reset(self) {
        crate::support::reset(self.stream);
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// A request on a connection of its own, with further header lines.
pub(super) fn ask(address: SocketAddr, method: &str, target: &str, more: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(request(method, target, more).as_bytes());
    client.receive(method == "HEAD")
}

pub(super) fn get(address: SocketAddr, target: &str) -> Response {
    ask(address, "GET", target, "")
}

/// The text of a request.
pub(super) fn request(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{more}\r\n")
}
