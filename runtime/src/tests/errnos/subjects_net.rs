//! Operations on sockets, one object each.
//!
//! An attempt that failed or was given up leaves what its peer did for the next one.

use super::bench::*;
use super::expect::{Keeps, Kind};
use super::halves::{ReadHalf, WriteHalf, read_half, write_half};
use crate::Fd;
use crate::buffers::BufResult;
use crate::op::verdict::Family;
use crate::op::{
    Accept, AcceptMulti, Connect, Nop, Readable, Recv, RecvMsg, Send, SendMsg, Shutdown, Submit,
    Writable,
};
use crate::sqe::opcode;
use socket2::{Domain, SockAddr, Socket, Type};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// What is received and sent.
const TEXT: &[u8] = b"hello";
/// What is in a buffer before.
const OLD: &[u8] = b"old";
/// Room in a buffer.
const ROOM: usize = 16;

const fn kind(name: &'static str, opcode: u8, family: Family, keeps: Keeps) -> Kind {
    Kind { name, opcode, family, keeps, cancellable: true }
}

/// A no-operation.
pub(super) struct NopOnce;

impl Subject for NopOnce {
    const KIND: Kind = kind("nop", opcode::NOP, Family::Once, Keeps::Nothing);

    fn new(_: &Bench) -> NopOnce {
        NopOnce
    }

    async fn attempt(&mut self) -> io::Result<()> {
        Submit::new(Nop).await
    }
}

/// One end of a connection, whose other end sends `TEXT` for each attempt.
struct Receiver {
    bench: Bench,
    fd: Fd,
    peer: UnixStream,
    owed: bool,
}

impl Receiver {
    fn new(bench: &Bench) -> Receiver {
        let (fd, peer) = pair();
        Receiver { bench: bench.clone(), fd, peer, owed: false }
    }

    fn ask(&mut self) {
        if !self.owed {
            self.peer.write_all(TEXT).expect("a send buffer has room for five bytes");
            self.owed = true;
        }
    }

    fn buffer(&self) -> Tracked {
        self.bench.buffer(OLD, ROOM)
    }

    /// Two buffers, of which the first is too small for all.
    fn buffers(&self) -> [Tracked; 2] {
        [self.bench.buffer(b"", 2), self.bench.buffer(OLD, ROOM)]
    }

    fn got(&mut self, result: BufResult<usize, Tracked>) -> io::Result<()> {
        let (result, buf) = moved(result, TEXT.len());
        match &result {
            Ok(()) => {
                self.owed = false;
                assert_eq!(buf.bytes(), TEXT);
            }
            Err(_) => buf.is_as_before(OLD, ROOM),
        }
        result
    }

    fn got_all(&mut self, result: BufResult<usize, [Tracked; 2]>) -> io::Result<()> {
        let (result, [first, second]) = moved(result, TEXT.len());
        match &result {
            Ok(()) => {
                self.owed = false;
                assert_eq!([first.bytes(), second.bytes()].concat(), TEXT);
            }
            Err(_) => {
                first.is_as_before(b"", 2);
                second.is_as_before(OLD, ROOM);
            }
        }
        result
    }
}

/// recv(2).
pub(super) struct RecvOnce(Receiver);

impl Subject for RecvOnce {
    const KIND: Kind = kind("recv", opcode::RECV, Family::Receive, Keeps::Nothing);

    fn new(bench: &Bench) -> RecvOnce {
        RecvOnce(Receiver::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        self.0.ask();
        let result = Submit::new(Recv::new(self.0.fd.clone(), self.0.buffer())).await;
        self.0.got(result)
    }
}

/// recvmsg(2).
pub(super) struct RecvMsgOnce(Receiver);

impl Subject for RecvMsgOnce {
    const KIND: Kind = kind("recvmsg", opcode::RECVMSG, Family::Receive, Keeps::Nothing);

    fn new(bench: &Bench) -> RecvMsgOnce {
        RecvMsgOnce(Receiver::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        self.0.ask();
        let result = Submit::new(RecvMsg::new(self.0.fd.clone(), self.0.buffers())).await;
        self.0.got_all(result)
    }
}

/// recv(2) in a lane.
pub(super) struct RecvInLane(Receiver, ReadHalf);

impl Subject for RecvInLane {
    const KIND: Kind = kind("recv in a lane", opcode::RECV, Family::Receive, Keeps::Lane);

    fn new(bench: &Bench) -> RecvInLane {
        let receiver = Receiver::new(bench);
        let half = read_half(receiver.fd.clone());
        RecvInLane(receiver, half)
    }

    async fn attempt(&mut self) -> io::Result<()> {
        self.0.ask();
        let result = self.1.read(self.0.buffer()).await;
        self.0.got(result)
    }
}

/// recvmsg(2) in a lane.
pub(super) struct RecvMsgInLane(Receiver, ReadHalf);

impl Subject for RecvMsgInLane {
    const KIND: Kind = kind("recvmsg in a lane", opcode::RECVMSG, Family::Receive, Keeps::Lane);

    fn new(bench: &Bench) -> RecvMsgInLane {
        let receiver = Receiver::new(bench);
        let half = read_half(receiver.fd.clone());
        RecvMsgInLane(receiver, half)
    }

    async fn attempt(&mut self) -> io::Result<()> {
        self.0.ask();
        let result = self.1.read_vectored(self.0.buffers()).await;
        self.0.got_all(result)
    }
}

/// Multishot recv: an attempt takes more than the kernel gives for one request.
pub(super) struct RecvMany {
    bytes: Vec<u8>,
    half: ReadHalf,
    peer: UnixStream,
    sent: usize,
    received: usize,
    goal: usize,
}

/// Bytes of an attempt, and of a part that the peer sends at once.
const MUCH: usize = 320 * 1024;
const PART: usize = 16 * 1024;
/// The bytes repeat after so many.
const PERIOD: usize = 251;

impl Subject for RecvMany {
    const KIND: Kind = kind("multishot recv", opcode::RECV, Family::ReceiveMany, Keeps::Object);

    fn new(_: &Bench) -> RecvMany {
        let (fd, peer) = pair();
        let bytes = (0..PERIOD + PART).map(|at| (at % PERIOD) as u8).collect();
        RecvMany { bytes, half: read_half(fd), peer, sent: 0, received: 0, goal: 0 }
    }

    async fn attempt(&mut self) -> io::Result<()> {
        if self.goal == self.received {
            self.goal += MUCH;
        }
        while self.received < self.goal {
            if self.sent == self.received {
                let part = &self.bytes[self.sent % PERIOD..][..PART];
                self.peer.write_all(part).expect("a send buffer has room for that");
                self.sent += PART;
            }
            let chunk = self.half.recv().await?.expect("the peer is still there");
            let wanted = &self.bytes[self.received % PERIOD..][..chunk.len()];
            assert!(chunk[..] == *wanted, "bytes were lost");
            self.received += chunk.len();
        }
        Ok(())
    }
}

/// One end of a connection, whose other end takes `TEXT` for each attempt.
struct Sender {
    bench: Bench,
    fd: Fd,
    peer: UnixStream,
}

impl Sender {
    fn new(bench: &Bench) -> Sender {
        let (fd, peer) = pair();
        Sender { bench: bench.clone(), fd, peer }
    }

    fn buffer(&self) -> Tracked {
        self.bench.buffer(TEXT, ROOM)
    }

    fn buffers(&self) -> [Tracked; 2] {
        [self.bench.buffer(&TEXT[..2], 2), self.bench.buffer(&TEXT[2..], ROOM)]
    }

    fn sent(&mut self, result: BufResult<usize, Tracked>) -> io::Result<()> {
        let (result, buf) = moved(result, TEXT.len());
        buf.is_as_before(TEXT, ROOM);
        self.arrived(result)
    }

    fn sent_all(&mut self, result: BufResult<usize, [Tracked; 2]>) -> io::Result<()> {
        let (result, [first, second]) = moved(result, TEXT.len());
        first.is_as_before(&TEXT[..2], 2);
        second.is_as_before(&TEXT[2..], ROOM);
        self.arrived(result)
    }

    fn arrived(&mut self, result: io::Result<()>) -> io::Result<()> {
        result?;
        let mut bytes = [0; TEXT.len()];
        self.peer.read_exact(&mut bytes).expect("they were sent");
        assert_eq!(bytes, TEXT);
        Ok(())
    }
}

/// send(2).
pub(super) struct SendOnce(Sender);

impl Subject for SendOnce {
    const KIND: Kind = kind("send", opcode::SEND, Family::Send, Keeps::Nothing);

    fn new(bench: &Bench) -> SendOnce {
        SendOnce(Sender::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let result = Submit::new(Send::new(self.0.fd.clone(), self.0.buffer())).await;
        self.0.sent(result)
    }
}

/// sendmsg(2).
pub(super) struct SendMsgOnce(Sender);

impl Subject for SendMsgOnce {
    const KIND: Kind = kind("sendmsg", opcode::SENDMSG, Family::Send, Keeps::Nothing);

    fn new(bench: &Bench) -> SendMsgOnce {
        SendMsgOnce(Sender::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let result = Submit::new(SendMsg::new(self.0.fd.clone(), self.0.buffers())).await;
        self.0.sent_all(result)
    }
}

/// send(2) in a lane.
pub(super) struct SendInLane(Sender, WriteHalf);

impl Subject for SendInLane {
    const KIND: Kind = kind("send in a lane", opcode::SEND, Family::Send, Keeps::Nothing);

    fn new(bench: &Bench) -> SendInLane {
        let sender = Sender::new(bench);
        let half = write_half(sender.fd.clone());
        SendInLane(sender, half)
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let result = self.1.write_all(self.0.buffer()).await;
        self.0.sent(result.map(|()| TEXT.len()))
    }
}

/// sendmsg(2) in a lane.
pub(super) struct SendMsgInLane(Sender, WriteHalf);

impl Subject for SendMsgInLane {
    const KIND: Kind = kind("sendmsg in a lane", opcode::SENDMSG, Family::Send, Keeps::Nothing);

    fn new(bench: &Bench) -> SendMsgInLane {
        let sender = Sender::new(bench);
        let half = write_half(sender.fd.clone());
        SendMsgInLane(sender, half)
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let result = self.1.write_vectored(self.0.buffers()).await;
        self.0.sent_all(result)
    }
}

/// A listening socket with a name.
fn listener(bench: &Bench) -> (UnixListener, PathBuf) {
    let path = bench.dir.path().join("listener");
    // That of the cell before has been closed.
    let _ = std::fs::remove_file(&path);
    (UnixListener::bind(&path).expect("a free name"), path)
}

/// accept(2).
pub(super) struct AcceptOnce {
    fd: Fd,
    path: PathBuf,
    client: Option<UnixStream>,
}

impl Subject for AcceptOnce {
    const KIND: Kind = kind("accept", opcode::ACCEPT, Family::Accept, Keeps::Nothing);

    fn new(bench: &Bench) -> AcceptOnce {
        let (listener, path) = listener(bench);
        let fd = Fd::socket(Socket::from(OwnedFd::from(listener))).expect("a socket in any mode");
        AcceptOnce { fd, path, client: None }
    }

    async fn attempt(&mut self) -> io::Result<()> {
        if self.client.is_none() {
            self.client = Some(UnixStream::connect(&self.path)?);
        }
        let accepted = Submit::new(Accept::new(self.fd.clone())).await?;
        self.client = None;
        drop(accepted);
        Ok(())
    }
}

/// Multishot accept: an attempt takes more connections than the completion queue has room for.
pub(super) struct AcceptMany {
    accept: AcceptMulti,
    path: PathBuf,
    clients: Vec<UnixStream>,
}

/// Connections of an attempt.
const MANY: usize = 12;

impl Subject for AcceptMany {
    const KIND: Kind = kind("multishot accept", opcode::ACCEPT, Family::AcceptMany, Keeps::Object);

    fn new(bench: &Bench) -> AcceptMany {
        let (listener, path) = listener(bench);
        let fd = Fd::socket(Socket::from(OwnedFd::from(listener))).expect("a socket in any mode");
        AcceptMany { accept: AcceptMulti::new(fd), path, clients: Vec::new() }
    }

    async fn attempt(&mut self) -> io::Result<()> {
        if self.clients.is_empty() {
            for _ in 0..MANY {
                self.clients.push(UnixStream::connect(&self.path)?);
            }
        }
        while !self.clients.is_empty() {
            drop(poll_fn(|cx| self.accept.poll_accept(cx)).await?);
            self.clients.pop();
        }
        Ok(())
    }
}

/// connect(2), each time with a new socket.
pub(super) struct ConnectOnce {
    listener: UnixListener,
    path: PathBuf,
}

impl Subject for ConnectOnce {
    const KIND: Kind = kind("connect", opcode::CONNECT, Family::Once, Keeps::Nothing);

    fn new(bench: &Bench) -> ConnectOnce {
        let (listener, path) = listener(bench);
        listener.set_nonblocking(true).expect("a socket in any mode");
        ConnectOnce { listener, path }
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let socket = Fd::socket(Socket::new(Domain::UNIX, Type::STREAM, None)?)?;
        let address = SockAddr::unix(&self.path)?;
        let connected = Submit::new(Connect::new(socket.clone(), address)).await;
        assert_eq!(self.listener.accept().is_ok(), connected.is_ok());
        connected
    }
}

/// shutdown(2), which may be repeated.
pub(super) struct ShutdownOnce {
    fd: Fd,
    _peer: UnixStream,
}

impl Subject for ShutdownOnce {
    const KIND: Kind = kind("shutdown", opcode::SHUTDOWN, Family::Once, Keeps::Nothing);

    fn new(_: &Bench) -> ShutdownOnce {
        let (fd, peer) = pair();
        ShutdownOnce { fd, _peer: peer }
    }

    async fn attempt(&mut self) -> io::Result<()> {
        Submit::new(Shutdown::new(self.fd.clone(), std::net::Shutdown::Write)).await
    }
}

/// poll(2) for data.
pub(super) struct PollReadable(Receiver);

impl Subject for PollReadable {
    const KIND: Kind = kind("poll for data", opcode::POLL_ADD, Family::Poll, Keeps::Nothing);

    fn new(bench: &Bench) -> PollReadable {
        PollReadable(Receiver::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        self.0.ask();
        Submit::new(Readable::new(self.0.fd.clone())).await
    }
}

/// poll(2) for room.
pub(super) struct PollWritable(Sender);

impl Subject for PollWritable {
    const KIND: Kind = kind("poll for room", opcode::POLL_ADD, Family::Poll, Keeps::Nothing);

    fn new(bench: &Bench) -> PollWritable {
        PollWritable(Sender::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        Submit::new(Writable::new(self.0.fd.clone())).await
    }
}
