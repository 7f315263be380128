//! The two directions of a stream in the hands of two tasks.

use super::{ReadHalf, TcpStream, WriteHalf};
use ringbolt_buffers::{BufResult, IoBuf, IoBufMut};
use ringbolt_runtime::io::{Read, Write};
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::ops::{Deref, DerefMut};

/// The receiving direction of a stream that was split. The connection is closed when both are gone.
#[derive(Debug)]
pub struct OwnedReadHalf(pub(super) ReadHalf);

/// The sending direction of a stream that was split. Dropping it tells the peer that nothing more
/// will be sent.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    half: Option<WriteHalf>,
}

impl OwnedWriteHalf {
    pub(super) fn new(half: WriteHalf) -> OwnedWriteHalf {
        OwnedWriteHalf { half: Some(half) }
    }

    /// Puts the two directions of one stream together again.
    ///
    /// # Errors
    ///
    /// Both, if they are not of one stream.
    pub fn reunite(mut self, read: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        if self.fd().raw() != read.fd().raw() {
            return Err(ReuniteError(read, self));
        }
        let write = self.half.take().expect("taken only here");
        Ok(TcpStream::from_halves(read.0, write))
    }
}

/// The directions that were to be put together are not of one stream.
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of one stream")
    }
}

impl fmt::Debug for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ReuniteError {}

impl Deref for OwnedReadHalf {
    type Target = ReadHalf;

    fn deref(&self) -> &ReadHalf {
        &self.0
    }
}

impl DerefMut for OwnedReadHalf {
    fn deref_mut(&mut self) -> &mut ReadHalf {
        &mut self.0
    }
}

impl Deref for OwnedWriteHalf {
    type Target = WriteHalf;

    fn deref(&self) -> &WriteHalf {
        self.half.as_ref().expect("taken only by `reunite`")
    }
}

impl DerefMut for OwnedWriteHalf {
    fn deref_mut(&mut self) -> &mut WriteHalf {
        self.half.as_mut().expect("taken only by `reunite`")
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if let Some(half) = &self.half {
            // The peer may have gone, which is as good.
            let _ = half.fd().end(Shutdown::Write);
        }
    }
}

impl Read for OwnedReadHalf {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        self.0.read(buf).await
    }
}

impl Write for OwnedWriteHalf {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        (**self).write(buf).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        (**self).shutdown().await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        (**self).write_all(buf).await
    }
}
