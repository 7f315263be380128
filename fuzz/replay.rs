//! Runs a fuzz target as a plain test: over its committed corpus, and over changed pieces of it.
//!
//! Included by the tests of the crates that hold targets. A failing input is printed; written into
//! a file of the corpus it is replayed ever after.

#[path = "../tests/support/random.rs"]
#[allow(dead_code)]
mod random;
#[path = "../tests/support/scale.rs"]
pub(crate) mod scale;

use random::Rng;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Runs `target` over its corpus and over random inputs, the more the cheaper one is.
pub(crate) fn replay(name: &str, target: impl Fn(&[u8]), random: u64) {
    let corpus = corpus(name);
    for (file, input) in &corpus {
        run(file, input, &target);
    }
    let mut rng = Rng::new();
    let count = scale::scaled(random, random * 10, random * 500);
    for _ in 0..count {
        let input = invent(&corpus, &mut rng);
        run("a random input", &input, &target);
    }
    let all = corpus.len() as u64 + count;
    scale::figure(&format!("fuzz replay {name}"), all, "inputs");
}

/// The files of the corpus, in order.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = package.ancestors().map(|folder| folder.join("fuzz/corpus").join(name));
    let folder = folders.into_iter().find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| panic!("no corpus of {name} above {package:?}"));
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a readable folder")
        .map(|entry| {
            let path = entry.expect("a readable entry").path();
            (path.display().to_string(), fs::read(&path).expect("a readable file"))
        })
        .collect();
    assert!(!files.is_empty(), "{folder:?} is empty");
    files.sort();
    files
}

fn run(name: &str, input: &[u8], target: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{name} fails:\n{}", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Noise, or a file of the corpus, or pieces of two, with some bytes changed.
fn invent(corpus: &[(String, Vec<u8>)], rng: &mut Rng) -> Vec<u8> {
    let piece = |rng: &mut Rng| {
        let (_, from) = &corpus[rng.below(corpus.len())];
        let (a, b) = (rng.below(from.len() + 1), rng.below(from.len() + 1));
        from[a.min(b)..a.max(b)].to_vec()
    };
    let mut input = match rng.below(8) {
        0 => (0..rng.below(300)).map(|_| rng.next() as u8).collect(),
        1..=4 => corpus[rng.below(corpus.len())].1.clone(),
        _ => [piece(rng), piece(rng)].concat(),
    };
    for _ in 0..rng.below(8) {
        let len = input.len();
        if len > 0 {
            input[rng.below(len)] = rng.next() as u8;
        }
    }
    input
}
