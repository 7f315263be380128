//! Operations on connections.

use super::sockets::listen;
use super::{Answer, Late, Made, Row, Step, Subject, at};
use crate::watched::{Watch, Watched};
use ringbolt::BufResult;
use ringbolt::net::TcpStream;
use ringbolt::op::{Connect, Fd, Lane, Readable, Recv, RecvMsg, RecvMulti};
use ringbolt::op::{Send, SendMsg, Shutdown, Submit, Writable};
use ringbolt_runtime::sqe::opcode;
use std::io;
use std::net;

/// Bytes in one transfer.
const LEN: usize = 8;
/// What says that the pool is empty, or that nothing has happened.
const RECEIVES_ON: &[i32] = &[libc::ENOBUFS, libc::EINTR];

pub(super) fn rows() -> Vec<Row> {
    let end = |name, opcode, way| Row::new(name, opcode, move |watch| connection(way, watch));
    vec![
        end("recv", opcode::RECV, Way::Recv),
        end("recvmsg", opcode::RECVMSG, Way::RecvMsg),
        end("multishot recv", opcode::RECV, Way::RecvMulti)
            .answers(Answer::Except(RECEIVES_ON))
            .late(Late::Kept),
        end("send", opcode::SEND, Way::Send),
        end("sendmsg", opcode::SENDMSG, Way::SendMsg),
        end("shutdown", opcode::SHUTDOWN, Way::Shutdown),
        end("poll for reading", opcode::POLL_ADD, Way::Readable),
        end("poll for writing", opcode::POLL_ADD, Way::Writable),
        end("TcpStream::recv", opcode::RECV, Way::StreamRecv)
            .answers(Answer::Except(RECEIVES_ON))
            .late(Late::Kept),
        end("TcpStream::read", opcode::RECV, Way::StreamRead).late(Late::Next),
        end("TcpStream::read_vectored", opcode::RECVMSG, Way::StreamReadParts).late(Late::Next),
        end("TcpStream::write", opcode::SEND, Way::StreamWrite),
        end("TcpStream::write_all", opcode::SEND, Way::StreamWriteAll),
        end("TcpStream::write_vectored", opcode::SENDMSG, Way::StreamWriteParts),
        end("TcpStream::shutdown of sending", opcode::SHUTDOWN, Way::StreamEnd),
        end("TcpStream::shutdown of both", opcode::SHUTDOWN, Way::StreamEndBoth),
    ]
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Way {
    Recv,
    RecvMsg,
    RecvMulti,
    Send,
    SendMsg,
    Shutdown,
    Readable,
    Writable,
    StreamRecv,
    StreamRead,
    StreamReadParts,
    StreamWrite,
    StreamWriteAll,
    StreamWriteParts,
    StreamEnd,
    StreamEndBoth,
}

/// One end of a connection: as a stream, or as what a stream consists of.
enum End {
    Parts(Fd, Box<RecvMulti>, Lane),
    Stream(Box<TcpStream>),
}

struct Connection {
    way: Way,
    end: End,
    peer: TcpStream,
    watch: Watch,
    /// Bytes that the peer sent.
    sent: usize,
    /// Bytes that operations moved.
    moved: usize,
}

fn connection(way: Way, watch: Watch) -> Made {
    Box::pin(async move {
        let (mut listener, address) = listen().await;
        let end = if way < Way::StreamRecv {
            let fd = Fd::tcp(address).expect("a virtual socket");
            Submit::new(Connect::new(fd.clone(), address.into())).await.expect("it listens");
            End::Parts(fd.clone(), Box::new(RecvMulti::new(fd)), Lane::new())
        } else {
            End::Stream(Box::new(TcpStream::connect(address).await.expect("it listens")))
        };
        let (peer, _) = listener.accept().await.expect("a client");
        Box::new(Connection { way, end, peer, watch, sent: 0, moved: 0 }) as _
    })
}

/// The bytes of a connection from `at` on.
fn bytes(at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|i| (i % 251) as u8).collect()
}

impl Connection {
    fn took(&mut self, got: &[u8]) {
        assert_eq!(got, bytes(self.moved, got.len()), "bytes were lost, doubled or swapped");
        self.moved += got.len();
    }

    /// A receive into one buffer, which has to come back.
    fn received(&mut self, place: usize, done: BufResult<usize, Watched>) -> io::Result<()> {
        let BufResult(result, buf) = done;
        assert_eq!(place, at(&buf), "another buffer came back");
        assert_eq!(buf.bytes().len(), *result.as_ref().unwrap_or(&0));
        self.took(buf.bytes());
        result.map(drop)
    }

    fn received_parts(&mut self, done: BufResult<usize, [Watched; 2]>) -> io::Result<()> {
        let BufResult(result, [a, b]) = done;
        assert_eq!(a.bytes().len() + b.bytes().len(), *result.as_ref().unwrap_or(&0));
        self.took(a.bytes());
        self.took(b.bytes());
        result.map(drop)
    }

    /// A send from one buffer, which has to come back as it was.
    fn gave(&mut self, place: usize, done: BufResult<usize, Watched>) -> io::Result<()> {
        let BufResult(result, buf) = done;
        assert_eq!(place, at(&buf), "another buffer came back");
        assert_eq!(buf.bytes(), bytes(self.moved, LEN));
        self.moved += result?;
        Ok(())
    }

    fn gave_parts(&mut self, done: BufResult<usize, [Watched; 2]>) -> io::Result<()> {
        let BufResult(result, [a, b]) = done;
        assert_eq!([a.bytes(), b.bytes()].concat(), bytes(self.moved, LEN));
        self.moved += result?;
        Ok(())
    }

    fn room(&self) -> Watched {
        self.watch.buffer(LEN)
    }

    fn parts(&self) -> [Watched; 2] {
        [self.watch.buffer(LEN / 2), self.watch.buffer(LEN)]
    }

    fn message(&self) -> Watched {
        self.watch.holding(&bytes(self.moved, LEN))
    }

    fn message_parts(&self) -> [Watched; 2] {
        let whole = bytes(self.moved, LEN);
        [self.watch.holding(&whole[..3]), self.watch.holding(&whole[3..])]
    }

    async fn run_parts(&mut self) -> io::Result<()> {
        let End::Parts(fd, multi, lane) = &mut self.end else { unreachable!("made for a stream") };
        let fd = fd.clone();
        match self.way {
            Way::Recv => {
                let buf = self.room();
                let place = at(&buf);
                let done = Submit::new(Recv::new(fd, buf)).await;
                self.received(place, done)
            }
            Way::RecvMsg => {
                let done = Submit::new(RecvMsg::new(fd, self.parts())).await;
                self.received_parts(done)
            }
            Way::RecvMulti => {
                let chunk = multi.recv(lane).await?.expect("the peer is there");
                self.took(&chunk);
                Ok(())
            }
            Way::Send => {
                let buf = self.message();
                let place = at(&buf);
                let done = Submit::new(Send::new(fd, buf)).await;
                self.gave(place, done)
            }
            Way::SendMsg => {
                let done = Submit::new(SendMsg::new(fd, self.message_parts())).await;
                self.gave_parts(done)
            }
            Way::Readable => Submit::new(Readable::new(fd)).await,
            Way::Writable => Submit::new(Writable::new(fd)).await,
            _ => Submit::new(Shutdown::new(fd, net::Shutdown::Write)).await,
        }
    }

    async fn run_stream(&mut self) -> io::Result<()> {
        let buf = if self.receives() { self.room() } else { self.message() };
        let parts = if self.receives() { self.parts() } else { self.message_parts() };
        let place = at(&buf);
        let End::Stream(stream) = &mut self.end else { unreachable!("made of parts") };
        match self.way {
            Way::StreamRecv => {
                let chunk = stream.recv().await?.expect("the peer is there");
                self.took(&chunk);
                Ok(())
            }
            Way::StreamRead => {
                let done = stream.read(buf).await;
                self.received(place, done)
            }
            Way::StreamReadParts => {
                let done = stream.read_vectored(parts).await;
                self.received_parts(done)
            }
            Way::StreamWrite => {
                let done = stream.write(buf).await;
                self.gave(place, done)
            }
            Way::StreamWriteAll => {
                let BufResult(result, buf) = stream.write_all(buf).await;
                self.gave(place, BufResult(result.map(|()| LEN), buf))
            }
            Way::StreamWriteParts => {
                let done = stream.write_vectored(parts).await;
                self.gave_parts(done)
            }
            Way::StreamEnd => stream.shutdown(net::Shutdown::Write).await,
            _ => stream.shutdown(net::Shutdown::Both).await,
        }
    }

    fn receives(&self) -> bool {
        use Way::*;
        let ways = [Recv, RecvMsg, RecvMulti, Readable, StreamRecv, StreamRead, StreamReadParts];
        ways.contains(&self.way)
    }
}

impl Subject for Connection {
    fn prepare(&mut self) -> Step<'_> {
        Box::pin(async {
            if self.receives() {
                self.peer.write_all(bytes(self.sent, LEN)).await.0.expect("the end is there");
                self.sent += LEN;
            }
        })
    }

    fn run(&mut self) -> Step<'_, io::Result<()>> {
        match self.end {
            End::Parts(..) => Box::pin(self.run_parts()),
            End::Stream(_) => Box::pin(self.run_stream()),
        }
    }

    fn balance(mut self: Box<Self>) -> Step<'static> {
        Box::pin(async move {
            if self.way == Way::Readable {
                return;
            }
            while self.moved < self.sent {
                self.run().await.expect("nothing goes wrong any more");
            }
            let Connection { end, mut peer, moved, .. } = *self;
            if self.sent == 0 {
                drop(end);
                let mut got = Vec::new();
                while let Some(chunk) = peer.recv().await.expect("the end was closed") {
                    got.extend_from_slice(&chunk);
                }
                assert_eq!(got, bytes(0, moved), "bytes were lost, doubled or swapped");
            }
        })
    }
}
