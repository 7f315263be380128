//! Reading and writing with owned buffers, and copying from one to the other.

mod copy;

pub use copy::copy;
use ringbolt_buffers::{BufResult, IoBuf, IoBufMut, IoVectoredMut};
use std::future::Future;
use std::io;

/// Copies the beginning of `bytes` into `buf`, as much as fits, and returns how much that was. The
/// content of `buf` is exactly these bytes then.
pub fn fill<B: IoBufMut>(buf: &mut B, bytes: &[u8]) -> usize {
    let (ptr, capacity) = buf.io_parts_mut();
    let n = bytes.len().min(capacity);
    // SAFETY: the buffer is exclusively borrowed and has room for `n` bytes.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), ptr.as_ptr(), n) };
    // SAFETY: the first `n` bytes have just been written.
    unsafe { buf.set_init(n) };
    n
}

/// As [`fill`], into several buffers in order.
pub fn fill_vectored<V: IoVectoredMut>(bufs: &mut V, bytes: &[u8]) -> usize {
    let mut done = 0;
    bufs.for_each_part_mut(&mut |ptr, capacity| {
        let n = (bytes.len() - done).min(capacity);
        // SAFETY: the part is exclusively borrowed and has room for `n` bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes[done..].as_ptr(), ptr.as_ptr(), n) };
        done += n;
    });
    // SAFETY: the parts have been filled in order with `done` bytes.
    unsafe { bufs.set_init_total(done) };
    done
}

/// A source of bytes that fills buffers which it owns meanwhile.
pub trait Read {
    /// Reads at most one buffer full. The buffer comes back with exactly the bytes read; none at
    /// the end, or if the buffer has no room.
    fn read<B: IoBufMut>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>>;

    /// Fills the whole capacity of `buf`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the source ends before; the buffer then holds what there was.
    fn read_exact<B: IoBufMut>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>>
    where
        Self: Sized,
    {
        async move {
            let mut buf = buf;
            let capacity = buf.io_parts_mut().1;
            let mut filled = 0;
            while filled < capacity {
                // SAFETY: the first `filled` bytes were read by the rounds before.
                unsafe { buf.set_init(filled) };
                let BufResult(result, slice) = self.read(buf.slice_mut(filled..capacity)).await;
                buf = slice.into_inner();
                match result {
                    Ok(0) => {
                        let text = format!("the source ended after {filled} of {capacity} bytes");
                        let error = io::Error::new(io::ErrorKind::UnexpectedEof, text);
                        return BufResult(Err(error), buf);
                    }
                    Ok(n) => filled += n,
                    Err(error) => return BufResult(Err(error), buf),
                }
            }
            BufResult(Ok(()), buf)
        }
    }

    /// Reads to the end and appends everything to `buf`; returns how many bytes that were.
    fn read_to_end(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<usize, Vec<u8>>>
    where
        Self: Sized,
    {
        async move {
            let mut buf = buf;
            let start = buf.len();
            loop {
                if buf.capacity() - buf.len() < 32 {
                    buf.reserve(buf.capacity().clamp(8 * 1024, 8 * 1024 * 1024));
                }
                let end = buf.len();
                let BufResult(result, slice) = self.read(buf.slice_mut(end..)).await;
                buf = slice.into_inner();
                match result {
                    Ok(0) => return BufResult(Ok(buf.len() - start), buf),
                    Ok(_) => {}
                    Err(error) => return BufResult(Err(error), buf),
                }
            }
        }
    }
}

/// A sink for bytes that owns the buffers while it takes from them.
pub trait Write {
    /// Writes from `buf`, maybe less than the whole of it, and gives it back.
    fn write<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>>;

    /// Hands on what the sink itself still holds.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>>;

    /// Says that nothing more will be written.
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>>;

    /// Writes the whole of `buf` and gives it back.
    ///
    /// # Errors
    ///
    /// `WriteZero` if the sink takes nothing any more; how much it had taken is not known then.
    fn write_all<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>>
    where
        Self: Sized,
    {
        async move {
            let len = buf.io_parts().1;
            let mut rest = buf.slice(0..len);
            while rest.io_parts().1 > 0 {
                let BufResult(result, back) = self.write(rest).await;
                rest = back;
                match result {
                    Ok(0) => {
                        let error = io::Error::from(io::ErrorKind::WriteZero);
                        return BufResult(Err(error), rest.into_inner());
                    }
                    Ok(n) => rest.advance(n),
                    Err(error) => return BufResult(Err(error), rest.into_inner()),
                }
            }
            BufResult(Ok(()), rest.into_inner())
        }
    }
}

impl<T: Read> Read for &mut T {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        (**self).read(buf).await
    }
}

impl<T: Write> Write for &mut T {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        (**self).write(buf).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        (**self).flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        (**self).shutdown().await
    }
}
