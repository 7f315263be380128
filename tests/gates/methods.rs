//! The methods that ask a file system, each with the request that answers it.

use crate::content;
use crate::gate::{Gate, LEN, PAGES};
use crate::remote::Server;
use crate::server::kind;
use crate::support::{no_operation, until};
use ringbolt::fs::{self, File, OpenOptions};
use ringbolt::{BufResult, metrics};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

/// A method, which the file system is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Open,
    Create,
    Metadata,
    FileMetadata,
    Read,
    ReadVectored,
    Write,
    WriteVectored,
    SyncAll,
    SyncData,
    Close,
    CreateDir,
    RemoveFile,
    RemoveDir,
    Rename,
}

pub(crate) const METHODS: [Method; 15] = [
    Method::Open,
    Method::Create,
    Method::Metadata,
    Method::FileMetadata,
    Method::Read,
    Method::ReadVectored,
    Method::Write,
    Method::WriteVectored,
    Method::SyncAll,
    Method::SyncData,
    Method::Close,
    Method::CreateDir,
    Method::RemoveFile,
    Method::RemoveDir,
    Method::Rename,
];

impl Method {
    /// The request that answers it.
    pub(crate) fn request(self) -> u32 {
        match self {
            Method::Open => kind::OPEN,
            Method::Create => kind::CREATE,
            Method::Metadata | Method::FileMetadata => kind::GETATTR,
            Method::Read | Method::ReadVectored => kind::READ,
            Method::Write | Method::WriteVectored => kind::WRITE,
            Method::SyncAll | Method::SyncData => kind::FSYNC,
            Method::Close => kind::FLUSH,
            Method::CreateDir => kind::MKDIR,
            Method::RemoveFile => kind::UNLINK,
            Method::RemoveDir => kind::RMDIR,
            Method::Rename => kind::RENAME,
        }
    }

    /// Buffers that it has, with this gate.
    pub(crate) fn buffers(self) -> usize {
        match self {
            Method::Read | Method::Write => 1,
            Method::ReadVectored | Method::WriteVectored => PAGES,
            _ => 0,
        }
    }

    pub(crate) fn needs_file(self) -> bool {
        use Method::*;
        let on_file = [FileMetadata, Read, ReadVectored, Write, WriteVectored, SyncAll, SyncData];
        self == Close || on_file.contains(&self)
    }

    pub(crate) fn reads(self) -> bool {
        matches!(self, Method::Read | Method::ReadVectored)
    }

    pub(crate) fn writes(self) -> bool {
        matches!(self, Method::Write | Method::WriteVectored)
    }

    /// The content of the memory that it starts with.
    pub(crate) fn memory(self) -> Vec<u8> {
        if self.writes() { content(LEN) } else { vec![0; LEN] }
    }
}

/// A method under way, and the count that it reports, if it does.
pub(crate) type Job = Pin<Box<dyn Future<Output = io::Result<usize>>>>;

/// The file that a method may need.
pub(crate) async fn file_for(method: Method, server: &Server) -> Option<Rc<File>> {
    if !method.needs_file() {
        return None;
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(server.path("file")).await;
    Some(Rc::new(file.expect("the server has it")))
}

fn counted<B: 'static>(f: impl Future<Output = BufResult<usize, B>> + 'static) -> Job {
    Box::pin(async { f.await.0 })
}

fn plain<T>(f: impl Future<Output = io::Result<T>> + 'static) -> Job {
    Box::pin(async { f.await.map(|_| 0) })
}

pub(crate) fn start(
    method: Method,
    server: &Server,
    file: Option<Rc<File>>,
    gate: &Arc<Gate>,
) -> Job {
    let path = |name| server.path(name);
    let (known, new) = (path("file"), path("new"));
    let file = || file.expect("the method needs a file");
    let (one, many) = (|len| gate.buffer(len), |full| gate.buffers(full));
    match method {
        Method::Open => plain(File::open(known)),
        Method::Create => plain(create(new)),
        Method::Metadata => plain(fs::metadata(known)),
        Method::FileMetadata => {
            let file = file();
            plain(async move { file.metadata().await })
        }
        Method::Read => {
            let (file, buf) = (file(), one(0));
            counted(async move { file.read_at(buf, 0).await })
        }
        Method::ReadVectored => {
            let (file, bufs) = (file(), many(false));
            counted(async move { file.read_vectored_at(bufs, 0).await })
        }
        Method::Write => {
            let (file, buf) = (file(), one(LEN));
            counted(async move { file.write_at(buf, 0).await })
        }
        Method::WriteVectored => {
            let (file, bufs) = (file(), many(true));
            counted(async move { file.write_vectored_at(bufs, 0).await })
        }
        Method::SyncAll => {
            let file = file();
            plain(async move { file.sync_all().await })
        }
        Method::SyncData => {
            let file = file();
            plain(async move { file.sync_data().await })
        }
        Method::Close => plain(Rc::into_inner(file()).expect("nobody else has it").close()),
        Method::CreateDir => plain(fs::create_dir(new)),
        Method::RemoveFile => plain(fs::remove_file(known)),
        Method::RemoveDir => plain(fs::remove_dir(path("folder"))),
        Method::Rename => plain(fs::rename(known, new)),
    }
}

async fn create(path: PathBuf) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path).await
}

/// Waits until everything has ended and is closed.
pub(crate) async fn settled() {
    no_operation().await;
    until("everything is closed", || metrics().descriptors == 0).await;
    // A close follows the operation that held the descriptor.
    no_operation().await;
}
