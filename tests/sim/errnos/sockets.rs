//! Operations that make connections.

use super::{Answer, Late, Row, Step, Subject};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::op::{Accept, AcceptMulti, Connect, Fd, Nop, Submit};
use ringbolt_runtime::sqe::opcode;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Errors of one connection or of the moment, after which a listener goes on.
const ACCEPTS_ON: &[i32] = &[
    libc::EINTR,
    libc::ECONNABORTED,
    libc::EPROTO,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
    libc::ENETDOWN,
    libc::ENETUNREACH,
    libc::ENONET,
    libc::ENOPROTOOPT,
];
pub(super) fn rows() -> Vec<Row> {
    let accepting =
        |name, way| Row::new(name, opcode::ACCEPT, move |_| Box::pin(Accepting::made(way)));
    let connecting =
        |name, way| Row::new(name, opcode::CONNECT, move |_| Box::pin(Connecting::made(way)));
    vec![
        Row::new("nop", opcode::NOP, |_| Box::pin(async { Box::new(Nothing) as _ })),
        accepting("accept", From::Socket),
        accepting("multishot accept", From::Multi)
            .answers(Answer::Except(ACCEPTS_ON))
            .late(Late::Kept),
        accepting("TcpListener::accept", From::Listener)
            .answers(Answer::Except(ACCEPTS_ON))
            .late(Late::Kept),
        connecting("connect", To::Socket),
        connecting("TcpStream::connect", To::Stream),
        connecting("TcpStream::connect_timeout", To::Limited).answers(Answer::Limited),
    ]
}

struct Nothing;

impl Subject for Nothing {
    fn run(&mut self) -> Step<'_, io::Result<()>> {
        Box::pin(Submit::new(Nop))
    }
}

pub(super) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    (listener, address)
}

#[derive(Clone, Copy)]
enum From {
    Socket,
    Multi,
    Listener,
}

/// A listening socket with clients.
struct Accepting {
    way: From,
    socket: Fd,
    multi: AcceptMulti,
    listener: Option<TcpListener>,
    address: SocketAddr,
    clients: Vec<TcpStream>,
    accepted: usize,
}

impl Accepting {
    async fn made(way: From) -> Box<dyn Subject> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = Fd::tcp(any).expect("a virtual socket");
        let mut listener = None;
        let address = if let From::Listener = way {
            let (made, address) = listen().await;
            listener = Some(made);
            address
        } else {
            socket.bind(any).expect("a free port");
            socket.listen(100).expect("a bound socket");
            socket.local_addr().expect("a bound socket")
        };
        let multi = AcceptMulti::new(socket.clone());
        let (clients, accepted) = (Vec::new(), 0);
        Box::new(Accepting { way, socket, multi, listener, address, clients, accepted })
    }
}

impl Subject for Accepting {
    fn prepare(&mut self) -> Step<'_> {
        Box::pin(async {
            self.clients.push(TcpStream::connect(self.address).await.expect("it listens"));
        })
    }

    fn run(&mut self) -> Step<'_, io::Result<()>> {
        Box::pin(async {
            match self.way {
                From::Socket => drop(Submit::new(Accept::new(self.socket.clone())).await?),
                From::Multi => drop(poll_fn(|cx| self.multi.poll_accept(cx)).await?),
                From::Listener => {
                    drop(self.listener.as_mut().expect("made for this").accept().await?);
                }
            }
            self.accepted += 1;
            Ok(())
        })
    }

    fn balance(mut self: Box<Self>) -> Step<'static> {
        Box::pin(async move {
            while self.accepted < self.clients.len() {
                self.run().await.expect("connections are never lost");
            }
        })
    }
}

#[derive(Clone, Copy)]
enum To {
    Socket,
    Stream,
    Limited,
}

/// A client of a listener.
struct Connecting {
    way: To,
    _listener: TcpListener,
    address: SocketAddr,
}

impl Connecting {
    async fn made(way: To) -> Box<dyn Subject> {
        let (_listener, address) = listen().await;
        Box::new(Connecting { way, _listener, address })
    }
}

impl Subject for Connecting {
    fn run(&mut self) -> Step<'_, io::Result<()>> {
        let address = self.address;
        Box::pin(async move {
            match self.way {
                To::Socket => Submit::new(Connect::new(Fd::tcp(address)?, address.into())).await,
                To::Stream => TcpStream::connect(address).await.map(drop),
                To::Limited => {
                    TcpStream::connect_timeout(address, Duration::from_secs(1)).await.map(drop)
                }
            }
        })
    }
}
