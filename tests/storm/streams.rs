//! Connections: what arrives is what was sent, in order, however receives and sends are left.

use crate::guard::{Arena, PAGE};
use crate::leave::{self, Leave};
use crate::ledger;
use ringbolt::BufResult;
use ringbolt::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use std::cell::Cell;
use std::rc::Rc;

/// The stream repeats after a prime number of bytes.
const PERIOD: u64 = 251;

/// What was handed over by calls that ended, and by all calls.
#[derive(Debug, Default)]
struct Sent {
    surely: Cell<u64>,
    at_most: Cell<u64>,
}

/// A few connections, one after the other, through a listener whose accepts are left as well.
pub(crate) async fn run(arena: Rc<Arena>) {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    for _ in 0..fastrand::u8(1..6) {
        let client = ringbolt::spawn(TcpStream::connect(address));
        let server = loop {
            ledger::note(|counts| counts.calls += 1);
            match leave::run_borrowed(listener.accept(), Leave::random()).await {
                Some(Ok((server, _))) => break server,
                Some(Err(error)) if !ringbolt::is_cancelled(&error) => panic!("{error}"),
                _ => {}
            }
        };
        let client = client.await.expect("not aborted").expect("the listener is there");
        let (read, write) = server.into_split();
        let (back, forth) = client.into_split();
        let (sent, answered) = (Rc::<Sent>::default(), Rc::<Sent>::default());
        let tasks = [
            ringbolt::spawn(send(write, sent.clone(), arena.clone())),
            ringbolt::spawn(receive(back, sent, arena.clone())),
            ringbolt::spawn(send(forth, answered.clone(), arena.clone())),
            ringbolt::spawn(receive(read, answered, arena.clone())),
        ];
        for task in tasks {
            task.await.expect("the streams behave");
        }
    }
}

fn stream(position: u64, len: usize) -> Vec<u8> {
    (position..position + len as u64).map(|at| (at % PERIOD) as u8).collect()
}

async fn send(mut stream_half: OwnedWriteHalf, sent: Rc<Sent>, arena: Rc<Arena>) {
    for _ in 0..fastrand::u8(..40) {
        ledger::note(|counts| counts.calls += 1);
        let position = sent.at_most.get();
        let len = match fastrand::u8(..8) {
            0 => fastrand::usize(1..200_000),
            _ => fastrand::usize(1..2000),
        };
        sent.at_most.set(position + len as u64);
        let bytes = stream(position, len);
        if fastrand::u8(..8) == 0 {
            // One that was left may have been sent or not, and the next one would be in its place.
            drop(leave::run_borrowed(stream_half.write_all(bytes), Leave::random()).await);
            return;
        }
        let result = match len <= PAGE {
            true => stream_half.write_all(arena.holding(&bytes)).await.0,
            false => stream_half.write_all(bytes).await.0,
        };
        match result {
            Ok(()) => sent.surely.set(position + len as u64),
            Err(_) => return,
        }
    }
}

async fn receive(mut stream_half: OwnedReadHalf, sent: Rc<Sent>, arena: Rc<Arena>) {
    let mut position = 0;
    loop {
        ledger::note(|counts| counts.calls += 1);
        let how = Leave::random();
        let got = if fastrand::bool() {
            let chunk = leave::run_borrowed(stream_half.recv(), how).await;
            chunk.map(|chunk| chunk.map(|chunk| chunk.map_or(Vec::new(), |chunk| chunk.to_vec())))
        } else if let Leave::Forget(_) = how {
            // A buffer whose call is forgotten before it is in the kernel's hands stays for ever.
            let buf = Vec::with_capacity(fastrand::usize(1..5000));
            let read = leave::run_borrowed(stream_half.read(buf), how).await;
            read.map(|BufResult(result, buf)| result.map(|_| buf))
        } else {
            // Often less than there is to receive.
            let buf = arena.room(fastrand::usize(1..PAGE));
            let read = leave::run_borrowed(stream_half.read(buf), how).await;
            read.map(|BufResult(result, buf)| result.map(|_| buf.bytes().to_vec()))
        };
        match got {
            Some(Ok(bytes)) if bytes.is_empty() => break,
            Some(Ok(bytes)) => {
                if bytes != stream(position, bytes.len()) {
                    ledger::wrong(format_args!("wrong bytes after {position}"));
                }
                position += bytes.len() as u64;
            }
            Some(Err(error)) if ringbolt::is_cancelled(&error) => {}
            Some(Err(error)) => {
                ledger::wrong(format_args!("a receive failed: {error}"));
                break;
            }
            None => {}
        }
    }
    if position < sent.surely.get() || position > sent.at_most.get() {
        ledger::wrong(format_args!("{position} bytes came, and {sent:?}"));
    }
}
