//! Operations on open files, one object each.

use super::bench::*;
use super::expect::{Keeps, Kind};
use super::files::File;
use crate::buffers::BufResult;
use crate::op::verdict::Family;
use crate::sqe::opcode;
use std::io;

/// What is in the file, or written to it.
const TEXT: &[u8] = b"hello";
/// What is in a buffer before.
const OLD: &[u8] = b"old";
/// Room in a buffer.
const ROOM: usize = 16;

const fn kind(name: &'static str, opcode: u8, family: Family, keeps: Keeps) -> Kind {
    Kind { name, opcode, family, keeps, cancellable: true }
}

/// A file with a text in it, which no longer has a name.
struct Content {
    bench: Bench,
    file: File,
    same: std::fs::File,
}

impl Content {
    fn new(bench: &Bench) -> Content {
        let file = tempfile::tempfile_in(bench.dir.path()).expect("a file");
        std::os::unix::fs::FileExt::write_all_at(&file, TEXT, 0).expect("room for five bytes");
        let same = file.try_clone().expect("a descriptor");
        Content { bench: bench.clone(), file: File::from_std(file), same }
    }

    /// What is in the file now is taken away.
    fn take(&self) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        let n = std::os::unix::fs::FileExt::read_at(&self.same, &mut bytes, 0).expect("a file");
        self.same.set_len(0).expect("a file");
        bytes.truncate(n);
        bytes
    }

    fn written(&self, result: io::Result<()>) -> io::Result<()> {
        let content = self.take();
        result?;
        assert_eq!(content, TEXT);
        Ok(())
    }
}

/// pread(2).
pub(super) struct ReadAt(Content);

impl Subject for ReadAt {
    const KIND: Kind = kind("read", opcode::READ, Family::Transfer, Keeps::Nothing);

    fn new(bench: &Bench) -> ReadAt {
        ReadAt(Content::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let result = self.0.file.read_at(self.0.bench.buffer(OLD, ROOM), 0).await;
        let (result, buf) = moved(result, TEXT.len());
        match &result {
            Ok(()) => assert_eq!(buf.bytes(), TEXT),
            Err(_) => buf.is_as_before(OLD, ROOM),
        }
        result
    }
}

/// preadv(2).
pub(super) struct ReadParts(Content);

impl Subject for ReadParts {
    const KIND: Kind = kind("readv", opcode::READV, Family::Transfer, Keeps::Nothing);

    fn new(bench: &Bench) -> ReadParts {
        ReadParts(Content::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let bufs = [self.0.bench.buffer(b"", 2), self.0.bench.buffer(OLD, ROOM)];
        let result = self.0.file.read_vectored_at(bufs, 0).await;
        let (result, [first, second]) = moved(result, TEXT.len());
        match &result {
            Ok(()) => assert_eq!([first.bytes(), second.bytes()].concat(), TEXT),
            Err(_) => {
                first.is_as_before(b"", 2);
                second.is_as_before(OLD, ROOM);
            }
        }
        result
    }
}

/// pwrite(2).
pub(super) struct WriteAt(Content);

impl Subject for WriteAt {
    const KIND: Kind = kind("write", opcode::WRITE, Family::Transfer, Keeps::Nothing);

    fn new(bench: &Bench) -> WriteAt {
        WriteAt(Content::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let result = self.0.file.write_at(self.0.bench.buffer(TEXT, ROOM), 0).await;
        let (result, buf) = moved(result, TEXT.len());
        buf.is_as_before(TEXT, ROOM);
        self.0.written(result)
    }
}

/// pwritev(2).
pub(super) struct WriteParts(Content);

impl Subject for WriteParts {
    const KIND: Kind = kind("writev", opcode::WRITEV, Family::Transfer, Keeps::Nothing);

    fn new(bench: &Bench) -> WriteParts {
        WriteParts(Content::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let bufs = [self.0.bench.buffer(&TEXT[..2], 2), self.0.bench.buffer(&TEXT[2..], ROOM)];
        let BufResult(result, [first, second]) = self.0.file.write_vectored_at(bufs, 0).await;
        first.is_as_before(&TEXT[..2], 2);
        second.is_as_before(&TEXT[2..], ROOM);
        self.0.written(result.map(|n| assert_eq!(n, TEXT.len())))
    }
}

/// fsync(2).
pub(super) struct SyncAll(Content);

impl Subject for SyncAll {
    const KIND: Kind = kind("fsync", opcode::FSYNC, Family::Sync, Keeps::File);

    fn new(bench: &Bench) -> SyncAll {
        SyncAll(Content::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        self.0.file.sync_all().await
    }
}

/// fdatasync(2).
pub(super) struct SyncData(Content);

impl Subject for SyncData {
    const KIND: Kind = kind("fdatasync", opcode::FSYNC, Family::Sync, Keeps::File);

    fn new(bench: &Bench) -> SyncData {
        SyncData(Content::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        self.0.file.sync_data().await
    }
}

/// fstat(2).
pub(super) struct StatOpen(Content);

impl Subject for StatOpen {
    const KIND: Kind = kind("stat of a file", opcode::STATX, Family::Look, Keeps::Nothing);

    fn new(bench: &Bench) -> StatOpen {
        StatOpen(Content::new(bench))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let found = self.0.file.metadata().await?;
        assert_eq!((found.len(), found.is_file()), (TEXT.len() as u64, true));
        Ok(())
    }
}
