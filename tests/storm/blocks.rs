//! A file of blocks: a write that was awaited is never undone by one that was left before it.

use crate::leave::{self, Leave};
use crate::ledger;
use ringbolt::fs::{File, OpenOptions};
use std::future::Future;
use std::path::PathBuf;

const BLOCK: usize = 32 * 1024;
const BLOCKS: usize = 4;

/// What a block may hold.
#[derive(Clone, Debug)]
struct Holds {
    /// The last write that was awaited, and those that were left since.
    recent: Vec<u8>,
    /// Writes that were forgotten: the file takes them for writes that go on at the same time.
    at_any_time: Vec<u8>,
}

/// Writes, reads and syncs until enough was done.
pub(crate) async fn run(path: PathBuf) {
    let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await;
    let file = file.expect("room for a file");
    file.write_all_at(vec![0; BLOCK * BLOCKS], 0).await.0.expect("room for a few blocks");
    let mut may_hold = vec![Holds { recent: vec![0], at_any_time: Vec::new() }; BLOCKS];
    let mut number = 0_u8;
    for _ in 0..fastrand::u8(20..100) {
        ledger::note(|counts| counts.calls += 1);
        let block = fastrand::usize(..BLOCKS);
        let (at, holds) = ((block * BLOCK) as u64, &mut may_hold[block]);
        match fastrand::u8(..8) {
            0..=3 => {
                number += 1;
                holds.recent.push(number);
                if left(file.write_at(vec![number; BLOCK], at)).await {
                    holds.at_any_time.push(number);
                }
                if fastrand::bool() {
                    number += 1;
                    overwrite(&file, at, number, holds).await;
                }
            }
            4 => {
                number += 1;
                overwrite(&file, at, number, holds).await;
            }
            5..=6 => look(&file, block, holds).await,
            _ => drop(left(file.sync_data()).await),
        }
    }
    file.sync_all().await.expect("a file in memory");
    for (block, holds) in may_hold.iter().enumerate() {
        look(&file, block, holds).await;
    }
    if fastrand::bool() {
        file.close().await.expect("a file in memory");
    }
}

/// After this the block holds `number`, whatever was left before.
async fn overwrite(file: &File, at: u64, number: u8, holds: &mut Holds) {
    let written = file.write_at(vec![number; BLOCK], at).await.0;
    assert_eq!(written.expect("a file in memory takes it"), BLOCK);
    holds.recent = vec![number];
}

/// Runs what is left at random, and says whether it was forgotten.
async fn left<F: Future>(future: F) -> bool {
    let how = Leave::random();
    let ready = leave::run_borrowed(future, how).await.is_some();
    let forgotten = !ready && matches!(how, Leave::Forget(_));
    if forgotten {
        leave::note_forgotten();
    }
    forgotten
}

async fn look(file: &File, block: usize, holds: &Holds) {
    let read = file.read_exact_at(Vec::with_capacity(BLOCK), (block * BLOCK) as u64).await;
    let (_, bytes) = read.into_result().expect("the file is that long");
    // A write that was left may be going on, and then a read may see a part of it.
    let may_hold = [&holds.recent[..], &holds.at_any_time].concat();
    if let Some(byte) = bytes.iter().find(|byte| !may_hold.contains(byte)) {
        ledger::wrong(format_args!("block {block} holds {byte}, not one of {may_hold:?}"));
    }
}
