//! Names in directories.

use super::Metadata;
use ringbolt_runtime::op::{CreateDir, Remove, Rename, Stat, Submit};
use std::io;
use std::path::Path;

/// `error` with what was to be done to which path.
pub(crate) fn named(what: &str, path: &Path, error: io::Error) -> io::Error {
    if ringbolt_runtime::is_cancelled(&error) {
        return error;
    }
    ringbolt_runtime::explain(error, format!("cannot {what} {}", path.display()))
}

/// What is known of the file that `path` leads to.
///
/// # Errors
///
/// Those of stat(2), with the path in the text.
pub async fn metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    stat(path.as_ref(), true).await
}

/// What is known of `path` itself, if it is a symbolic link.
///
/// # Errors
///
/// Those of lstat(2), with the path in the text.
pub async fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    stat(path.as_ref(), false).await
}

async fn stat(path: &Path, follow: bool) -> io::Result<Metadata> {
    let named = |error: io::Error| named("look at", path, error);
    Submit::new(Stat::path(path, follow).map_err(named)?).await.map_err(named)
}

/// Creates the directory `path`; its parent has to exist.
///
/// # Errors
///
/// Those of mkdir(2), with the path in the text.
pub async fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    let named = |error: io::Error| named("create directory", path, error);
    Submit::new(CreateDir::new(path, 0o777).map_err(named)?).await.map_err(named)
}

/// Creates the directory `path` and its parents, as far as they do not exist.
///
/// # Errors
///
/// Those of mkdir(2), with the path in the text.
pub async fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    let mut missing = Vec::new();
    let mut at = Some(path);
    while let Some(dir) = at.filter(|dir| !dir.as_os_str().is_empty()) {
        match metadata(dir).await {
            Ok(found) if found.is_dir() => break,
            Ok(_) => {
                let error = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(named("create directory", dir, error));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(dir),
            Err(error) => return Err(error),
        }
        at = dir.parent();
    }
    for dir in missing.into_iter().rev() {
        match create_dir(dir).await {
            // Somebody else may have made it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
    }
    Ok(())
}

/// Removes the file `path`.
///
/// # Errors
///
/// Those of unlink(2), with the path in the text.
pub async fn remove_file<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    let named = |error: io::Error| named("remove", path, error);
    Submit::new(Remove::file(path).map_err(named)?).await.map_err(named)
}

/// Removes the empty directory `path`.
///
/// # Errors
///
/// Those of rmdir(2), with the path in the text.
pub async fn remove_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    let named = |error: io::Error| named("remove directory", path, error);
    Submit::new(Remove::dir(path).map_err(named)?).await.map_err(named)
}

/// Renames `from` to `to`, replacing a file of that name.
///
/// # Errors
///
/// Those of rename(2), with the path in the text.
pub async fn rename<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let named = |error: io::Error| named("rename", from, error);
    Submit::new(Rename::new(from, to).map_err(named)?).await.map_err(named)
}
