//! The receiving direction of a TCP stream.

use ringbolt_buffers::{BufResult, Chunk, IoBufMut, IoVectoredMut};
use ringbolt_runtime::Fd;
use ringbolt_runtime::io::{Read, fill};
use ringbolt_runtime::op::{Lane, Recv, RecvMsg, RecvMulti};
use std::io;

/// The receiving direction of a [`TcpStream`](super::TcpStream).
///
/// Bytes belong to the connection: what a receive got whose future was dropped, or even forgotten,
/// is what the next receive returns.
#[derive(Debug)]
pub struct ReadHalf {
    fd: Fd,
    lane: Lane,
    multi: RecvMulti,
}

impl ReadHalf {
    pub(super) fn new(fd: Fd) -> ReadHalf {
        ReadHalf { multi: RecvMulti::new(fd.clone()), lane: Lane::new(), fd }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// The next bytes, in a buffer that is lent by the core's pool until the chunk is dropped;
    /// `None` once the peer has ended its side. An idle connection holds no buffer.
    ///
    /// Up to 256 KiB are received ahead while the task is busy; then the peer is slowed down.
    /// When the pool is low, the chunk is a copy, so that nobody can keep buffers from others.
    ///
    /// # Errors
    ///
    /// Those of recv(2), after all bytes that came before.
    ///
    /// # Cancellation
    ///
    /// No byte is lost when the future is dropped.
    pub async fn recv(&mut self) -> io::Result<Option<Chunk>> {
        if self.lane.is_busy()
            && let Some(chunk) = self.left_over().await?
        {
            return Ok(Some(chunk));
        }
        self.multi.recv(&mut self.lane).await
    }

    /// Receives into `buf`, at most its capacity, and gives it back with exactly the received
    /// bytes; none if the peer has ended its side, or if the buffer has no room.
    ///
    /// # Errors
    ///
    /// Those of recv(2), after all bytes that came before.
    ///
    /// # Cancellation
    ///
    /// No byte is lost when the future is dropped; the buffer is freed once the system let go of
    /// it.
    pub async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
        if buf.io_parts_mut().1 == 0 {
            return BufResult(Ok(0), buf);
        }
        match self.buffered().await {
            Ok(Some(chunk)) => BufResult(Ok(self.hand_over(chunk, &mut buf)), buf),
            Ok(None) => self.lane.run(Recv::new(self.fd.clone(), buf)).await,
            Err(error) => BufResult(Err(error), buf),
        }
    }

    /// Receives into several buffers in order, as [`ReadHalf::read`] does into one.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2), after all bytes that came before.
    pub async fn read_vectored<V: IoVectoredMut>(&mut self, bufs: V) -> BufResult<usize, V> {
        let mut bufs = bufs;
        match self.buffered().await {
            Ok(Some(mut chunk)) => {
                let n = ringbolt_runtime::io::fill_vectored(&mut bufs, &chunk);
                chunk.advance(n);
                self.keep(chunk);
                BufResult(Ok(n), bufs)
            }
            Ok(None) => self.lane.run(RecvMsg::new(self.fd.clone(), bufs)).await,
            Err(error) => BufResult(Err(error), bufs),
        }
    }

    /// What was received before, or is being received into the pool; `None` if nothing is, so that
    /// the caller's buffer may be used.
    async fn buffered(&mut self) -> io::Result<Option<Chunk>> {
        if self.lane.is_busy()
            && let Some(chunk) = self.left_over().await?
        {
            return Ok(Some(chunk));
        }
        if !self.multi.is_active() {
            return Ok(None);
        }
        match self.multi.recv(&mut self.lane).await? {
            Some(chunk) => Ok(Some(chunk)),
            None => Ok(Some(Chunk::copied(&[]))),
        }
    }

    /// What a receive got whose future has gone.
    async fn left_over(&mut self) -> io::Result<Option<Chunk>> {
        let Some(mut residue) = self.lane.settle().await else { return Ok(None) };
        if residue.is_cancelled() {
            residue.finish();
            return Ok(None);
        }
        if let Err(error) = residue.result() {
            residue.finish();
            return Err(error);
        }
        // The end of the stream is not remembered here: the next receive meets it again.
        let mut bytes = Vec::new();
        residue.for_each_part(&mut |part| bytes.extend_from_slice(part));
        residue.finish();
        Ok((!bytes.is_empty()).then(|| Chunk::from(bytes)))
    }

    fn hand_over<B: IoBufMut>(&mut self, mut chunk: Chunk, buf: &mut B) -> usize {
        let n = fill(buf, &chunk);
        chunk.advance(n);
        self.keep(chunk);
        n
    }

    fn keep(&mut self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.multi.put_back(chunk);
        }
    }
}

impl Read for ReadHalf {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        ReadHalf::read(self, buf).await
    }
}
