//! The workloads on files.

use crate::arguments::Arguments;
use crate::meter::{Meter, Random};
use crate::{Stop, runtime};
use ringbolt::buffers::Pages;
use ringbolt::fs::{File, OpenOptions};
use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What direct reads have to be aligned to.
const ALIGN: usize = 4096;

#[cfg(target_os = "linux")]
const DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits() as i32;
/// Elsewhere the page cache stays in between.
#[cfg(not(target_os = "linux"))]
const DIRECT: i32 = 0;

/// `qd` tasks read random blocks for `secs`.
pub(crate) fn read_at_random(arguments: &Arguments) -> Result<(), Stop> {
    let path = PathBuf::from(arguments.text("path")?);
    let tasks: u64 = arguments.count("qd", 32)?;
    let block: usize = arguments.count("bs", 4096)?;
    let secs: f64 = arguments.number("secs", 3.0)?;
    let Ok(limit) = Duration::try_from_secs_f64(secs) else {
        return Err(Stop::Usage(format!("--secs is no time: {secs}")));
    };
    let blocks = std::fs::metadata(&path)?.len() / block as u64;
    if blocks == 0 {
        return Err(Stop::Usage(format!("{} is shorter than a block", path.display())));
    }
    Ok(runtime(arguments)?.block_on(async {
        let file = OpenOptions::new().read(true).custom_flags(DIRECT).open(&path).await?;
        let file = Rc::new(file);
        let mut buffers = Vec::new();
        for _ in 0..tasks {
            buffers.push(Pages::new(block, ALIGN)?);
        }
        let meter = Meter::start();
        let end = Instant::now() + limit;
        let mut readers = Vec::new();
        for (index, buffer) in buffers.into_iter().enumerate() {
            let random = Random::new(index as u64 + 1);
            readers.push(ringbolt::spawn(read_until(end, file.clone(), buffer, random, blocks)));
        }
        let mut reads = 0;
        for reader in readers {
            reads += reader.await??;
        }
        meter.finish(reads)
    })?)
}

async fn read_until(
    end: Instant,
    file: Rc<File>,
    mut buffer: Pages,
    mut random: Random,
    blocks: u64,
) -> io::Result<u64> {
    let block = buffer.len();
    let mut reads = 0;
    while Instant::now() < end {
        let offset = random.below(blocks) * block as u64;
        let (len, back) = file.read_at(buffer, offset).await.into_result()?;
        if len != block {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = back;
        reads += 1;
    }
    Ok(reads)
}

/// Reads and writes of `buf` bytes, one after the other.
pub(crate) fn copy(arguments: &Arguments) -> Result<(), Stop> {
    let (source, target) = (arguments.text("src")?, arguments.text("dst")?);
    let len: usize = arguments.count("buf", 256 * 1024)?;
    Ok(runtime(arguments)?.block_on(async {
        let mut buffer = Vec::with_capacity(len);
        let meter = Meter::start();
        let source = File::open(source).await?;
        let target = File::create(target).await?;
        let mut offset = 0;
        loop {
            let (read, back) = source.read_at(buffer, offset).await.into_result()?;
            if read == 0 {
                break;
            }
            buffer = target.write_all_at(back, offset).await.into_result()?.1;
            offset += read as u64;
        }
        source.close().await?;
        target.close().await?;
        meter.finish(offset)
    })?)
}

/// Each of `count` files is opened, read and closed once, by `conc` tasks.
pub(crate) fn read_small(arguments: &Arguments) -> Result<(), Stop> {
    let dir = PathBuf::from(arguments.text("dir")?);
    let count: u64 = arguments.count("count", 20_000)?;
    let tasks: u64 = arguments.count("conc", 32)?;
    Ok(runtime(arguments)?.block_on(async {
        let meter = Meter::start();
        let next = Rc::new(Cell::new(0));
        let mut readers = Vec::new();
        for _ in 0..tasks {
            readers.push(ringbolt::spawn(read_next(dir.clone(), next.clone(), count)));
        }
        let mut bytes = 0;
        for reader in readers {
            bytes += reader.await??;
        }
        if bytes == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        meter.finish(count)
    })?)
}

async fn read_next(dir: PathBuf, next: Rc<Cell<u64>>, count: u64) -> io::Result<u64> {
    let mut buffer = Vec::with_capacity(4096);
    let mut bytes = 0;
    while next.get() < count {
        let path = dir.join(format!("f{:06}", next.replace(next.get() + 1)));
        let file = File::open(path).await?;
        let (len, back) = file.read_at(buffer, 0).await.into_result()?;
        buffer = back;
        bytes += len as u64;
        file.close().await?;
    }
    Ok(bytes)
}
