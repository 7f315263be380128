//! Whole files at once.

use crate::File;
use ringbolt_buffers::{BufResult, IoBuf};
use ringbolt_runtime::io::Read;
use std::io;
use std::path::Path;

/// The most that a size told by the system makes us reserve at once.
const RESERVE_MAX: u64 = 1 << 30;

/// The content of the file `path`. A file that grows meanwhile, or whose size the system does not
/// tell, is read to its end.
///
/// # Errors
///
/// Those of open(2) and read(2).
pub async fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    let mut file = File::open(path).await?;
    let len = file.metadata().await?.len();
    // One byte more than the size, so that the end is seen without growing.
    let buf = Vec::with_capacity((len.min(RESERVE_MAX) + 64) as usize);
    let BufResult(result, buf) = file.read_to_end(buf).await;
    result?;
    Ok(buf)
}

/// The content of the file `path` as text.
///
/// # Errors
///
/// As for [`read`], and `InvalidData` if it is not UTF-8.
pub async fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    let bytes = read(path).await?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Makes `content` the content of the file `path`, which is emptied or made, and gives it back. The
/// file is closed, and not synced.
///
/// # Errors
///
/// Those of open(2), write(2) and close(2).
pub async fn write<P: AsRef<Path>, B: IoBuf>(path: P, content: B) -> BufResult<(), B> {
    let file = match File::create(path).await {
        Ok(file) => file,
        Err(error) => return BufResult(Err(error), content),
    };
    let BufResult(result, content) = file.write_all_at(content, 0).await;
    let closed = file.close().await;
    BufResult(result.and(closed), content)
}
