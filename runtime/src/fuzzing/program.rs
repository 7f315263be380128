//! Programs of sends, receives, cancels and shutdowns over connected sockets, on the readiness
//! driver: every byte arrives once and in order, and nothing is left in the end.

use crate::Builder;
use crate::builder::{DriverKind, Runtime, metrics};
use crate::fd::Fd;
use crate::op::{Lane, Recv, RecvMsg, RecvMulti, Residue, Send, SendMsg, Shutdown, Submit};
use crate::sys::socket_pair;
use crate::task::yield_now;
use arbitrary::{Result, Unstructured};
use ringbolt_buffers::{BufResult, PoolConfig};
use socket2::Socket;
use std::future::{Future, poll_fn};
use std::net;
use std::pin::pin;
use std::task::Poll;

/// Bytes that a direction carries at most, so that a program ends.
const SENT_MAX: usize = 200_000;

/// A program for two tasks' worth of sockets, in one task.
pub fn program(data: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = {
            let pool = PoolConfig { buffer_len: 512, buffers: 1, buffers_max: 4, zeroize: false };
            let builder = Builder::new().driver(DriverKind::Readiness).pool(pool);
            builder.build().expect("a runtime")
        };
    }
    let mut input = Unstructured::new(data);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (a, b) = socket_pair().expect("two sockets");
            let (mut a, mut b) = (End::new(a), End::new(b));
            while !input.is_empty() {
                let what = input.arbitrary::<u8>().unwrap_or(0);
                let (from, to) = if what & 1 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
                // Running out of bytes is the end.
                if step(&mut input, what / 2, from, to).await.is_err() {
                    break;
                }
            }
            drain(&mut a, &mut b).await;
            drain(&mut b, &mut a).await;
            drop((a, b));
            while metrics().in_flight > 0 {
                yield_now().await;
            }
            assert_eq!(metrics().buffers_leased, 0);
            assert_eq!(metrics().descriptors, 0);
            assert_eq!(metrics().stale_completions, 0);
        });
    });
}

/// One end of the connection: what it sent, and how much of that has arrived.
struct End {
    fd: Fd,
    multi: RecvMulti,
    receives: Lane,
    sends: Lane,
    sent: usize,
    arrived: usize,
    is_shut: bool,
    /// The peer has seen the end of what this sends.
    is_over: bool,
}

impl End {
    fn new(socket: Socket) -> End {
        // Small, so that sends have to wait as well.
        socket.set_send_buffer_size(4096).expect("a size above zero");
        let fd = Fd::socket(socket).expect("a socket in any mode");
        End {
            multi: RecvMulti::new(fd.clone()),
            fd,
            receives: Lane::new(),
            sends: Lane::new(),
            sent: 0,
            arrived: 0,
            is_shut: false,
            is_over: false,
        }
    }
}

/// The bytes from place `at` of a direction on.
fn bytes(at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

/// Bytes of `from` arrived.
fn arrive(from: &mut End, part: &[u8]) {
    assert_eq!(part, bytes(from.arrived, part.len()), "bytes from {}", from.arrived);
    from.arrived += part.len();
}

fn at_end(from: &mut End) {
    assert!(from.is_shut, "the end of a stream that goes on");
    assert_eq!(from.arrived, from.sent, "the end came before the last byte");
    from.is_over = true;
}

/// Polls a future some times, a turn of the core after each, and drops it if that is not enough.
async fn tried<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

async fn step(input: &mut Unstructured<'_>, what: u8, from: &mut End, to: &mut End) -> Result<()> {
    let polls = usize::from(input.arbitrary::<u8>()? % 6);
    match what % 8 {
        0 | 1 => {
            let len = usize::from(input.arbitrary::<u16>()? % 9000);
            send(from, len, polls, what >= 64).await;
        }
        2 => {
            receive_lent(from, to, polls).await;
        }
        3 | 4 => {
            let len = usize::from(input.arbitrary::<u16>()? % 5000);
            receive(from, to, len, polls, what >= 64).await;
        }
        5 => yield_now().await,
        6 if what >= 96 => {
            if settle_send(from, 50).await {
                let shut = Submit::new(Shutdown::new(from.fd.clone(), net::Shutdown::Write)).await;
                shut.expect("a connected socket");
                from.is_shut = true;
            }
        }
        _ => {
            settle_send(from, polls).await;
        }
    }
    Ok(())
}

/// Waits for a send whose future was dropped, and notes what went out. False if it goes on.
async fn settle_send(from: &mut End, polls: usize) -> bool {
    match tried(from.sends.settle(), polls).await {
        None => false,
        Some(None) => true,
        Some(Some(residue)) => {
            if residue.is_cancelled() {
                residue.finish();
            } else {
                from.sent += residue.result().expect("both ends are open") as usize;
                residue.finish();
            }
            true
        }
    }
}

async fn send(from: &mut End, len: usize, polls: usize, vectored: bool) {
    if from.is_shut || from.sent + len > SENT_MAX {
        return;
    }
    if from.sends.is_busy() && !settle_send(from, polls).await {
        return;
    }
    let whole = bytes(from.sent, len);
    let sent = if vectored {
        let parts: Vec<Vec<u8>> = whole.chunks(len / 3 + 1).map(<[u8]>::to_vec).collect();
        let op = SendMsg::new(from.fd.clone(), parts);
        tried(from.sends.run(op), polls).await.map(|result| result.0)
    } else {
        let op = Send::new(from.fd.clone(), whole);
        tried(from.sends.run(op), polls).await.map(|BufResult(result, _)| result)
    };
    if let Some(sent) = sent {
        from.sent += sent.expect("both ends are open");
    }
}

/// Takes in what a receive got whose future was dropped. False if it goes on.
async fn settle_receive(from: &mut End, to: &mut End, polls: usize) -> bool {
    match tried(to.receives.settle(), polls).await {
        None => false,
        Some(None) => true,
        Some(Some(residue)) => {
            take_residue(from, residue);
            true
        }
    }
}

fn take_residue(from: &mut End, mut residue: Residue<'_>) {
    if !residue.is_cancelled() {
        residue.result().expect("both ends are open");
        residue.for_each_part(&mut |part| arrive(from, part));
    }
    residue.finish();
}

async fn receive_lent(from: &mut End, to: &mut End, polls: usize) {
    if to.receives.is_busy() && !settle_receive(from, to, polls).await {
        return;
    }
    match tried(to.multi.recv(&mut to.receives), polls).await {
        None => {}
        Some(Ok(Some(chunk))) => arrive(from, &chunk),
        Some(Ok(None)) => at_end(from),
        Some(Err(error)) => panic!("{error}"),
    }
}

async fn receive(from: &mut End, to: &mut End, len: usize, polls: usize, vectored: bool) {
    if to.receives.is_busy() && !settle_receive(from, to, polls).await {
        return;
    }
    // A receive that runs ahead would get the bytes before this one.
    if to.multi.is_active() || len == 0 {
        return receive_lent(from, to, polls).await;
    }
    let received = if vectored {
        let parts = vec![Vec::with_capacity(len / 2 + 1), Vec::with_capacity(len)];
        let op = RecvMsg::new(to.fd.clone(), parts);
        tried(to.receives.run(op), polls).await.map(|BufResult(n, parts)| (n, parts.concat()))
    } else {
        let op = Recv::new(to.fd.clone(), Vec::with_capacity(len));
        tried(to.receives.run(op), polls).await.map(|BufResult(n, buf)| (n, buf))
    };
    let Some((result, buf)) = received else { return };
    assert_eq!(result.expect("both ends are open"), buf.len());
    if buf.is_empty() { at_end(from) } else { arrive(from, &buf) }
}

/// Lets everything arrive, and the end after it.
async fn drain(from: &mut End, to: &mut End) {
    while from.sends.is_busy() {
        // A send that cannot go on needs somebody who reads.
        settle_send(from, 1).await;
        receive_lent(from, to, 1).await;
    }
    if !from.is_shut {
        let shut = Submit::new(Shutdown::new(from.fd.clone(), net::Shutdown::Write)).await;
        shut.expect("a connected socket");
        from.is_shut = true;
    }
    while !from.is_over {
        while to.receives.is_busy() && !settle_receive(from, to, 1000).await {}
        match to.multi.recv(&mut to.receives).await {
            Ok(Some(chunk)) => arrive(from, &chunk),
            Ok(None) => at_end(from),
            Err(error) => panic!("{error}"),
        }
    }
}
