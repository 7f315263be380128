//! Copying that reads on while it writes.

use super::{Read, Write};
use ringbolt_buffers::BufResult;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Poll, Waker};

/// Buffers that go around: one is read into while others wait or are written.
const BUFFERS: usize = 4;
/// The first buffer; each that comes back full is doubled, up to the last.
const LEN_MIN: usize = 16 * 1024;
const LEN_MAX: usize = 1024 * 1024;

/// Copies everything from `source` to `sink` and returns how many bytes that were. Reading goes on
/// while earlier data is written, with at most four buffers of 16 KiB to 1 MiB, which adapt to how
/// much a read yields. The sink is flushed at the end and not shut down.
///
/// # Errors
///
/// The first error of either side. Bytes that were read and not written are lost then.
///
/// # Cancellation
///
/// Bytes that were read and not written are lost when the future is dropped.
pub async fn copy<R: Read, W: Write>(source: &mut R, sink: &mut W) -> io::Result<u64> {
    let belt = Belt::default();
    let reading = async {
        let result = belt.read_all(source).await;
        belt.finish(result);
    };
    let writing = belt.write_all(&mut *sink);
    let total = drive(reading, writing).await?;
    sink.flush().await?;
    Ok(total)
}

/// Polls both sides until the writer is done.
async fn drive(
    reading: impl Future<Output = ()>,
    writing: impl Future<Output = io::Result<u64>>,
) -> io::Result<u64> {
    let (mut reading, mut writing) = (pin!(reading), pin!(writing));
    let mut read_done = false;
    poll_fn(|cx| {
        // The writer goes first and last: it frees buffers, and takes what was just read.
        if let Poll::Ready(result) = writing.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if !read_done {
            read_done = reading.as_mut().poll(cx).is_ready();
        }
        writing.as_mut().poll(cx)
    })
    .await
}

/// Buffers between the reader and the writer.
#[derive(Default)]
struct Belt {
    full: RefCell<VecDeque<Vec<u8>>>,
    empty: RefCell<Vec<Vec<u8>>>,
    made: Cell<usize>,
    ended: RefCell<Option<io::Result<()>>>,
    waker: Cell<Option<Waker>>,
}

impl Belt {
    async fn read_all<R: Read>(&self, source: &mut R) -> io::Result<()> {
        loop {
            let buf = self.take_empty().await;
            let BufResult(result, buf) = source.read(buf).await;
            if result? == 0 {
                return Ok(());
            }
            self.full.borrow_mut().push_back(buf);
            self.wake();
        }
    }

    async fn write_all<W: Write>(&self, sink: &mut W) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let Some(buf) = self.take_full().await? else { return Ok(total) };
            let BufResult(result, mut buf) = sink.write_all(buf).await;
            result?;
            total += buf.len() as u64;
            if buf.len() == buf.capacity() && buf.capacity() < LEN_MAX {
                buf = Vec::with_capacity(buf.capacity() * 2);
            }
            buf.clear();
            self.empty.borrow_mut().push(buf);
            self.wake();
        }
    }

    async fn take_empty(&self) -> Vec<u8> {
        poll_fn(|cx| {
            if let Some(buf) = self.empty.borrow_mut().pop() {
                return Poll::Ready(buf);
            }
            if self.made.get() < BUFFERS {
                self.made.set(self.made.get() + 1);
                return Poll::Ready(Vec::with_capacity(LEN_MIN));
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    async fn take_full(&self) -> io::Result<Option<Vec<u8>>> {
        poll_fn(|cx| {
            if let Some(buf) = self.full.borrow_mut().pop_front() {
                return Poll::Ready(Ok(Some(buf)));
            }
            if let Some(result) = self.ended.borrow_mut().take() {
                return Poll::Ready(result.map(|()| None));
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    fn finish(&self, result: io::Result<()>) {
        *self.ended.borrow_mut() = Some(result);
        self.wake();
    }

    /// Both sides are polled together, so one waker serves them.
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
