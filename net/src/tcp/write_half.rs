//! The sending direction of a TCP stream.

use ringbolt_buffers::{BufResult, IoBuf, IoVectored};
use ringbolt_runtime::Fd;
use ringbolt_runtime::io::Write;
use ringbolt_runtime::op::{Lane, Send, SendMsg, Shutdown, Submit};
use std::io;
use std::net;

/// The sending direction of a [`TcpStream`](super::TcpStream).
///
/// At most one send is in flight. A send whose future is dropped is cancelled, and the next one
/// waits for its end; if a part of a message had gone out by then, the stream can only be closed,
/// and says so.
#[derive(Debug)]
pub struct WriteHalf {
    fd: Fd,
    lane: Lane,
    /// A part of a message has been sent whose rest may never follow.
    torn: bool,
}

impl WriteHalf {
    pub(super) fn new(fd: Fd) -> WriteHalf {
        WriteHalf { fd, lane: Lane::new(), torn: false }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Sends from `buf`, maybe less than the whole of it, and gives it back.
    ///
    /// # Errors
    ///
    /// Those of send(2), and `BrokenPipe` after a message that was cut off by a dropped future.
    ///
    /// # Cancellation
    ///
    /// A send whose future is dropped may still happen, in whole or in part.
    pub async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        match self.settle().await {
            Ok(()) => self.lane.run(Send::new(self.fd.clone(), buf)).await,
            Err(error) => BufResult(Err(error), buf),
        }
    }

    /// Sends the whole of `buf` and gives it back.
    ///
    /// # Errors
    ///
    /// As for [`WriteHalf::write`]; the stream can then only be closed.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped after a part was sent, every later send fails.
    pub async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        if let Err(error) = self.settle().await {
            return BufResult(Err(error), buf);
        }
        let len = buf.io_parts().1;
        if len == 0 {
            return BufResult(Ok(()), buf);
        }
        let BufResult(result, buf) = self.lane.run(Send::new(self.fd.clone(), buf)).await;
        match result {
            Ok(n) if n == len => BufResult(Ok(()), buf),
            Ok(n) => self.write_rest(buf, n, len).await,
            Err(error) => BufResult(Err(error), buf),
        }
    }

    /// Sends what a short send left.
    async fn write_rest<B: IoBuf>(&mut self, buf: B, sent: usize, len: usize) -> BufResult<(), B> {
        let mut rest = buf.slice(sent..len);
        self.torn = true;
        loop {
            let left = rest.io_parts().1;
            let BufResult(result, back) = self.lane.run(Send::new(self.fd.clone(), rest)).await;
            rest = back;
            match result {
                Ok(n) if n == left => {
                    self.torn = false;
                    return BufResult(Ok(()), rest.into_inner());
                }
                Ok(n) => rest.advance(n),
                Err(error) => return BufResult(Err(error), rest.into_inner()),
            }
        }
    }

    /// Sends from several buffers in order, maybe less than all of them, and gives them back.
    ///
    /// # Errors
    ///
    /// As for [`WriteHalf::write`].
    pub async fn write_vectored<V: IoVectored>(&mut self, bufs: V) -> BufResult<usize, V> {
        match self.settle().await {
            Ok(()) => self.lane.run(SendMsg::new(self.fd.clone(), bufs)).await,
            Err(error) => BufResult(Err(error), bufs),
        }
    }

    /// Says that nothing more will be sent: the peer sees the end after all that was sent before.
    ///
    /// # Errors
    ///
    /// Those of shutdown(2).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        // A message that was cut off is no reason to keep the peer waiting.
        let _ = self.settle().await;
        Submit::new(Shutdown::new(self.fd.clone(), net::Shutdown::Write)).await
    }

    /// Waits for a send whose future has gone.
    async fn settle(&mut self) -> io::Result<()> {
        if self.lane.is_busy()
            && let Some(mut residue) = self.lane.settle().await
        {
            let sent = residue.result().unwrap_or(0);
            let mut rest = 0;
            residue.for_each_part(&mut |part| rest += part.len());
            self.torn |= sent > 0 && rest > 0;
            residue.finish();
        }
        if self.torn {
            let text = "a part of an earlier message was sent when its future was dropped; the \
                        stream can only be closed";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        Ok(())
    }
}

impl Write for WriteHalf {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        WriteHalf::write(self, buf).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        WriteHalf::shutdown(self).await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        WriteHalf::write_all(self, buf).await
    }
}
