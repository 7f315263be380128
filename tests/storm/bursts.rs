//! The second generator: thousands of the same operation at once, which end at once.

use crate::channel::Channel;
use crate::leave::{self, Leave};
use crate::ledger::{self, counted, wrong};
use crate::round::Round;
use ringbolt::DriverKind;
use ringbolt::op::{self, Fd};
use socket2::{Domain, SockAddr, Socket, Type};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// What all operations of a burst are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nop,
    Send,
    Recv,
    RecvMsg,
    PipeRead,
    Readable,
    Accept,
    FileRead,
}

const KINDS: [Kind; 8] = [
    Kind::Nop,
    Kind::Send,
    Kind::Recv,
    Kind::RecvMsg,
    Kind::PipeRead,
    Kind::Readable,
    Kind::Accept,
    Kind::FileRead,
];

/// How they end.
#[derive(Clone, Copy, Debug)]
enum End {
    /// All are dropped in one turn: so many cancels that the queues run full.
    Dropped,
    /// All have the same time limit, at which something arrives for some of them.
    Limit,
    /// All are in tasks that are aborted in one turn.
    Aborted,
    /// The runtime ends.
    Shutdown,
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

struct Stage {
    round: Round,
    sockets: Vec<Channel>,
    pipe: Channel,
    listener: Fd,
    file: Fd,
}

impl Stage {
    fn new(round: Round) -> Stage {
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let path = round.dir.join("burst");
        let _ = std::fs::remove_file(&path);
        listener.bind(&SockAddr::unix(&path).expect("a short path")).expect("the name is free");
        listener.listen(8).expect("a bound socket");
        let path = round.dir.join("burst content");
        std::fs::write(&path, [7; 4096]).expect("room for a file");
        Stage {
            sockets: (0..64).map(|_| Channel::socket(&round.arena)).collect(),
            pipe: Channel::pipe(&round.arena, round.driver),
            listener: Fd::socket(listener).expect("a socket in any mode"),
            file: Fd::file(std::fs::File::open(path).expect("a file")),
            round,
        }
    }

    fn operation(&self, kind: Kind, index: usize) -> Boxed {
        let socket = &self.sockets[index % self.sockets.len()];
        match kind {
            Kind::Nop => silent(counted(op::Nop)),
            Kind::Send => silent(socket.send()),
            Kind::Recv => silent(socket.recv()),
            Kind::RecvMsg => silent(socket.recv_msg()),
            Kind::PipeRead => silent(self.pipe.read()),
            Kind::Readable => silent(counted(op::Readable::new(socket.output()))),
            Kind::Accept => silent(counted(op::Accept::new(self.listener.clone()))),
            Kind::FileRead => {
                let buf = self.round.arena.room(256);
                silent(counted(op::Read::new(self.file.clone(), buf, 0)))
            }
        }
    }
}

fn silent<T>(future: impl Future<Output = T> + 'static) -> Boxed {
    Box::pin(async move { drop(future.await) })
}

/// One burst after the other, until thousands of operations have been made.
pub(crate) async fn run(round: Round) -> (impl FnOnce(), bool) {
    let stage = Stage::new(round.clone());
    let mut rests: Vec<_> = stage.sockets.iter().map(Channel::rest).collect();
    rests.push(stage.pipe.rest());
    let mut quiet = true;
    let mut left = 10_000;
    while left > 0 && quiet {
        let kind = *fastrand::choice(&KINDS).expect("not empty");
        let most = match kind {
            // Two buffers each.
            Kind::RecvMsg => 5_000,
            // A helper takes each of them back one by one.
            Kind::PipeRead | Kind::FileRead if round.driver == DriverKind::Readiness => 2_000,
            _ => 10_000,
        };
        let count = fastrand::usize(..=usize::min(most, left));
        let end = match fastrand::u8(..16) {
            0..=5 => End::Dropped,
            6..=10 => End::Limit,
            11..=14 => End::Aborted,
            _ => End::Shutdown,
        };
        burst(&stage, kind, count.max(1), end).await;
        quiet = !matches!(end, End::Shutdown);
        left -= count.max(1);
    }
    (move || rests.into_iter().for_each(crate::channel::Rest::check), quiet)
}

async fn burst(stage: &Stage, kind: Kind, count: usize, end: End) {
    match end {
        End::Dropped | End::Shutdown => {
            let mut all: Vec<Boxed> = (0..count).map(|at| stage.operation(kind, at)).collect();
            for future in &mut all {
                leave::poll_some(future, 1).await;
            }
            for _ in 0..fastrand::u8(..3) {
                ringbolt::yield_now().await;
            }
            if let End::Dropped = end {
                drop(all);
                settle().await;
            } else {
                // What is polled by nobody goes on until the runtime ends.
                for future in all {
                    leave::run(future, Leave::Forget(1)).await;
                }
            }
        }
        End::Limit => {
            let limit = Duration::from_micros(fastrand::u64(..3000));
            let tasks: Vec<_> = (0..count)
                .map(|at| ringbolt::spawn(ringbolt::timeout(limit, stage.operation(kind, at))))
                .collect();
            ringbolt::sleep(limit).await;
            for socket in &stage.sockets {
                socket.send().await;
            }
            for task in tasks {
                if let Err(error) = task.await {
                    wrong(format_args!("a task of a burst: {error}"));
                }
            }
        }
        End::Aborted => {
            let mut tasks: Vec<_> =
                (0..count).map(|at| ringbolt::spawn(stage.operation(kind, at))).collect();
            for _ in 0..fastrand::u8(..4) {
                ringbolt::yield_now().await;
            }
            tasks.iter_mut().for_each(|task| task.abort());
            for task in tasks {
                drop(task.await);
            }
            settle().await;
        }
    }
    for socket in &stage.sockets {
        socket.receive_rest();
    }
}

/// Waits for the ends of what was cancelled.
async fn settle() {
    let (forgotten, start) = (leave::forgotten() as u64, Instant::now());
    while ringbolt::metrics().in_flight > forgotten {
        ringbolt::yield_now().await;
    }
    let took = start.elapsed().as_micros() as u64;
    ledger::note(|counts| counts.slowest_us = counts.slowest_us.max(took));
}
