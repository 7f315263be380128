//! The first generator: tasks that do one random thing after the other, and leave it at random.

use crate::channel::{Channel, Rest};
use crate::leave::{self, Leave};
use crate::ledger::{counted, wrong};
use crate::round::Round;
use crate::{blocks, streams};
use ringbolt::op::{self, Fd, OpenWish};
use ringbolt::{BufResult, JoinHandle};
use socket2::{Domain, SockAddr, Socket, Type};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// What the tasks of a round share.
struct Stage {
    round: Round,
    sockets: Vec<Channel>,
    pipes: Vec<Channel>,
    listener: Fd,
    address: SockAddr,
    file: Fd,
    steps: Cell<u32>,
}

const FILE_LEN: usize = 64 * 1024;

impl Stage {
    fn new(round: Round, steps: u32) -> Stage {
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let path = round.dir.join("socket");
        let _ = std::fs::remove_file(&path);
        let address = SockAddr::unix(path).expect("a short path");
        listener.bind(&address).expect("nobody has the name");
        listener.listen(4096).expect("a bound socket");
        let path = round.dir.join("content");
        std::fs::write(&path, vec![7; FILE_LEN]).expect("room for a file");
        let file = std::fs::File::options().read(true).write(true).open(path).expect("a file");
        Stage {
            sockets: (0..8).map(|_| Channel::socket(&round.arena)).collect(),
            pipes: (0..4).map(|_| Channel::pipe(&round.arena, round.driver)).collect(),
            listener: Fd::socket(listener).expect("a socket in any mode"),
            address,
            file: Fd::file(file),
            steps: Cell::new(steps),
            round,
        }
    }

    fn name(&self) -> PathBuf {
        self.round.dir.join(format!("name{}", fastrand::u8(..6)))
    }
}

/// One round of about `steps` operations.
pub(crate) async fn run(round: Round, steps: u32) -> (impl FnOnce(), bool) {
    let stage = Rc::new(Stage::new(round.clone(), steps));
    let rests: Vec<Rest> = stage.sockets.iter().chain(&stage.pipes).map(Channel::rest).collect();
    let mut tasks: Vec<JoinHandle<()>> = (0..fastrand::u8(8..32))
        .map(|_| {
            let stage = stage.clone();
            ringbolt::spawn(async move { act(&stage).await })
        })
        .collect();
    if fastrand::u8(..4) == 0 {
        tasks.push(ringbolt::spawn(streams::run(round.arena.clone())));
    }
    if fastrand::u8(..4) == 0 {
        tasks.push(ringbolt::spawn(blocks::run(round.dir.join("blocks"))));
    }
    let quiet = fastrand::u8(..4) != 0;
    if quiet {
        for task in tasks {
            if let Err(error) = task.await {
                wrong(format_args!("a task of the storm: {error}"));
            }
        }
    } else {
        // The runtime ends with all this going on.
        let some = steps - fastrand::u32(..steps);
        while stage.steps.get() > some {
            ringbolt::yield_now().await;
        }
    }
    let last = move || rests.into_iter().for_each(Rest::check);
    (last, quiet)
}

async fn act(stage: &Rc<Stage>) {
    while let Some(left) = stage.steps.get().checked_sub(1) {
        stage.steps.set(left);
        step(stage).await;
    }
}

async fn step(stage: &Rc<Stage>) {
    let how = Leave::random();
    match fastrand::u8(..64) {
        0..=31 => on_socket(fastrand::choice(&stage.sockets).expect("not empty"), how).await,
        32..=41 => on_pipe(fastrand::choice(&stage.pipes).expect("not empty"), how).await,
        42..=47 => drop(leave::run(counted(op::Nop), how).await),
        48..=51 => on_file(stage, how).await,
        52..=54 => on_path(stage, how).await,
        55..=57 => drop(leave::run(counted(op::Accept::new(stage.listener.clone())), how).await),
        58..=60 => connect(stage, how).await,
        61..=62 => abort_one(stage).await,
        _ => ringbolt::sleep(Duration::from_nanos(fastrand::u64(..200_000))).await,
    }
}

async fn on_socket(channel: &Channel, how: Leave) {
    match fastrand::u8(..32) {
        0..=11 => drop(leave::run(channel.recv(), how).await),
        12..=23 => drop(leave::run(channel.send(), how).await),
        24..=25 => drop(leave::run(channel.recv_msg(), how).await),
        26..=27 => drop(leave::run(channel.send_msg(), how).await),
        28 => drop(leave::run(counted(op::Readable::new(channel.output())), how).await),
        29 => drop(leave::run(counted(op::Writable::new(channel.input())), how).await),
        30 => {
            // The winner leaves a loser, and both are left if neither wins.
            let both = Box::pin(leave::first_of(channel.recv(), channel.recv_msg()));
            drop(leave::run(both, Leave::Select(Duration::from_micros(50))).await);
        }
        _ => drop(leave::first_of(channel.recv(), channel.send()).await),
    }
}

async fn on_pipe(channel: &Channel, how: Leave) {
    match fastrand::u8(..8) {
        0..=2 => drop(leave::run(channel.read(), how).await),
        3..=6 => drop(leave::run(channel.write(), how).await),
        _ => drop(leave::run(counted(op::Readable::new(channel.output())), how).await),
    }
}

async fn on_file(stage: &Stage, how: Leave) {
    let offset = fastrand::usize(..FILE_LEN) as u64;
    let (file, arena) = (stage.file.clone(), &stage.round.arena);
    let len = fastrand::usize(1..=4096);
    match fastrand::u8(..8) {
        0..=3 => {
            let read = counted(op::Read::new(file, arena.room(len), offset));
            if let Some(BufResult(Ok(n), buf)) = leave::run(read, how).await
                && (n != buf.bytes().len() || buf.bytes().iter().any(|byte| *byte != 7))
            {
                wrong(format_args!("{n} bytes of the file are not what was written"));
            }
        }
        4..=6 => {
            let buf = arena.holding(&[7; 4096][..len]);
            let offset = offset.min((FILE_LEN - len) as u64);
            drop(leave::run(counted(op::Write::new(file, buf, offset)), how).await);
        }
        _ => drop(leave::run(counted(op::Fsync::new(file, fastrand::bool())), how).await),
    }
}

async fn on_path(stage: &Stage, how: Leave) {
    let (path, other) = (stage.name(), stage.name());
    let fits = "a path without zeros";
    match fastrand::u8(..8) {
        0..=2 => drop(leave::run(open(&path), how).await),
        3..=4 => {
            drop(leave::run(counted(op::Stat::path(&path, true).expect(fits)), how).await);
        }
        5 => drop(leave::run(counted(op::Remove::file(&path).expect(fits)), how).await),
        6 => drop(leave::run(counted(op::Rename::new(&path, &other).expect(fits)), how).await),
        _ => {
            // What a close reports is awaited or left; the descriptor goes in any case.
            if let Some(Ok(fd)) = leave::run(open(&path), how).await
                && let Ok(close) = fd.into_close()
            {
                drop(leave::run(counted(close), Leave::Drop(1)).await);
            }
        }
    }
}

fn open(path: &Path) -> op::Submit<impl op::Op<Output = std::io::Result<Fd>>> {
    let wish =
        OpenWish { read: true, write: true, create: true, mode: 0o600, ..OpenWish::default() };
    counted(op::Open::new(path, &wish).expect("the wish can be granted"))
}

async fn connect(stage: &Stage, how: Leave) {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor is free");
    let fd = Fd::socket(socket).expect("a socket in any mode");
    drop(leave::run(counted(op::Connect::new(fd, stage.address.clone())), how).await);
}

/// A task that is aborted while it does the same things as the others.
async fn abort_one(stage: &Rc<Stage>) {
    let ours = stage.clone();
    let mut task = ringbolt::spawn(async move {
        for _ in 0..4 {
            let channel = fastrand::choice(&ours.sockets).expect("not empty");
            on_socket(channel, Leave::random()).await;
        }
        drop(fastrand::choice(&ours.sockets).expect("not empty").recv().await);
    });
    for _ in 0..fastrand::u8(..6) {
        ringbolt::yield_now().await;
    }
    task.abort();
    match fastrand::bool() {
        true => drop(task.await),
        false => drop(task),
    }
}
