//! From the target of a request to an open file, without ever leaving the served directory.
//!
//! The names of a path are looked at one by one, from the root on. One that is not a plain name is
//! refused, so nothing like `..` reaches the system. A symbolic link is resolved where it is met,
//! and must lead to a place inside of the root. Whoever can rename files in the served directory
//! could exchange a name after it was looked at; such people are trusted here.

use crate::reply::Status;
use ringbolt::fs::{self, File, Metadata};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// What is served when a directory is asked for.
const INDEX: &str = "index.html";

/// What the target of a request stands for.
#[derive(Debug)]
pub(crate) enum Found {
    File(File, Metadata, PathBuf),
    /// A directory whose name was written without the slash at its end.
    Directory,
}

/// The path and the query of a target.
pub(crate) fn split(target: &str) -> Result<(&str, &str), Status> {
    // What a client sends that takes this server for a proxy.
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    };
    if !target.starts_with('/') {
        return Err(Status::BAD_REQUEST);
    }
    Ok(target.find('?').map_or((target, ""), |mark| target.split_at(mark)))
}

/// Opens what `path` leads to below `root`, which is absolute and has no symbolic links.
pub(crate) async fn open(root: &Path, path: &str) -> Result<Found, Status> {
    let mut at = root.to_path_buf();
    let mut found = None;
    for segment in path.split('/') {
        if let Some(name) = name(segment)? {
            found = Some(step(root, &mut at, &name).await?);
        }
    }
    match (found.is_none_or(|found| found.is_dir()), path.ends_with('/')) {
        (true, false) => return Ok(Found::Directory),
        (true, true) => {
            // A directory can be looked into only by its index: its files are not listed.
            let index = step(root, &mut at, OsStr::new(INDEX)).await;
            let hide =
                |status| if status == Status::NOT_FOUND { Status::FORBIDDEN } else { status };
            found = Some(index.map_err(hide)?);
        }
        (false, true) => return Err(Status::NOT_FOUND),
        (false, false) => {}
    }
    // To open a pipe would wait for its other end, and to open a device may do anything.
    if !found.is_some_and(|found| found.is_file()) {
        return Err(Status::FORBIDDEN);
    }
    let file = File::open(&at).await.map_err(|error| status_of(&error))?;
    // Not what the name led to before: it may be another file by now.
    let metadata = file.metadata().await.map_err(|error| status_of(&error))?;
    if metadata.is_file() { Ok(Found::File(file, metadata, at)) } else { Err(Status::FORBIDDEN) }
}

/// Goes on to `name` in the directory `at`; through a link only if it stays inside of `root`.
async fn step(root: &Path, at: &mut PathBuf, name: &OsStr) -> Result<Metadata, Status> {
    at.push(name);
    let found = fs::symlink_metadata(&at).await.map_err(|error| status_of(&error))?;
    if !found.file_type().is_symlink() {
        return Ok(found);
    }
    let link = at.clone();
    let real = ringbolt::spawn_blocking(move || link.canonicalize()).await;
    // A link that leads nowhere, or in circles, is no file.
    let real = real.ok().and_then(Result::ok).ok_or(Status::NOT_FOUND)?;
    if !real.starts_with(root) {
        return Err(Status::FORBIDDEN);
    }
    *at = real;
    fs::symlink_metadata(&at).await.map_err(|error| status_of(&error))
}

/// The name that a part of a path stands for; `None` for one that means "here".
fn name(segment: &str) -> Result<Option<Cow<'_, OsStr>>, Status> {
    if segment.is_empty() {
        return Ok(None);
    }
    let name = decode(segment)?;
    let mut parts = Path::new(&name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::CurDir), None) => Ok(None),
        // A name that holds a separator has several parts, or one that is shorter.
        (Some(Component::Normal(part)), None) if *part == *name && !is_special(part) => {
            Ok(Some(name))
        }
        (Some(Component::ParentDir), None) => Err(Status::BAD_REQUEST),
        _ => Err(Status::NOT_FOUND),
    }
}

/// Whether the system takes more than a name in it: Windows a stream of the file after a colon.
fn is_special(name: &OsStr) -> bool {
    cfg!(windows) && name.as_encoded_bytes().contains(&b':')
}

/// Undoes the encoding of a name in a target (RFC 3986, 2.1).
fn decode(segment: &str) -> Result<Cow<'_, OsStr>, Status> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(OsStr::new(segment)));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (code, after) = rest.split_first_chunk::<2>().ok_or(Status::BAD_REQUEST)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(Status::BAD_REQUEST);
        bytes.push((digit(code[0])? * 16 + digit(code[1])?) as u8);
        rest = after;
    }
    // No system has a file whose name contains a zero byte.
    if bytes.contains(&0) {
        return Err(Status::BAD_REQUEST);
    }
    os_name(bytes).map(Cow::Owned)
}

/// On Unix a name is any bytes.
#[cfg(unix)]
fn os_name(bytes: Vec<u8>) -> Result<std::ffi::OsString, Status> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

/// Elsewhere it is text.
#[cfg(not(unix))]
fn os_name(bytes: Vec<u8>) -> Result<std::ffi::OsString, Status> {
    String::from_utf8(bytes).map(Into::into).map_err(|_| Status::NOT_FOUND)
}

fn status_of(error: &std::io::Error) -> Status {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Status::NOT_FOUND,
        // Too long, or not a name at all on this system.
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => Status::NOT_FOUND,
        ErrorKind::PermissionDenied => Status::FORBIDDEN,
        _ => Status::INTERNAL_ERROR,
    }
}
