//! Channels of numbered records: each that was sent is received once, by whoever it is.
//!
//! A future that is dropped does not tell what became of its operation, but its operation does: the
//! result of an orphan is decoded like any other. So the book of a channel knows of every record
//! whether it was sent and whether it was received, and both must agree in the end. A record is a
//! message of a `SOCK_SEQPACKET` socket, or two words in a pipe, where they are not torn apart
//! (pipe(7)).

use crate::guard::{Arena, Guard, PAGE};
use crate::ledger::{self, seen};
use ringbolt::op::{self, Fd, Op, Submit};
use ringbolt::{BufResult, DriverKind};
use socket2::{Domain, Socket, Type};
use std::cell::RefCell;
use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// Words of the longest message.
const WORDS_MAX: usize = 64;
const WORD: usize = size_of::<u64>();
/// Bytes of a record in a pipe.
const PIPE_RECORD: usize = 2 * WORD;

/// A direction that carries records.
#[derive(Debug)]
pub(crate) struct Channel {
    input: Fd,
    output: Fd,
    /// The same as both, for plain calls.
    rest_input: Arc<OwnedFd>,
    rest: OwnedFd,
    pipe: bool,
    book: Rc<Book>,
    arena: Rc<Arena>,
}

/// What is left of a channel when its runtime has ended.
#[derive(Debug)]
pub(crate) struct Rest {
    output: OwnedFd,
    pipe: bool,
    book: Rc<Book>,
}

/// What happened to each record.
#[derive(Debug, Default)]
struct Book(RefCell<Vec<Entry>>);

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    sent: Option<bool>,
    received: u32,
}

impl Book {
    fn next(&self) -> u64 {
        let mut entries = self.0.borrow_mut();
        entries.push(Entry::default());
        entries.len() as u64 - 1
    }

    fn note_sent(&self, number: u64, asked: usize, result: &io::Result<usize>) {
        let sent = match result {
            Ok(n) => {
                if *n != asked {
                    ledger::wrong(format_args!("record {number}: {n} of {asked} bytes were sent"));
                }
                true
            }
            Err(_) => false,
        };
        let entry = &mut self.0.borrow_mut()[number as usize];
        if entry.sent.replace(sent).is_some() {
            ledger::wrong(format_args!("record {number}: its send ended twice"));
        }
    }

    fn note_received(&self, number: u64) {
        match self.0.borrow_mut().get_mut(number as usize) {
            None => ledger::wrong(format_args!("a record of number {number} was never made")),
            Some(entry) => {
                entry.received += 1;
                if entry.received > 1 {
                    ledger::wrong(format_args!("record {number} was received twice"));
                }
            }
        }
    }

    /// Takes what one receive got, which is a message or a number of whole records of a pipe.
    fn receive(&self, pipe: bool, bytes: &[u8]) {
        let word = |at: &[u8]| u64::from_le_bytes(at.try_into().expect("a word"));
        let record = if pipe { PIPE_RECORD } else { bytes.len().max(WORD) };
        for part in bytes.chunks(record) {
            if part.len() % WORD != 0 || (pipe && part.len() != record) {
                ledger::wrong(format_args!("{} bytes are no record", part.len()));
                return;
            }
            let number = word(&part[..WORD]);
            if part.chunks(WORD).any(|at| word(at) != number) {
                ledger::wrong(format_args!("record {number} is torn"));
            }
            self.note_received(number);
        }
    }
}

impl Channel {
    /// A socket pair whose messages are the records.
    pub(crate) fn socket(arena: &Rc<Arena>) -> Channel {
        let pair = Socket::pair(Domain::UNIX, Type::SEQPACKET, None);
        let (input, output) = pair.expect("a socket pair");
        let rest = output.try_clone().expect("a descriptor").into();
        let rest_input = OwnedFd::from(input.try_clone().expect("a descriptor"));
        Channel {
            input: Fd::socket(input).expect("a socket in any mode"),
            output: Fd::socket(output).expect("a socket in any mode"),
            rest_input: rest_input.into(),
            rest,
            pipe: false,
            book: Rc::default(),
            arena: arena.clone(),
        }
    }

    pub(crate) fn pipe(arena: &Rc<Arena>, driver: DriverKind) -> Channel {
        let (output, input) = io::pipe().expect("a pipe");
        if driver == DriverKind::Readiness {
            // There, a read or a write is a plain call of a helper thread, which must not wait.
            set_nonblocking(&output);
            set_nonblocking(&input);
        }
        let rest = output.try_clone().expect("a descriptor").into();
        let rest_input = OwnedFd::from(input.try_clone().expect("a descriptor"));
        Channel {
            rest_input: rest_input.into(),
            input: Fd::file(OwnedFd::from(input).into()),
            output: Fd::file(OwnedFd::from(output).into()),
            rest,
            pipe: true,
            book: Rc::default(),
            arena: arena.clone(),
        }
    }

    pub(crate) fn is_pipe(&self) -> bool {
        self.pipe
    }

    /// The next record, to be sent by a plain call of any thread.
    pub(crate) fn feed(&self) -> Feed {
        let number = self.book.next();
        Feed { input: self.rest_input.clone(), number, words: if self.pipe { 2 } else { 5 } }
    }

    /// Notes how a plain call ended.
    pub(crate) fn fed(&self, feed: &Feed, result: io::Result<usize>) {
        self.book.note_sent(feed.number, feed.words * WORD, &result);
    }

    /// Receives by plain calls what is there, while no operation waits for it.
    pub(crate) fn receive_rest(&self) {
        receive_all(&self.rest, self.pipe, &self.book);
    }

    /// The end that is read, for waits.
    pub(crate) fn output(&self) -> Fd {
        self.output.clone()
    }

    pub(crate) fn input(&self) -> Fd {
        self.input.clone()
    }

    /// What is to be looked at when the runtime has ended.
    pub(crate) fn rest(&self) -> Rest {
        let output = self.rest.try_clone().expect("a descriptor");
        Rest { output, pipe: self.pipe, book: self.book.clone() }
    }

    /// A record that is to be sent: its number and bytes.
    fn record(&self) -> (u64, Guard) {
        let number = self.book.next();
        let words = if self.pipe { 2 } else { fastrand::usize(1..=WORDS_MAX) };
        let bytes = number.to_le_bytes();
        let mut content = [0; WORDS_MAX * WORD];
        for at in content[..words * WORD].chunks_mut(WORD) {
            at.copy_from_slice(&bytes);
        }
        (number, self.arena.holding(&content[..words * WORD]))
    }

    /// For records of a pipe often less than there is; no message of a socket may be cut off.
    fn room(&self) -> Guard {
        let least = if self.pipe { PIPE_RECORD } else { WORDS_MAX * WORD };
        let most = if self.pipe { 64 * PIPE_RECORD } else { PAGE };
        self.arena.room(least + fastrand::usize(..=(most - least) / PIPE_RECORD) * PIPE_RECORD)
    }

    /// Sends the next record by send(2). For sockets.
    pub(crate) fn send(&self) -> Submit<impl Op<Output = bool>> {
        let (number, buf) = self.record();
        self.sending(number, buf.bytes().len(), op::Send::new(self.input(), buf))
    }

    /// Sends the next record by sendmsg(2), in two parts. For sockets.
    pub(crate) fn send_msg(&self) -> Submit<impl Op<Output = bool>> {
        let (number, buf) = self.record();
        let bytes = buf.bytes();
        let (a, b) = bytes.split_at(fastrand::usize(..=bytes.len()));
        let parts = [self.arena.holding(a), self.arena.holding(b)];
        self.sending(number, bytes.len(), op::SendMsg::new(self.input(), parts))
    }

    /// Writes the next record by write(2). For pipes.
    pub(crate) fn write(&self) -> Submit<impl Op<Output = bool>> {
        let (number, buf) = self.record();
        self.sending(number, PIPE_RECORD, op::Write::new(self.input(), buf, u64::MAX))
    }

    /// Counts a send, which says whether it was done.
    fn sending<O, B: Debug>(
        &self,
        number: u64,
        asked: usize,
        op: O,
    ) -> Submit<impl Op<Output = bool>>
    where
        O: Op<Output = BufResult<usize, B>>,
    {
        let book = self.book.clone();
        seen(op, move |BufResult(result, _)| {
            book.note_sent(number, asked, &result);
            result.is_ok()
        })
    }

    /// Receives a message by recv(2). For sockets.
    pub(crate) fn recv(&self) -> Submit<impl Op<Output = io::Result<usize>>> {
        let book = self.book.clone();
        seen(op::Recv::new(self.output(), self.room()), move |BufResult(result, buf)| {
            result.inspect(|n| book.receive(false, &buf.bytes()[..*n]))
        })
    }

    /// Receives a message by recvmsg(2) into two buffers. For sockets.
    pub(crate) fn recv_msg(&self) -> Submit<impl Op<Output = io::Result<usize>>> {
        let book = self.book.clone();
        let bufs = [self.arena.room(fastrand::usize(1..=WORDS_MAX * WORD)), self.room()];
        seen(op::RecvMsg::new(self.output(), bufs), move |BufResult(result, [a, b])| {
            result.inspect(|n| {
                let both = [a.bytes(), b.bytes()].concat();
                if both.len() != *n {
                    ledger::wrong(format_args!("{} bytes instead of {n}", both.len()));
                }
                book.receive(false, &both);
            })
        })
    }

    /// Reads records by read(2). For pipes.
    pub(crate) fn read(&self) -> Submit<impl Op<Output = io::Result<usize>>> {
        let book = self.book.clone();
        let read = op::Read::new(self.output(), self.room(), u64::MAX);
        seen(read, move |BufResult(result, buf)| {
            result.inspect(|n| book.receive(true, &buf.bytes()[..*n]))
        })
    }
}

impl Rest {
    /// Receives what is left, and compares what was sent with what was received.
    pub(crate) fn check(self) {
        receive_all(&self.output, self.pipe, &self.book);
        for (number, entry) in self.book.0.borrow().iter().enumerate() {
            match (entry.sent, entry.received) {
                (Some(true), 1) | (Some(false), 0) => {}
                // A send that was never polled is neither.
                (None, 0) => {}
                _ => ledger::wrong(format_args!("record {number}: {entry:?}")),
            }
        }
    }
}

/// A record on its way to a plain call.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    input: Arc<OwnedFd>,
    number: u64,
    words: usize,
}

impl Feed {
    pub(crate) fn send(&self) -> io::Result<usize> {
        let content = vec![self.number.to_le_bytes(); self.words].concat();
        Ok(rustix::io::write(&self.input, &content)?)
    }
}

/// Receives by plain calls what is there.
fn receive_all(output: &OwnedFd, pipe: bool, book: &Book) {
    let mut buf = [0; 4096];
    loop {
        let mut part = [rustix::io::IoSliceMut::new(&mut buf)];
        let received = if pipe {
            let flags = rustix::io::ReadWriteFlags::NOWAIT;
            rustix::io::preadv2(output, &mut part, u64::MAX, flags)
        } else {
            let flags = rustix::net::RecvFlags::DONTWAIT;
            rustix::net::recv(output, &mut buf[..], flags).map(|(_, n)| n)
        };
        match received {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return,
            Ok(n) => book.receive(pipe, &buf[..n]),
            Err(error) => return ledger::wrong(format_args!("the rest: {error}")),
        }
    }
}

fn set_nonblocking(fd: &impl std::os::fd::AsFd) {
    let flags = rustix::fs::fcntl_getfl(fd).expect("flags");
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK).expect("flags can be set");
}
