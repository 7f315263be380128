//! Bodies of the fuzz targets of this crate: each takes any bytes and panics if a promise breaks.

#[path = "../../fuzz/refusal.rs"]
mod refusal;
#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;
mod slices;

use crate::pool::model::{LEN, Model, Op};
use arbitrary::{Result, Unstructured};
pub use slices::slices;

/// Operations on a pool, which has to follow its model.
pub fn pool(data: &[u8]) {
    let mut input = Unstructured::new(data);
    // Running out of bytes is the end.
    let _ = run_pool(&mut input);
}

fn run_pool(input: &mut Unstructured<'_>) -> Result<()> {
    let buffers_max = input.int_in_range(1..=40)?;
    let buffers = input.int_in_range(1..=buffers_max)?;
    let end = input.arbitrary::<u8>()?;
    let mut model = Model::new(buffers, buffers_max);
    while !input.is_empty() {
        model.apply(op(input)?);
    }
    match end % 4 {
        0 => model.abandon(false),
        1 => model.abandon(true),
        _ => model.finish(),
    }
    Ok(())
}

fn op(input: &mut Unstructured<'_>) -> Result<Op> {
    let what = input.arbitrary::<u8>()?;
    let at = |input: &mut Unstructured<'_>| input.arbitrary::<u8>().map(usize::from);
    Ok(match what % 20 {
        0..=3 => Op::Take,
        4 => Op::PutBack(at(input)?),
        5..=7 => Op::Lend(at(input)?, input.arbitrary()?, input.int_in_range(0..=LEN)?),
        8 => Op::Split(at(input)?, at(input)?),
        9 => Op::Advance(at(input)?, at(input)?),
        10 => Op::Truncate(at(input)?, at(input)?),
        11 => Op::DropChunk(at(input)?),
        12 => Op::IntoBytes(at(input)?),
        13 => Op::CloneBytes(at(input)?),
        14 => Op::SplitBytes(at(input)?, at(input)?),
        15 => Op::DropBytes(at(input)?),
        // A thread for each would leave little time for anything else.
        16 if what < 64 => Op::DropBytesElsewhere(at(input)?),
        16 => Op::DropBytes(at(input)?),
        17 => Op::Starve(what & 0x80 != 0),
        18 => Op::Collect,
        _ => Op::Grow,
    })
}

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpus_of_the_pool() {
        replay("pool", super::pool, 2000);
    }

    #[test]
    fn the_corpus_of_slices() {
        replay("slices", super::slices, 2000);
    }
}
