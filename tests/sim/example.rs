//! The example `deterministic` finds its mistake, and none once it is put right.

// The program itself is called by hand.
#[allow(dead_code)]
#[path = "../../examples/deterministic.rs"]
mod program;

use crate::scale::{figure, scaled};

fn explore(arguments: &[&str]) -> (bool, String) {
    let arguments = lexopt::Parser::from_args(arguments);
    let (fixed, seeds) = program::parse(arguments).unwrap().expect("help was not asked for");
    let mut out = Vec::new();
    let passed = program::explore(seeds, fixed, &mut out).expect("a vector takes everything");
    (passed, String::from_utf8(out).unwrap())
}

#[test]
fn the_mistake_is_found_and_found_again() {
    let (passed, text) = explore(&[]);
    assert!(!passed, "no world shows the mistake: {text}");
    let seed = text.split([' ', ':']).nth(1).expect("it begins with the seed");
    assert!(text.contains(&format!("seed {seed} again: the same")), "{text}");
    assert!(text.contains("everything loses power"), "{text}");
    // The seed alone, as somebody would run it who reads the report.
    assert_eq!(explore(&["--seed", seed]), (false, text.clone()));
    let (passed, without) = explore(&["--seed", seed, "--fixed"]);
    assert!(passed, "{without}");
    figure("worlds until the example finds its mistake", seed, "worlds");
}

#[test]
fn nothing_is_lost_once_the_mistake_is_put_right() {
    let worlds = scaled(500, 10_000, 100_000);
    let (passed, text) = explore(&["--fixed", "--seeds", &worlds.to_string()]);
    assert!(passed, "{text}");
    figure("worlds of the example without its mistake", worlds, "worlds");
}

#[test]
fn wrong_arguments_are_refused() {
    for wrong in [&["--nonsense"][..], &["--seeds"], &["--seeds", "many"], &["stray"]] {
        assert!(program::parse(lexopt::Parser::from_args(wrong)).is_err(), "{wrong:?}");
    }
    assert!(program::parse(lexopt::Parser::from_args(["--help"])).unwrap().is_none());
}
