//! TCP streams.

use super::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::ToAddrs;
use ringbolt_buffers::{BufResult, Chunk, IoBuf, IoBufMut, IoVectored, IoVectoredMut};
use ringbolt_runtime::io::{Read, Write};
use ringbolt_runtime::op::{Connect, Shutdown, Submit};
use ringbolt_runtime::{Fd, explain, timeout};
use socket2::{SockRef, Socket};
use std::io;
use std::net::{self, SocketAddr};
use std::time::Duration;

/// A TCP connection.
///
/// Each direction has one operation in flight at most, which the `&mut` of the methods sees to. To
/// use both directions at a time, [`split`](TcpStream::split) it.
///
/// Dropping it closes the connection; the peer sees the end after all that was sent.
///
/// ```
/// use ringbolt_net::{TcpListener, TcpStream};
/// # fn main() -> std::io::Result<()> {
/// # ringbolt_runtime::Builder::new().build()?.block_on(async {
/// let mut listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut client = TcpStream::connect(listener.local_addr()?).await?;
/// let (mut server, _) = listener.accept().await?;
/// client.write_all("ping").await.0?;
/// let chunk = server.recv().await?.expect("the client is still there");
/// assert_eq!(&*chunk, b"ping");
/// server.write_all(chunk).await.0?;
/// let (n, buf) = client.read(Vec::with_capacity(64)).await.into_result()?;
/// assert_eq!((n, buf.as_slice()), (4, &b"ping"[..]));
/// # Ok(()) })
/// # }
/// ```
#[derive(Debug)]
pub struct TcpStream {
    read: ReadHalf,
    write: WriteHalf,
}

impl TcpStream {
    pub(super) fn from_fd(fd: Fd) -> TcpStream {
        TcpStream { read: ReadHalf::new(fd.clone()), write: WriteHalf::new(fd) }
    }

    pub(super) fn from_halves(read: ReadHalf, write: WriteHalf) -> TcpStream {
        TcpStream { read, write }
    }

    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    ///
    /// Those of connect(2), with the address in the text, and those of [`ToAddrs`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives the attempt up.
    pub async fn connect<A: ToAddrs>(address: A) -> io::Result<TcpStream> {
        let mut last = None;
        for address in address.to_addrs().await? {
            match connect_to(address).await {
                Ok(stream) => return Ok(stream),
                // The time limit concerns the other addresses as well.
                Err(error) if is_given_up(&error) => return Err(error),
                Err(error) => last = Some(explain(error, format!("cannot connect to {address}"))),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::InvalidInput)))
    }

    /// Connects, name resolution included, within `limit`.
    ///
    /// # Errors
    ///
    /// `TimedOut` after `limit`, else those of [`TcpStream::connect`].
    pub async fn connect_timeout<A: ToAddrs>(address: A, limit: Duration) -> io::Result<TcpStream> {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if !is_given_up(&error) => Err(error),
            _ => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection within {limit:?}"),
            )),
        }
    }

    /// Takes over a connected socket of `std`.
    ///
    /// # Errors
    ///
    /// When the socket cannot be put into the mode that the driver needs.
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        Ok(TcpStream::from_fd(Fd::socket(Socket::from(stream))?))
    }

    /// Gives the connection up, for example to move it to another core.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if something was received that has not been handed out, or an operation is in
    /// flight; the connection is closed then.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
        let TcpStream { read, write } = self;
        let fd = read.fd().clone();
        drop((read, write));
        fd.into_socket().map(net::TcpStream::from).map_err(|_| {
            io::Error::new(io::ErrorKind::ResourceBusy, "an operation is in flight on the stream")
        })
    }

    /// The next bytes, in a buffer that is lent, see [`ReadHalf::recv`].
    ///
    /// # Errors
    ///
    /// Those of recv(2), after all bytes that came before.
    ///
    /// # Cancellation
    ///
    /// No byte is lost when the future is dropped.
    pub async fn recv(&mut self) -> io::Result<Option<Chunk>> {
        self.read.recv().await
    }

    /// Receives into `buf`, see [`ReadHalf::read`].
    ///
    /// # Errors
    ///
    /// Those of recv(2), after all bytes that came before.
    ///
    /// # Cancellation
    ///
    /// No byte is lost when the future is dropped; the buffer is freed once the system let go of
    /// it.
    pub async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        self.read.read(buf).await
    }

    /// Receives into several buffers in order.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2), after all bytes that came before.
    pub async fn read_vectored<V: IoVectoredMut>(&mut self, bufs: V) -> BufResult<usize, V> {
        self.read.read_vectored(bufs).await
    }

    /// Sends from `buf`, maybe less than the whole of it, see [`WriteHalf::write`].
    ///
    /// # Errors
    ///
    /// See [`WriteHalf::write`].
    pub async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        self.write.write(buf).await
    }

    /// Sends the whole of `buf` and gives it back, see [`WriteHalf::write_all`].
    ///
    /// # Errors
    ///
    /// See [`WriteHalf::write_all`].
    pub async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        self.write.write_all(buf).await
    }

    /// Sends from several buffers in order, maybe less than all of them.
    ///
    /// # Errors
    ///
    /// See [`WriteHalf::write`].
    pub async fn write_vectored<V: IoVectored>(&mut self, bufs: V) -> BufResult<usize, V> {
        self.write.write_vectored(bufs).await
    }

    /// Ends one or both directions.
    ///
    /// # Errors
    ///
    /// Those of shutdown(2); `NotConnected` if the peer has gone.
    pub async fn shutdown(&mut self, how: net::Shutdown) -> io::Result<()> {
        match how {
            net::Shutdown::Write => self.write.shutdown().await,
            _ => Submit::new(Shutdown::new(self.read.fd().clone(), how)).await,
        }
    }

    /// Lends out the two directions, to be used at the same time in one task.
    pub fn split(&mut self) -> (&mut ReadHalf, &mut WriteHalf) {
        (&mut self.read, &mut self.write)
    }

    /// Takes the stream apart, so that two tasks can have a direction each.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (OwnedReadHalf(self.read), OwnedWriteHalf::new(self.write))
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.read.fd().local_addr()
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.read.fd().peer_addr()
    }

    /// Whether small packets are sent at once (`TCP_NODELAY`, tcp(7)).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.read.fd().set_nodelay(on)
    }

    /// The socket, for options that have no method here.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.read.fd())
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let fd = Fd::tcp(address)?;
    Submit::new(Connect::new(fd.clone(), address.into())).await?;
    Ok(TcpStream::from_fd(fd))
}

/// Whether an attempt ended since its time was over.
fn is_given_up(error: &io::Error) -> bool {
    ringbolt_runtime::is_cancelled(error)
}

impl Read for TcpStream {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        self.read.read(buf).await
    }
}

impl Write for TcpStream {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        self.write.write(buf).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.write.shutdown().await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        self.write.write_all(buf).await
    }
}
