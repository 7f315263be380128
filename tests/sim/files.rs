//! Programs on files: versions of blocks that never go back, whatever became of earlier writes.

use crate::leave::{Leave, Left};
use crate::schedules::World;
use ringbolt::BufResult;
use ringbolt::fs::{self, File, OpenOptions};

const BLOCK: usize = 40;
const BLOCKS: usize = 3;

/// Writes numbered versions over blocks of one file. A write that was acknowledged is never undone
/// by an earlier one that was left behind.
pub(crate) async fn versions(world: World) {
    let path = format!("/tmp/{}", world.below(1 << 30));
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true);
    // An open that is left yields a descriptor to nobody.
    drop(world.run(world.leave(), open.open(&path)).await);
    let file = open.open(&path).await.expect("the directory is there");
    file.write_all_at(vec![0; BLOCK * BLOCKS], 0).await.0.expect("the disk has room");
    let mut acknowledged = [0u8; BLOCKS];
    for version in 1..2 + world.below(12) as u8 {
        let block = world.below(BLOCKS);
        let at = (block * BLOCK) as u64;
        match world.below(6) {
            0 => read(&world, &file, block, acknowledged[block]).await,
            1 => {
                if let Some(result) = world.run(world.leave(), file.sync_data()).await.ready() {
                    result.or_else(cancelled).expect("the disk is sound");
                }
            }
            2 => {
                if let Some(result) = world.run(world.leave(), file.metadata()).await.ready() {
                    let len = result.map_or((BLOCK * BLOCKS) as u64, |found| found.len());
                    assert_eq!(len, (BLOCK * BLOCKS) as u64);
                }
            }
            _ => {
                let buf = world.watch.holding(&[version; BLOCK]);
                // Nobody can tell a future that was forgotten from one that is still wanted, so a
                // later write does not wait for it.
                let leave = match world.leave() {
                    Leave::Forget(polls) => Leave::Drop(polls),
                    leave => leave,
                };
                let written = world.run(leave, file.write_all_at(buf, at)).await;
                if let Left::Ready(BufResult(Ok(()), buf)) = written {
                    assert_eq!(buf.bytes(), [version; BLOCK]);
                    acknowledged[block] = version;
                }
            }
        }
    }
    finish(&world, file, &path, &acknowledged).await;
}

fn cancelled(error: std::io::Error) -> std::io::Result<()> {
    if ringbolt::is_cancelled(&error) { Ok(()) } else { Err(error) }
}

async fn read(world: &World, file: &File, block: usize, acknowledged: u8) {
    let buf = world.watch.buffer(BLOCK);
    let at = (block * BLOCK) as u64;
    if let Left::Ready(BufResult(Ok(n), buf)) =
        world.run(world.leave(), file.read_at(buf, at)).await
    {
        assert_eq!(buf.bytes().len(), n);
        let oldest = buf.bytes().iter().min().copied();
        assert!(oldest >= Some(acknowledged), "a read sees {oldest:?} after {acknowledged}");
    }
}

async fn finish(world: &World, file: File, path: &str, acknowledged: &[u8; BLOCKS]) {
    match world.below(3) {
        0 => drop(file),
        1 => drop(world.run(world.leave(), file.close()).await),
        _ => file.close().await.expect("the disk is sound"),
    }
    // Whoever opens the file now waits for nobody; a write that was left may land at any time, but
    // never an older version over a newer one.
    let content = fs::read(path).await.expect("the file is there");
    for (block, version) in acknowledged.iter().enumerate() {
        let bytes = &content[block * BLOCK..][..BLOCK];
        let oldest = bytes.iter().min().expect("a block has bytes");
        assert!(oldest >= version, "block {block} has {oldest} after {version}");
    }
    let moved = format!("{path}.old");
    fs::rename(path, &moved).await.expect("the file is there");
    drop(world.run(world.leave(), fs::remove_file(&moved)).await);
}
