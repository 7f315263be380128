//! What is held: an operation on one end of something, and the other end of it.

use crate::gate::{Gate, LEN};
use ringbolt::op::{Awaiting, Fd, Fence, Lane, Op, Submit};
use ringbolt::op::{Read, ReadVectored, Recv, RecvMsg, Send, SendMsg, Write, WriteVectored};
use ringbolt_runtime::sqe::{Cqe, OpMeta, Sqe};
use socket2::{SockRef, Socket};
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What the held operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pipe,
    Unix,
    Tcp,
    /// A file in memory.
    Tmpfs,
    /// A file of the file system that temporary files are on.
    Disk,
}

impl Kind {
    pub(crate) fn is_socket(self) -> bool {
        matches!(self, Kind::Unix | Kind::Tcp)
    }

    pub(crate) fn is_file(self) -> bool {
        matches!(self, Kind::Tmpfs | Kind::Disk)
    }
}

/// One operation: on what, in which direction, with one buffer or three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct What {
    pub(crate) kind: Kind,
    pub(crate) inward: bool,
    pub(crate) vectored: bool,
}

/// The other end.
#[derive(Debug)]
pub(crate) enum Far {
    Pipe(File),
    Unix(UnixStream),
    Tcp(TcpStream),
    File(File),
}

/// How long a blocking end of `std` waits before that is a failure.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// Both ends of what `what` works on: the near one for the library, the far one for the test. For
/// an inward operation `content` is there already.
pub(crate) fn ends(what: What, folders: &Folders, content: &[u8]) -> (Near, Far) {
    let (near, mut far) = match what.kind {
        Kind::Pipe => {
            let (reader, writer) = io::pipe().expect("two free descriptors");
            let (reader, writer) = (std::os::fd::OwnedFd::from(reader), writer.into());
            let (near, far) = if what.inward { (reader, writer) } else { (writer, reader) };
            (Near::File(near.into()), Far::Pipe(far.into()))
        }
        Kind::Unix => {
            let (near, far) = UnixStream::pair().expect("two free descriptors");
            far.set_read_timeout(PATIENCE).expect("a limit above zero");
            (Near::Socket(near.into()), Far::Unix(far))
        }
        Kind::Tcp => {
            let (near, far) = tcp_pair();
            (Near::Socket(near.into()), Far::Tcp(far))
        }
        Kind::Tmpfs => file(folders.memory.path(), what.inward, content),
        Kind::Disk => file(folders.disk.path(), what.inward, content),
    };
    if what.inward && !what.kind.is_file() {
        far.give(content);
        near.await_bytes(content.len());
    }
    (near, far)
}

pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let far = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    far.set_read_timeout(PATIENCE).expect("a limit above zero");
    far.set_nodelay(true).expect("a TCP socket");
    let (near, _) = listener.accept().expect("it was connected to");
    (near, far)
}

fn file(folder: &Path, inward: bool, content: &[u8]) -> (Near, Far) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let path = folder.join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
    fs::write(&path, if inward { content } else { &[] }).expect("the folder is writable");
    let far = File::open(&path).expect("just written");
    let near = File::options().read(true).write(true).open(&path).expect("just written");
    fs::remove_file(&path).expect("just written");
    (Near::File(near), Far::File(far))
}

/// Where files of each kind are.
#[derive(Debug)]
pub(crate) struct Folders {
    memory: tempfile::TempDir,
    disk: tempfile::TempDir,
}

impl Folders {
    pub(crate) fn new() -> Folders {
        let disk = tempfile::tempdir().expect("a folder for temporary files");
        let memory = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
        Folders { memory, disk }
    }
}

/// The end that the library gets.
#[derive(Debug)]
pub(crate) enum Near {
    Socket(Socket),
    File(File),
}

impl Near {
    /// Waits until this many bytes can be read, so that one read finds them all.
    fn await_bytes(&self, wanted: usize) {
        let fd = match self {
            Near::Socket(socket) => socket.as_raw_fd(),
            Near::File(file) => file.as_raw_fd(),
        };
        await_bytes(fd, wanted);
    }
}

pub(crate) fn await_bytes(fd: i32, wanted: usize) {
    let mut there: i32 = 0;
    while (there as usize) < wanted {
        // SAFETY: the answer goes to a valid pointer.
        let n = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut there) };
        assert_eq!(n, 0, "{}", io::Error::last_os_error());
        std::thread::yield_now();
    }
}

impl Far {
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        match self {
            Far::Pipe(file) => file.write_all(bytes),
            Far::Unix(stream) => stream.write_all(bytes),
            Far::Tcp(stream) => stream.write_all(bytes),
            Far::File(..) => unreachable!("files are written before"),
        }
        .expect("the near end is open");
    }

    /// All that was written to the near end, which is closed.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        match self {
            Far::Pipe(file) => file.read_to_end(&mut all),
            Far::Unix(stream) => stream.read_to_end(&mut all),
            Far::Tcp(stream) => stream.read_to_end(&mut all),
            Far::File(file) => file.rewind().and_then(|()| file.read_to_end(&mut all)),
        }
        .expect("nothing but an end is left");
        all
    }

    /// At least `len` bytes of what was written to the near end, which is open.
    pub(crate) fn take_until(mut self, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let mut part = [0; LEN];
            let n = match &mut self {
                Far::Pipe(file) => file.read(&mut part),
                Far::Unix(stream) => stream.read(&mut part),
                Far::Tcp(stream) => stream.read(&mut part),
                Far::File(file) => file.read(&mut part),
            };
            match n {
                Ok(n) => all.extend_from_slice(&part[..n]),
                // The end of the ring is still at work on this thread.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("the near end is open: {error}"),
            }
            std::thread::yield_now();
        }
        all
    }

    /// Goes, so that the near end sees a reset where its kind has that.
    pub(crate) fn reset(self) {
        if let Far::Tcp(stream) = &self {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
        }
    }
}

/// An operation that a worker of the ring executes from the start (`IOSQE_ASYNC`,
/// io_uring_enter(2)), so that the worker is held, and not the core. Helper threads do so anyway.
#[derive(Debug)]
struct ByWorker<O>(O);

const ASYNC: u8 = 1 << 4;

// SAFETY: every part is that of the operation inside; who executes it changes nothing.
unsafe impl<O: Op> Op for ByWorker<O> {
    type Output = O::Output;
    const META: &'static OpMeta = O::META;
    const ENDS: bool = O::ENDS;

    fn fill(&mut self, sqe: &mut Sqe) {
        self.0.fill(sqe);
        sqe.flags |= ASYNC;
    }

    fn ended(&mut self, cqe: Cqe) {
        self.0.ended(cqe);
    }

    fn decode(self, cqe: Cqe) -> O::Output {
        self.0.decode(cqe)
    }

    fn residue(&mut self, cqe: Cqe, part: &mut dyn FnMut(&[u8])) {
        self.0.residue(cqe, part);
    }
}

/// A held operation.
pub(crate) type Job<'a> = Pin<Box<dyn Future<Output = io::Result<usize>> + 'a>>;

/// A write that its caller waits for, as a file notes it.
fn awaited(write: Job<'_>, awaiting: Awaiting) -> Job<'_> {
    Box::pin(async move {
        let _awaiting = awaiting;
        write.await
    })
}

/// The near end in the hands of the library. A socket has a lane, as a stream has one for each
/// direction; a file has a fence.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) what: What,
    pub(crate) fd: Fd,
    pub(crate) lane: Lane,
    pub(crate) writes: Fence,
}

impl Line {
    pub(crate) fn new(what: What, near: Near) -> Line {
        let fd = match near {
            Near::Socket(socket) => Fd::socket(socket).expect("a socket in any mode"),
            Near::File(file) => Fd::file(file),
        };
        Line::with(what, fd)
    }

    pub(crate) fn with(what: What, fd: Fd) -> Line {
        Line { what, fd, lane: Lane::new(), writes: Fence::new() }
    }

    /// The operation on the memory of `gate`, from or to the beginning of a file.
    pub(crate) fn start(&mut self, gate: &Arc<Gate>) -> Job<'_> {
        let fd = self.fd.clone();
        let offset = if self.what.kind.is_file() { 0 } else { u64::MAX };
        let (one, many) = (|len| gate.buffer(len), |full| gate.buffers(full));
        match (self.what.kind.is_socket(), self.what.inward, self.what.vectored) {
            (true, true, false) => self.in_lane(Recv::new(fd, one(0))),
            (true, true, true) => self.in_lane(RecvMsg::new(fd, many(false))),
            (true, false, false) => self.in_lane(Send::new(fd, one(LEN))),
            (true, false, true) => self.in_lane(SendMsg::new(fd, many(true))),
            (false, true, false) => alone(Read::new(fd, one(0), offset)),
            (false, true, true) => alone(ReadVectored::new(fd, many(false), offset)),
            (false, false, false) => {
                let (token, awaiting) = self.writes.begin();
                let write = alone(Write::new(fd, one(LEN), offset).fenced(token));
                awaited(write, awaiting)
            }
            (false, false, true) => {
                let (token, awaiting) = self.writes.begin();
                let write = alone(WriteVectored::new(fd, many(true), offset).fenced(token));
                awaited(write, awaiting)
            }
        }
    }

    fn in_lane<B: 'static, O: Op<Output = ringbolt::BufResult<usize, B>>>(
        &mut self,
        op: O,
    ) -> Job<'_> {
        let run = self.lane.run(ByWorker(op));
        Box::pin(async { run.await.0 })
    }

    /// What came in after the held operation, up to the end of the stream.
    pub(crate) async fn rest(&mut self, start: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let fd = self.fd.clone();
            let buf = Vec::with_capacity(LEN);
            let ringbolt::BufResult(result, buf) = if self.what.kind.is_socket() {
                self.lane.run(Recv::new(fd, buf)).await
            } else if self.what.kind.is_file() {
                Submit::new(Read::new(fd, buf, (start + all.len()) as u64)).await
            } else {
                Submit::new(ByWorker(Read::new(fd, buf, u64::MAX))).await
            };
            if result? == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&buf);
        }
    }

    /// Writes `bytes` after what was written before, as the next message.
    pub(crate) async fn put(&mut self, bytes: &[u8], start: u64) -> io::Result<usize> {
        let (fd, buf) = (self.fd.clone(), bytes.to_vec());
        if self.what.kind.is_socket() {
            self.lane.run(Send::new(fd, buf)).await.0
        } else {
            let offset = if self.what.kind.is_file() { start } else { u64::MAX };
            let (token, _awaiting) = self.writes.begin();
            Submit::new(Write::new(fd, buf, offset).fenced(token)).await.0
        }
    }

    /// As `put` into a pipe, by a worker, since it has to wait for the lock of the pipe.
    pub(crate) async fn put_by_worker(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = Write::new(self.fd.clone(), bytes.to_vec(), u64::MAX);
        Submit::new(ByWorker(write)).await.0
    }
}

fn alone<B: 'static, O: Op<Output = ringbolt::BufResult<usize, B>>>(op: O) -> Job<'static> {
    let run = Submit::new(ByWorker(op));
    Box::pin(async { run.await.0 })
}
