//! How a file is opened.

use super::File;
use ringbolt_runtime::op::{Open, OpenWish, Submit};
use std::io;
use std::path::Path;

/// How a file is opened; the options mean what they mean in `std::fs::OpenOptions`.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("new");
/// # ringbolt_runtime::Builder::new().build()?.block_on(async {
/// let file = ringbolt_fs::OpenOptions::new().write(true).create_new(true).open(&path).await?;
/// file.write_all_at("hello", 0).await.0?;
/// file.close().await
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions(OpenWish);

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// No option set; a new file gets permission bits 0o666, less the umask.
    pub fn new() -> OpenOptions {
        OpenOptions(OpenWish { mode: 0o666, ..OpenWish::default() })
    }

    /// For reading.
    pub fn read(&mut self, on: bool) -> &mut OpenOptions {
        self.0.read = on;
        self
    }

    /// For writing.
    pub fn write(&mut self, on: bool) -> &mut OpenOptions {
        self.0.write = on;
        self
    }

    /// For writing at the end, whatever the offset says.
    pub fn append(&mut self, on: bool) -> &mut OpenOptions {
        self.0.append = on;
        self
    }

    /// Empties the file.
    pub fn truncate(&mut self, on: bool) -> &mut OpenOptions {
        self.0.truncate = on;
        self
    }

    /// Makes the file if there is none.
    pub fn create(&mut self, on: bool) -> &mut OpenOptions {
        self.0.create = on;
        self
    }

    /// Makes the file, and fails if there is one.
    pub fn create_new(&mut self, on: bool) -> &mut OpenOptions {
        self.0.create_new = on;
        self
    }

    /// Permission bits of a new file, before the umask; without effect on Windows.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.0.mode = mode;
        self
    }

    /// Further flags of open(2), such as `O_DIRECT`; on Windows, of `CreateFileW`.
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.0.custom_flags = flags;
        self
    }

    /// Opens `path`.
    ///
    /// # Errors
    ///
    /// Those of open(2), with the path in the text, and `InvalidInput` for options that contradict
    /// one another.
    pub async fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        let named = |error: io::Error| super::path::named("open", path, error);
        let open = Open::new(path, &self.0).map_err(named)?;
        let fd = Submit::new(open).await.map_err(named)?;
        Ok(File::new(fd))
    }
}
