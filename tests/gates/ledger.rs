//! What came of a race: whose bytes are where, and whether every buffer came back.

use crate::SECOND;
use crate::gate::{Gate, PAGE, PAGES};
use crate::line::{Far, What};
use crate::support::is_reset;
use std::io;
use std::time::{Duration, Instant};

/// What is known in the end.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What the operation itself reported.
    pub(crate) result: Option<io::Result<usize>>,
    /// What the lane handed on of an operation whose future had gone.
    pub(crate) residue: Option<Vec<u8>>,
    /// What was read afterwards.
    pub(crate) rest: Option<Vec<u8>>,
    /// What was written afterwards.
    pub(crate) after: &'static [u8],
    /// Operations that were left to the system.
    pub(crate) leaked: u32,
}

/// Nothing was left to the system: every buffer has come back, and every byte is accounted for.
pub(crate) fn check(what: What, first: &[u8], gate: &Gate, seen: Seen, far: Option<Far>) {
    assert_eq!(gate.dropped(), if what.vectored { PAGES } else { 1 }, "buffers came back");
    if what.inward {
        let taken = gate.taken();
        assert!(first.starts_with(&taken), "{} bytes, but which", taken.len());
        if let Some(Ok(n)) = seen.result {
            assert_eq!(n, taken.len());
        }
        if let Some(residue) = seen.residue {
            assert_eq!(residue, taken);
        }
        if let Some(rest) = seen.rest {
            let mut wanted = first.to_vec();
            if !what.kind.is_file() {
                wanted.extend_from_slice(SECOND);
            }
            let all = [taken, rest].concat();
            assert!(all == wanted, "{} bytes of {}", all.len(), wanted.len());
        }
        return;
    }
    let Some(mut far) = far else {
        match seen.result.expect("the future was kept") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => assert!(matches!(result, Ok(1..)) || is_reset(result)),
        }
        return;
    };
    let all = far.take_all();
    let n = all.len() - seen.after.len();
    assert!(all[..n] == first[..n] && all[n..] == *seen.after, "{n} bytes, but which");
    if let Some(Ok(result)) = seen.result {
        assert_eq!(n, result);
    }
    if let Some(residue) = seen.residue {
        assert!(residue == first[n..], "{} bytes were not sent", residue.len());
    }
}

/// The operation was left to the system, which finishes it when it is let go: its buffer is still
/// there.
pub(crate) fn check_leaked(what: What, shut: usize, first: &[u8], gate: &Gate, far: Option<Far>) {
    assert_eq!(gate.dropped(), 0);
    gate.release();
    let at = shut * PAGE;
    if what.inward {
        let end = Instant::now() + Duration::from_secs(10);
        while gate.memory()[at] != first[at] {
            assert!(Instant::now() < end, "the kernel never wrote, so nothing was tested");
            std::thread::yield_now();
        }
    } else {
        let got = far.expect("the far end is kept").take_until(at + 1);
        assert!(first.starts_with(&got), "{} bytes, but which", got.len());
    }
    assert_eq!(gate.dropped(), 0, "the buffer was freed");
}
