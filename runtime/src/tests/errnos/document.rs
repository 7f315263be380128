//! docs/errors.md and the library's table say the same.

use super::numbers::NAMED;
use crate::op::verdict::{self, Family, Verdict};
use std::collections::BTreeSet;

const FAMILIES: [(&str, Family); 10] = [
    ("`recv`, `recvmsg`", Family::Receive),
    ("multishot `recv`", Family::ReceiveMany),
    ("`send`, `sendmsg`", Family::Send),
    ("`accept`", Family::Accept),
    ("multishot `accept`", Family::AcceptMany),
    ("`poll`", Family::Poll),
    ("`read`, `write`, `readv`, `writev`", Family::Transfer),
    ("`fsync`, `fdatasync`", Family::Sync),
    ("`open`, `stat`", Family::Look),
    ("`connect`, `shutdown`, `close`, `mkdir`, `rename`, `unlink`, `nop`", Family::Once),
];

const VERDICTS: [(&str, Verdict); 5] = [
    ("again", Verdict::Retry),
    ("a few times", Verdict::RetryFew),
    ("pause", Verdict::Pause),
    ("pool", Verdict::Refill),
    ("sticky", Verdict::Poison),
];

/// What the document says: for a family, the errors with a verdict other than "surfaces".
fn rows(text: &str) -> Vec<(String, String, String)> {
    let table = text.split("## What the library does").nth(1).expect("the chapter");
    let table = table.split("\n## ").next().expect("its text");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
    };
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(cells).map(|row| (row[0].clone(), row[1].clone(), row[2].clone())).collect()
}

#[test]
fn the_document_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let mut said = BTreeSet::new();
    for (family, verdict, errors) in rows(&text) {
        assert!(FAMILIES.iter().any(|(name, _)| *name == family), "no such family: {family}");
        for error in errors.split(", ") {
            let (error, verdict) = (error.trim_matches('`').to_string(), verdict.clone());
            assert!(said.insert((family.clone(), error, verdict)), "said twice");
        }
    }
    let mut meant = BTreeSet::new();
    for (family, of) in FAMILIES {
        let of_any = |number| VERDICTS.iter().find(|(_, v)| *v == verdict::of(of, number));
        let sticky = verdict::of(of, libc::EIO) == Verdict::Poison;
        for number in 1..=libc::EHWPOISON {
            let Some((word, _)) = of_any(number) else { continue };
            let named = NAMED.iter().find(|(_, n)| *n == number);
            let error = match named {
                // One word stands for all that are not named otherwise.
                _ if sticky && *word == "sticky" => "every other",
                Some((name, _)) => name,
                None => panic!("{number} is treated in a way of its own and has no name"),
            };
            meant.insert((family.to_string(), error.to_string(), (*word).to_string()));
        }
    }
    assert_eq!(said, meant);
}
