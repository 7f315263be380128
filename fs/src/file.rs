//! Open files.

use super::{Metadata, OpenOptions};
use ringbolt_buffers::{BufResult, IoBuf, IoBufMut, IoVectored, IoVectoredMut};
use ringbolt_runtime::Fd;
use ringbolt_runtime::io;
use ringbolt_runtime::op::{self, Fence, Fsync, Stat, Submit};
use std::path::Path;

type Result<T> = std::io::Result<T>;

/// An open file.
///
/// Reads and writes name an offset in bytes, so many of them may be in flight. As
/// [`Read`](io::Read) and [`Write`](io::Write) it goes through the file from its beginning.
///
/// A write whose future is dropped may still land. Whatever could be overtaken by it, that is
/// another write, a sync or the close, waits for its end first.
///
/// Dropping the file closes it, off the core, and an error of the close is lost: use
/// [`close`](File::close) to see it.
#[derive(Debug)]
pub struct File {
    fd: Fd,
    position: u64,
    /// Knows the writes and syncs that are left behind, and whether a sync failed: the system may
    /// have thrown the data away then.
    fence: Fence,
}

impl File {
    pub(crate) fn new(fd: Fd) -> File {
        File { fd, position: 0, fence: Fence::new() }
    }

    /// Opens `path` for reading.
    ///
    /// # Errors
    ///
    /// See [`OpenOptions::open`].
    pub async fn open<P: AsRef<Path>>(path: P) -> Result<File> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens `path` for writing, emptied or new.
    ///
    /// # Errors
    ///
    /// See [`OpenOptions::open`].
    pub async fn create<P: AsRef<Path>>(path: P) -> Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path).await
    }

    /// Takes over a file of `std`.
    pub fn from_std(file: std::fs::File) -> File {
        File::new(Fd::file(file))
    }

    /// Reads at `offset` into `buf`, at most its capacity, and gives it back with exactly the bytes
    /// read; none at the end of the file.
    ///
    /// # Errors
    ///
    /// Those of pread(2).
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves the file as it is; the buffer is freed once the system let go of
    /// it.
    pub async fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        Submit::new(op::Read::new(self.fd.clone(), buf, offset)).await
    }

    /// Reads at `offset` until the capacity of `buf` is filled.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends before; the buffer then holds what there was.
    pub async fn read_exact_at<B: IoBufMut>(&self, buf: B, offset: u64) -> BufResult<(), B> {
        io::Read::read_exact(&mut At { file: self, offset }, buf).await
    }

    /// Reads at `offset` into several buffers in order.
    ///
    /// # Errors
    ///
    /// Those of preadv(2).
    pub async fn read_vectored_at<V: IoVectoredMut>(
        &self,
        bufs: V,
        offset: u64,
    ) -> BufResult<usize, V> {
        Submit::new(op::ReadVectored::new(self.fd.clone(), bufs, offset)).await
    }

    /// Writes from `buf` at `offset`, maybe less than the whole of it, and gives it back.
    ///
    /// # Errors
    ///
    /// Those of pwrite(2).
    ///
    /// # Cancellation
    ///
    /// A write whose future is dropped may still happen, in whole or in part.
    pub async fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        self.fence.pass().await;
        let (token, _awaiting) = self.fence.begin();
        Submit::new(op::Write::new(self.fd.clone(), buf, offset).fenced(token)).await
    }

    /// Writes the whole of `buf` at `offset` and gives it back.
    ///
    /// # Errors
    ///
    /// Those of pwrite(2); a part may have been written then.
    pub async fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<(), B> {
        io::Write::write_all(&mut At { file: self, offset }, buf).await
    }

    /// Writes from several buffers in order at `offset`, maybe less than all of them.
    ///
    /// # Errors
    ///
    /// Those of pwritev(2).
    pub async fn write_vectored_at<V: IoVectored>(
        &self,
        bufs: V,
        offset: u64,
    ) -> BufResult<usize, V> {
        self.fence.pass().await;
        let (token, _awaiting) = self.fence.begin();
        Submit::new(op::WriteVectored::new(self.fd.clone(), bufs, offset).fenced(token)).await
    }

    /// Makes everything written so far durable, the file's metadata included (fsync(2)).
    ///
    /// # Errors
    ///
    /// Those of fsync(2). After a failure the system may have dropped the data, so every later sync
    /// of this file fails as well.
    pub async fn sync_all(&self) -> Result<()> {
        self.sync(false).await
    }

    /// Makes everything written so far durable, as far as reading it back needs it (fdatasync(2)).
    ///
    /// # Errors
    ///
    /// As for [`File::sync_all`].
    pub async fn sync_data(&self) -> Result<()> {
        self.sync(true).await
    }

    async fn sync(&self, data_only: bool) -> Result<()> {
        self.fence.pass().await;
        let sound = || match self.fence.has_failed() {
            false => Ok(()),
            true => Err(std::io::Error::other(
                "an earlier sync of this file failed, and its data may be lost; write it anew",
            )),
        };
        sound()?;
        let (token, _awaiting) = self.fence.begin();
        Submit::new(Fsync::new(self.fd.clone(), data_only).fenced(token)).await?;
        // The system reports a loss to one sync: of two at a time the other may succeed.
        sound()
    }

    /// What is known of the file.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    pub async fn metadata(&self) -> Result<Metadata> {
        Submit::new(Stat::fd(self.fd.clone())).await
    }

    /// Closes the file, after the end of every operation on it, and reports what the system found.
    ///
    /// # Errors
    ///
    /// Those of close(2), such as an error of an earlier write on a network file system. The file
    /// is closed all the same.
    pub async fn close(self) -> Result<()> {
        self.fence.pass().await;
        let File { mut fd, .. } = self;
        loop {
            fd.unique().await;
            match fd.into_close() {
                Ok(close) => return Submit::new(close).await,
                Err(still) => fd = still,
            }
        }
    }
}

impl io::Read for File {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        let BufResult(result, buf) = self.read_at(buf, self.position).await;
        if let Ok(n) = result {
            self.position += n as u64;
        }
        BufResult(result, buf)
    }
}

impl io::Write for File {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let BufResult(result, buf) = self.write_at(buf, self.position).await;
        if let Ok(n) = result {
            self.position += n as u64;
        }
        BufResult(result, buf)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A place in a file that moves with what is read or written there.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl io::Read for At<'_> {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        let BufResult(result, buf) = self.file.read_at(buf, self.offset).await;
        if let Ok(n) = result {
            self.offset += n as u64;
        }
        BufResult(result, buf)
    }
}

impl io::Write for At<'_> {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let BufResult(result, buf) = self.file.write_at(buf, self.offset).await;
        if let Ok(n) = result {
            self.offset += n as u64;
        }
        BufResult(result, buf)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}
