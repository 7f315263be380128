//! One client: requests come in, one after the other, and each is answered before the next is read.
//!
//! Bytes are collected until a head is complete, wherever the network has cut it, and what follows
//! stays for the next request. A connection that ends is closed only after the client had time to
//! read the last answer: a socket that is closed while bytes wait in it resets the connection, and
//! the answer would be lost with it.

use crate::reply::{self, Body, Fate, Status};
use crate::request::{self, Method, Parsed};
use crate::site::Site;
use ringbolt::net::TcpStream;
use ringbolt::{BufResult, IoBufMut, timeout};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a client may take to send a request, counted from when it could begin.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How long a client may take to receive one buffer.
const SEND_LIMIT: Duration = Duration::from_secs(60);
/// Bytes after the head of a request that are read and thrown away.
const BODY_MAX: u64 = 1024 * 1024;
/// What is read and thrown away before a connection is closed: for how long, and how much.
const LINGER: Duration = Duration::from_secs(3);
const LINGER_MAX: usize = 8 * 1024 * 1024;
/// Memory for requests that a connection keeps while it waits.
const INPUT_KEPT: usize = 4 * 1024;

#[derive(Debug)]
pub(crate) struct Connection {
    site: Rc<Site>,
    stream: TcpStream,
    /// What was received; up to `used` it has been dealt with.
    input: Vec<u8>,
    used: usize,
    idle: Rc<Cell<bool>>,
}

/// What comes after an answer.
enum Next {
    Request,
    /// The client has gone.
    Drop,
    /// The client may still be sending.
    Linger,
}

impl Connection {
    pub(crate) fn new(site: Rc<Site>, stream: TcpStream, idle: Rc<Cell<bool>>) -> Connection {
        Connection { site, stream, input: Vec::new(), used: 0, idle }
    }

    pub(crate) async fn run(&mut self) {
        loop {
            match self.exchange().await {
                Ok(Next::Request) if !self.site.ending.get() => {}
                Ok(Next::Request | Next::Linger) => return self.linger().await,
                // With the connection broken there is nobody to tell.
                Ok(Next::Drop) | Err(_) => return,
            }
        }
    }

    /// Reads one request and answers it.
    async fn exchange(&mut self) -> io::Result<Next> {
        let until = Instant::now() + REQUEST_LIMIT;
        loop {
            match request::parse(&self.input[self.used..]) {
                Parsed::Partial => {}
                Parsed::Refused(status) => return self.refuse(status).await,
                Parsed::Complete(request, len) => {
                    self.site.requests.set(self.site.requests.get() + 1);
                    let (method, body_len) = (request.method, request.body_len);
                    let skips = body_len <= BODY_MAX && !request.expects;
                    let goes_on = request.keep_alive && !self.site.ending.get();
                    let fate = match goes_on && (body_len == 0 || skips) {
                        true if request.is_1_1 => Fate::Open,
                        true => Fate::KeptAlive,
                        false => Fate::Close,
                    };
                    let mut out = self.site.buffer();
                    let body = if body_len > BODY_MAX && method != Method::Other {
                        reply::refuse(Status::TOO_LARGE, method, fate, &mut out);
                        None
                    } else {
                        reply::answer(&self.site.root, &request, fate, &mut out).await
                    };
                    self.used += len;
                    if body_len > 0 && skips && !self.skip(body_len, until).await? {
                        return Ok(Next::Drop);
                    }
                    self.send(method, fate, out, body).await?;
                    return Ok(if fate == Fate::Close { Next::Linger } else { Next::Request });
                }
            }
            self.idle.set(self.used == self.input.len());
            let more = self.receive(until).await?;
            self.idle.set(false);
            if !more {
                // A client that goes silent in the middle of a request is told why it is left.
                let cut = self.used < self.input.len() && until <= Instant::now();
                return if cut { self.refuse(Status::TIMEOUT).await } else { Ok(Next::Drop) };
            }
        }
    }

    /// Adds what comes next to the input. False if nothing comes any more, or not in time.
    async fn receive(&mut self, until: Instant) -> io::Result<bool> {
        self.input.drain(..self.used);
        self.used = 0;
        if self.input.is_empty() {
            self.input.shrink_to(INPUT_KEPT);
        }
        let received = in_time(until, self.stream.recv()).await?;
        let Some(chunk) = received.flatten() else { return Ok(false) };
        self.input.extend_from_slice(&chunk);
        Ok(true)
    }

    /// Throws the next `len` bytes away. False if they do not come.
    async fn skip(&mut self, len: u64, until: Instant) -> io::Result<bool> {
        let mut left = len;
        loop {
            let n = left.min((self.input.len() - self.used) as u64);
            self.used += n as usize;
            left -= n;
            if left == 0 {
                return Ok(true);
            }
            if !self.receive(until).await? {
                return Ok(false);
            }
        }
    }

    /// Answers what is not even a request, after which the connection cannot go on.
    async fn refuse(&mut self, status: Status) -> io::Result<Next> {
        let mut out = self.site.buffer();
        reply::refuse(status, Method::Other, Fate::Close, &mut out);
        self.send(Method::Other, Fate::Close, out, None).await?;
        Ok(Next::Linger)
    }

    /// Sends a head, and a body if there is one: as much of it as fits goes out with the head, so
    /// that a small file takes one call.
    async fn send(
        &mut self,
        method: Method,
        fate: Fate,
        mut out: Vec<u8>,
        body: Option<Body>,
    ) -> io::Result<()> {
        let (mut at, mut left) = body.as_ref().map_or((0, 0), |body| (body.start, body.len));
        let mut is_first = true;
        loop {
            if let Some(Body { file, .. }) = body.as_ref().filter(|_| left > 0) {
                let begin = out.len();
                let n = left.min((out.capacity() - begin) as u64);
                let room = out.slice_mut(begin..begin + n as usize);
                let BufResult(result, room) = file.read_exact_at(room, at).await;
                out = room.into_inner();
                match result {
                    Ok(()) => {}
                    Err(_) if is_first => {
                        out.clear();
                        reply::refuse(Status::INTERNAL_ERROR, method, fate, &mut out);
                        left = n;
                    }
                    // The client sees that bytes are missing when the connection is closed.
                    Err(error) => return Err(error),
                }
                at += n;
                left -= n;
            }
            let sent = timeout(SEND_LIMIT, self.stream.write_all(out)).await;
            let BufResult(result, buf) = sent?;
            result?;
            if left == 0 {
                self.site.put_back(buf);
                return Ok(());
            }
            out = buf;
            out.clear();
            is_first = false;
        }
    }

    /// Says that nothing more will come, and waits until the client has seen that.
    async fn linger(&mut self) {
        if self.stream.shutdown(Shutdown::Write).await.is_err() {
            return;
        }
        let until = Instant::now() + LINGER;
        let mut thrown_away = 0;
        while thrown_away < LINGER_MAX {
            match in_time(until, self.stream.recv()).await {
                Ok(Some(Some(chunk))) => thrown_away += chunk.len(),
                _ => return,
            }
        }
    }
}

/// The result of a receive, or `None` if it did not come before `until`.
async fn in_time<T>(
    until: Instant,
    receive: impl Future<Output = io::Result<T>>,
) -> io::Result<Option<T>> {
    match timeout(until.saturating_duration_since(Instant::now()), receive).await {
        Ok(Ok(received)) => Ok(Some(received)),
        Ok(Err(error)) if !ringbolt::is_cancelled(&error) => Err(error),
        _ => Ok(None),
    }
}
