//! Operations on files.

use super::{Answer, Made, Row, Step, Subject, at};
use crate::watched::{Watch, Watched};
use ringbolt::BufResult;
use ringbolt::fs::{self, File, OpenOptions};
use ringbolt::io::{Read as _, Write as _};
use ringbolt::op::{self, Fd, Fsync, Open, OpenWish, ReadVectored, Stat, Submit, WriteVectored};
use ringbolt_runtime::sqe::opcode;
use std::io;
use std::path::Path;

const PATH: &str = "/tmp/file";
const CONTENT: &[u8] = b"what the file holds";

pub(super) fn rows() -> Vec<Row> {
    use opcode::{CLOSE, FSYNC, OPENAT, READ, READV, STATX, WRITE, WRITEV};
    let file = |name, opcode, way| Row::new(name, opcode, move |watch| opened(way, watch));
    vec![
        file("read", READ, Way::Read),
        file("readv", READV, Way::ReadParts),
        file("write", WRITE, Way::Write),
        file("writev", WRITEV, Way::WriteParts),
        file("fsync", FSYNC, Way::Sync),
        file("fdatasync", FSYNC, Way::SyncData),
        file("openat", OPENAT, Way::Open),
        file("statx of a descriptor", STATX, Way::Stat),
        file("close", CLOSE, Way::Close),
        file("File::open", OPENAT, Way::FileOpen),
        file("File::create", OPENAT, Way::FileCreate),
        file("File::read_at", READ, Way::FileRead),
        file("File::read_exact_at", READ, Way::FileReadExact),
        file("File::read_vectored_at", READV, Way::FileReadParts),
        file("File::read", READ, Way::FileReadOn),
        file("File::write_at", WRITE, Way::FileWrite),
        file("File::write_all_at", WRITE, Way::FileWriteAll),
        file("File::write_vectored_at", WRITEV, Way::FileWriteParts),
        file("File::write", WRITE, Way::FileWriteOn),
        file("File::sync_all", FSYNC, Way::FileSync).answers(Answer::Sticky),
        file("File::sync_data", FSYNC, Way::FileSyncData).answers(Answer::Sticky),
        file("File::metadata", STATX, Way::FileStat),
        file("File::close", CLOSE, Way::FileClose),
        file("drop of a File", CLOSE, Way::FileDrop).answers(Answer::Nobody),
        file("fs::read, open", OPENAT, Way::ReadWhole),
        file("fs::read, stat", STATX, Way::ReadWhole).after(1),
        file("fs::read, read", READ, Way::ReadWhole).after(2),
        file("fs::read_to_string", READ, Way::ReadText).after(2),
        file("fs::write, open", OPENAT, Way::WriteWhole),
        file("fs::write, write", WRITE, Way::WriteWhole).after(1),
        file("fs::write, close", CLOSE, Way::WriteWhole).after(2),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Read,
    ReadParts,
    Write,
    WriteParts,
    Sync,
    SyncData,
    Open,
    Stat,
    Close,
    FileOpen,
    FileCreate,
    FileRead,
    FileReadExact,
    FileReadParts,
    FileReadOn,
    FileWrite,
    FileWriteAll,
    FileWriteParts,
    FileWriteOn,
    FileSync,
    FileSyncData,
    FileStat,
    FileClose,
    FileDrop,
    ReadWhole,
    ReadText,
    WriteWhole,
}

/// A file with [`CONTENT`].
struct Opened {
    way: Way,
    fd: Fd,
    file: File,
    /// Other handles, to be closed.
    spare: Option<File>,
    spare_fd: Option<Fd>,
    watch: Watch,
}

fn wish() -> OpenWish {
    OpenWish { read: true, write: true, mode: 0o600, ..OpenWish::default() }
}

async fn open_file() -> File {
    OpenOptions::new().read(true).write(true).open(PATH).await.expect("it was made")
}

async fn open_fd() -> Fd {
    let open = Open::new(Path::new(PATH), &wish()).expect("a plain path");
    Submit::new(open).await.expect("it was made")
}

fn opened(way: Way, watch: Watch) -> Made {
    Box::pin(async move {
        fs::write(PATH, CONTENT).await.0.expect("the disk has room");
        let (fd, file) = (open_fd().await, open_file().await);
        Box::new(Opened { way, fd, file, spare: None, spare_fd: None, watch }) as _
    })
}

impl Opened {
    fn room(&self) -> Watched {
        self.watch.buffer(CONTENT.len())
    }

    fn rooms(&self) -> [Watched; 2] {
        [self.watch.buffer(5), self.watch.buffer(CONTENT.len() - 5)]
    }

    fn full(&self) -> Watched {
        self.watch.holding(CONTENT)
    }

    fn parts(&self) -> [Watched; 2] {
        [self.watch.holding(&CONTENT[..5]), self.watch.holding(&CONTENT[5..])]
    }

    async fn read(&mut self) -> io::Result<()> {
        let buf = self.room();
        let (place, fd) = (at(&buf), self.fd.clone());
        let exact = |BufResult(result, buf): BufResult<(), _>| {
            BufResult(result.map(|()| CONTENT.len()), buf)
        };
        let BufResult(result, buf) = match self.way {
            Way::Read => Submit::new(op::Read::new(fd, buf, 0)).await,
            Way::FileRead => self.file.read_at(buf, 0).await,
            Way::FileReadExact => exact(self.file.read_exact_at(buf, 0).await),
            _ => {
                // The position moves with what is read, and no further.
                let done = self.file.read(buf).await;
                if done.0.is_ok() {
                    self.file = open_file().await;
                }
                done
            }
        };
        assert_eq!(place, at(&buf), "another buffer came back");
        let whole = if result.is_ok() { CONTENT } else { b"" };
        assert_eq!(buf.bytes(), whole);
        result.map(drop)
    }

    async fn read_parts(&mut self) -> io::Result<()> {
        let (bufs, fd) = (self.rooms(), self.fd.clone());
        let BufResult(result, [a, b]) = match self.way {
            Way::ReadParts => Submit::new(ReadVectored::new(fd, bufs, 0)).await,
            _ => self.file.read_vectored_at(bufs, 0).await,
        };
        let whole = if result.is_ok() { CONTENT } else { b"" };
        assert_eq!([a.bytes(), b.bytes()].concat(), whole);
        result.map(drop)
    }

    async fn write(&mut self) -> io::Result<()> {
        let buf = self.full();
        let (place, fd) = (at(&buf), self.fd.clone());
        let BufResult(result, buf) = match self.way {
            Way::Write => Submit::new(op::Write::new(fd, buf, 0)).await.map(drop),
            Way::FileWrite => self.file.write_at(buf, 0).await.map(drop),
            Way::FileWriteAll => self.file.write_all_at(buf, 0).await,
            Way::FileWriteOn => self.file.write(buf).await.map(drop),
            _ => fs::write(PATH, buf).await,
        };
        assert_eq!(place, at(&buf), "another buffer came back");
        assert_eq!(buf.bytes(), CONTENT);
        result
    }

    async fn write_parts(&mut self) -> io::Result<()> {
        let (bufs, fd) = (self.parts(), self.fd.clone());
        let BufResult(result, [a, b]) = match self.way {
            Way::WriteParts => Submit::new(WriteVectored::new(fd, bufs, 0)).await,
            _ => self.file.write_vectored_at(bufs, 0).await,
        };
        assert_eq!([a.bytes(), b.bytes()].concat(), CONTENT);
        result.map(drop)
    }

    async fn other(&mut self) -> io::Result<()> {
        let fd = self.fd.clone();
        let len = CONTENT.len() as u64;
        match self.way {
            Way::Sync => Submit::new(Fsync::new(fd, false)).await,
            Way::SyncData => Submit::new(Fsync::new(fd, true)).await,
            Way::FileSync => self.file.sync_all().await,
            Way::FileSyncData => self.file.sync_data().await,
            Way::Open => Submit::new(Open::new(Path::new(PATH), &wish())?).await.map(drop),
            Way::FileOpen => File::open(PATH).await.map(drop),
            Way::FileCreate => File::create("/tmp/other").await.map(drop),
            Way::Stat => Submit::new(Stat::fd(fd)).await.map(|found| assert_eq!(found.len(), len)),
            Way::FileStat => self.file.metadata().await.map(|found| assert_eq!(found.len(), len)),
            Way::ReadText => {
                fs::read_to_string(PATH).await.map(|text| assert_eq!(text.as_bytes(), CONTENT))
            }
            _ => fs::read(PATH).await.map(|bytes| assert_eq!(bytes, CONTENT)),
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        match self.way {
            Way::Close => {
                let fd = self.spare_fd.take().expect("it was prepared");
                Submit::new(fd.into_close().expect("nobody else has it")).await
            }
            Way::FileClose => self.spare.take().expect("it was prepared").close().await,
            _ => {
                drop(self.spare.take());
                ringbolt::sleep(super::DISK * 2).await;
                Ok(())
            }
        }
    }
}

impl Subject for Opened {
    fn prepare(&mut self) -> Step<'_> {
        Box::pin(async {
            match self.way {
                Way::Close => self.spare_fd = Some(open_fd().await),
                Way::FileClose | Way::FileDrop => self.spare = Some(open_file().await),
                _ => {}
            }
        })
    }

    fn run(&mut self) -> Step<'_, io::Result<()>> {
        use Way::*;
        match self.way {
            Read | FileRead | FileReadExact | FileReadOn => Box::pin(self.read()),
            ReadParts | FileReadParts => Box::pin(self.read_parts()),
            Write | FileWrite | FileWriteAll | FileWriteOn | WriteWhole => Box::pin(self.write()),
            WriteParts | FileWriteParts => Box::pin(self.write_parts()),
            Close | FileClose | FileDrop => Box::pin(self.close()),
            _ => Box::pin(self.other()),
        }
    }
}
