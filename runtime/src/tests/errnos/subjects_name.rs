//! Operations on names in a directory, and on descriptors as such.

use super::bench::*;
use super::expect::{Keeps, Kind};
use crate::Fd;
use crate::op::verdict::Family;
use crate::op::{CreateDir, Open, OpenWish, Remove, Rename, Stat, Submit};
use crate::sqe::opcode;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

const fn kind(name: &'static str, opcode: u8, family: Family) -> Kind {
    Kind { name, opcode, family, keeps: Keeps::Nothing, cancellable: true }
}

/// openat(2).
pub(super) struct OpenFile(PathBuf);

impl Subject for OpenFile {
    const KIND: Kind = kind("open", opcode::OPENAT, Family::Look);

    fn new(bench: &Bench) -> OpenFile {
        let path = bench.dir.path().join("opened");
        fs::write(&path, "text").expect("a file");
        OpenFile(path)
    }

    async fn attempt(&mut self) -> io::Result<()> {
        let wish = OpenWish { read: true, ..OpenWish::default() };
        Submit::new(Open::new(&self.0, &wish)?).await.map(drop)
    }
}

/// close(2), each time of a new descriptor.
pub(super) struct CloseFile {
    path: PathBuf,
    open: Option<i32>,
}

impl CloseFile {
    /// The system did not hear of a close that was forced to fail.
    fn close_for_real(&mut self) {
        if let Some(raw) = self.open.take() {
            // SAFETY: the descriptor was opened by an attempt and has no owner any more.
            drop(unsafe { OwnedFd::from_raw_fd(raw) });
        }
    }
}

impl Subject for CloseFile {
    const KIND: Kind = Kind { cancellable: false, ..kind("close", opcode::CLOSE, Family::Once) };

    fn new(bench: &Bench) -> CloseFile {
        let path = bench.dir.path().join("closed");
        fs::write(&path, "text").expect("a file");
        CloseFile { path, open: None }
    }

    async fn attempt(&mut self) -> io::Result<()> {
        self.close_for_real();
        let file = fs::File::open(&self.path)?;
        self.open = Some(file.as_raw_fd());
        Submit::new(Fd::file(file).into_close().expect("nobody else has it")).await?;
        self.open = None;
        Ok(())
    }
}

impl Drop for CloseFile {
    fn drop(&mut self) {
        self.close_for_real();
    }
}

/// statx(2) of a name.
pub(super) struct StatPath(PathBuf);

impl Subject for StatPath {
    const KIND: Kind = kind("stat", opcode::STATX, Family::Look);

    fn new(bench: &Bench) -> StatPath {
        StatPath(bench.dir.path().to_path_buf())
    }

    async fn attempt(&mut self) -> io::Result<()> {
        assert!(Submit::new(Stat::path(&self.0, true)?).await?.is_dir());
        Ok(())
    }
}

/// mkdirat(2).
pub(super) struct MakeDir(PathBuf);

impl Subject for MakeDir {
    const KIND: Kind = kind("mkdir", opcode::MKDIRAT, Family::Once);

    fn new(bench: &Bench) -> MakeDir {
        MakeDir(bench.dir.path().join("made"))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        Submit::new(CreateDir::new(&self.0, 0o777)?).await?;
        fs::remove_dir(&self.0)
    }
}

/// renameat(2).
pub(super) struct RenameFile([PathBuf; 2]);

impl Subject for RenameFile {
    const KIND: Kind = kind("rename", opcode::RENAMEAT, Family::Once);

    fn new(bench: &Bench) -> RenameFile {
        let paths = ["this", "that"].map(|name| bench.dir.path().join(name));
        fs::write(&paths[0], "text").expect("a file");
        RenameFile(paths)
    }

    async fn attempt(&mut self) -> io::Result<()> {
        Submit::new(Rename::new(&self.0[0], &self.0[1])?).await?;
        fs::rename(&self.0[1], &self.0[0])
    }
}

/// unlinkat(2) of a file.
pub(super) struct RemoveFile(PathBuf);

impl Subject for RemoveFile {
    const KIND: Kind = kind("unlink", opcode::UNLINKAT, Family::Once);

    fn new(bench: &Bench) -> RemoveFile {
        RemoveFile(bench.dir.path().join("removed"))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        fs::write(&self.0, "text")?;
        let removed = Submit::new(Remove::file(&self.0)?).await;
        assert_eq!(self.0.exists(), removed.is_err());
        removed
    }
}

/// unlinkat(2) of a directory.
pub(super) struct RemoveDir(PathBuf);

impl Subject for RemoveDir {
    const KIND: Kind = kind("rmdir", opcode::UNLINKAT, Family::Once);

    fn new(bench: &Bench) -> RemoveDir {
        RemoveDir(bench.dir.path().join("folder"))
    }

    async fn attempt(&mut self) -> io::Result<()> {
        // An attempt that was given up left it.
        fs::create_dir_all(&self.0)?;
        let removed = Submit::new(Remove::dir(&self.0)?).await;
        assert_eq!(self.0.exists(), removed.is_err());
        removed
    }
}
