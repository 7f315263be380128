//! Operations on names.

use super::{Answer, Made, Row, Step, Subject};
use ringbolt::fs;
use ringbolt::op::{CreateDir, Remove, Rename, Stat, Submit};
use ringbolt_runtime::sqe::opcode;
use std::io;
use std::path::{Path, PathBuf};

pub(super) fn rows() -> Vec<Row> {
    use opcode::{MKDIRAT, RENAMEAT, STATX, UNLINKAT};
    let name = |name, opcode, way| Row::new(name, opcode, move |_| names(way));
    vec![
        name("statx of a path", STATX, Way::Stat),
        name("mkdirat", MKDIRAT, Way::CreateDir),
        name("renameat", RENAMEAT, Way::Rename),
        name("unlinkat of a file", UNLINKAT, Way::RemoveFile),
        name("unlinkat of a directory", UNLINKAT, Way::RemoveDir),
        name("fs::metadata", STATX, Way::FsStat),
        name("fs::symlink_metadata", STATX, Way::FsStatLink),
        name("fs::create_dir", MKDIRAT, Way::FsCreateDir),
        // A directory that is not there is made, one that is there is what was wanted.
        name("fs::create_dir_all, stat", STATX, Way::FsCreateDirAll)
            .answers(Answer::Except(&[libc::ENOENT]))
            .followed(),
        name("fs::create_dir_all, mkdir", MKDIRAT, Way::FsCreateDirAll)
            .answers(Answer::Except(&[libc::EEXIST]))
            .after(2),
        name("fs::rename", RENAMEAT, Way::FsRename),
        name("fs::remove_file", UNLINKAT, Way::FsRemoveFile),
        name("fs::remove_dir", UNLINKAT, Way::FsRemoveDir),
    ]
}

#[derive(Clone, Copy)]
enum Way {
    Stat,
    CreateDir,
    Rename,
    RemoveFile,
    RemoveDir,
    FsStat,
    FsStatLink,
    FsCreateDir,
    FsCreateDirAll,
    FsRename,
    FsRemoveFile,
    FsRemoveDir,
}

/// Names that no operation has met before.
struct Names {
    way: Way,
    next: u32,
    path: PathBuf,
}

fn names(way: Way) -> Made {
    Box::pin(async move { Box::new(Names { way, next: 0, path: PathBuf::new() }) as _ })
}

impl Subject for Names {
    fn prepare(&mut self) -> Step<'_> {
        Box::pin(async {
            self.next += 1;
            self.path = format!("/tmp/{}", self.next).into();
            match self.way {
                Way::CreateDir | Way::FsCreateDir | Way::FsCreateDirAll => {}
                Way::RemoveDir | Way::FsRemoveDir => {
                    fs::create_dir(&self.path).await.expect("a new name");
                }
                _ => fs::write(&self.path, "").await.0.expect("a new name"),
            }
        })
    }

    fn run(&mut self) -> Step<'_, io::Result<()>> {
        Box::pin(async {
            let path: &Path = &self.path;
            let to = path.with_extension("moved");
            match self.way {
                Way::Stat => Submit::new(Stat::path(path, true)?).await.map(drop),
                Way::CreateDir => Submit::new(CreateDir::new(path, 0o700)?).await,
                Way::Rename => Submit::new(Rename::new(path, &to)?).await,
                Way::RemoveFile => Submit::new(Remove::file(path)?).await,
                Way::RemoveDir => Submit::new(Remove::dir(path)?).await,
                Way::FsStat => fs::metadata(path).await.map(drop),
                Way::FsStatLink => fs::symlink_metadata(path).await.map(drop),
                Way::FsCreateDir => fs::create_dir(path).await,
                Way::FsCreateDirAll => fs::create_dir_all(path).await,
                Way::FsRename => fs::rename(path, &to).await,
                Way::FsRemoveFile => fs::remove_file(path).await,
                Way::FsRemoveDir => fs::remove_dir(path).await,
            }
        })
    }

    /// What failed has changed nothing: the last name is as the last operation left it.
    fn balance(self: Box<Self>) -> Step<'static> {
        Box::pin(async move {
            let there = fs::metadata(&self.path).await.is_ok();
            let moved = fs::metadata(self.path.with_extension("moved")).await.is_ok();
            let expected = match self.way {
                Way::Rename | Way::FsRename => (false, true),
                Way::RemoveFile | Way::FsRemoveFile => (false, false),
                Way::RemoveDir | Way::FsRemoveDir => (false, false),
                _ => (true, false),
            };
            assert_eq!((there, moved), expected);
        })
    }
}
