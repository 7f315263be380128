//! The rules of CONTRIBUTING.md that a machine can check, checked over this checkout.
//!
//! A rule is a function from text to findings, so that each is also shown to fail on a bad example
//! (`bad_examples`). `scan` reads the files; nothing here needs more than std.

mod bad_examples;
mod order;
mod parity;
mod rust;
mod style;

use order::*;
use std::fs;
use std::path::{Path, PathBuf};
use style::*;

/// One broken rule: line (from 1) and what is wrong with it.
type Finding = (usize, String);

fn found(index: usize, what: impl Into<String>) -> Finding {
    (index + 1, what.into())
}

// ---- The checkout ----

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file's path from the root, with forward slashes, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        self.path.ends_with(extension)
    }

    fn under(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Tests, benchmarks and examples, wherever they are.
    fn is_trial(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples"))
    }
}

/// All text files of the checkout, in order of their paths.
fn files() -> Vec<File> {
    let mut all = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let build_output = name == "target" || path.join("CACHEDIR.TAG").exists();
            // What a fuzzer makes up may look like anything.
            let made_up = folder.ends_with("fuzz") && matches!(&*name, "artifacts" | "corpus");
            if matches!(&*name, ".git" | "Cargo.lock") || build_output || made_up {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root()).expect("inside the root");
                all.push(File { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// Applies a rule to every file that `wanted` picks, and fails with the list of findings.
fn scan(rule: &str, wanted: impl Fn(&File) -> bool, check: impl Fn(&File) -> Vec<Finding>) {
    let mut report = String::new();
    let mut scanned = 0;
    for file in files().iter().filter(|file| wanted(file)) {
        scanned += 1;
        for (line, what) in check(file) {
            report += &format!("{}:{line}: {what}\n", file.path);
        }
    }
    assert!(scanned > 0, "the rule `{rule}` looked at no file");
    assert!(report.is_empty(), "\n{rule}:\n{report}");
}

// ---- The rules, applied ----

#[test]
fn files_are_short_and_narrow() {
    let rust = |file: &File| file.is(".rs");
    scan("files are short", rust, |file| too_long(&file.text));
    scan("lines are short", rust, |file| too_wide(&file.text));
}

#[test]
fn unsafe_code_is_confined_and_argued() {
    let confined = |file: &File| {
        let allowed = file.under(&["buffers/", "runtime/"]) && !file.under(&["runtime/macros/"]);
        file.is(".rs") && !allowed && (!file.is_trial() || file.under(&["examples/"]))
    };
    scan("unsafe is confined", confined, |file| names_unsafe(&file.text));
    let safe_roots = ["src/lib.rs", "net/src/lib.rs", "fs/src/lib.rs", "runtime/macros/src/lib.rs"];
    let safe_root = |file: &File| safe_roots.contains(&&*file.path);
    scan("unsafe is forbidden", safe_root, |file| does_not_forbid_unsafe(&file.text));
    scan("unsafe is argued", |file| file.is(".rs"), |file| argues_no_safety(&file.text));
}

#[test]
fn platforms_are_told_apart_in_few_places() {
    let elsewhere = |file: &File| {
        let allowed = file.under(&["runtime/src/sys/", "runtime/src/driver/mod.rs"]);
        file.is(".rs") && !allowed && !file.is("src/lib.rs") && !file.is_trial()
    };
    scan("platforms", elsewhere, |file| names_platform(&file.text));
}

#[test]
fn nothing_is_left_unfinished() {
    let rust = |file: &File| file.is(".rs");
    let in_tests = |file: &File| file.path.split('/').any(|part| part == "tests");
    scan("banned words", rust, |file| says_banned(&file.text, in_tests(file)));
    scan("unfinished work", |_| true, |file| leaves_marks(&file.text));
}

#[test]
fn dependencies_flow_one_way_and_are_accounted_for() {
    scan("one way", |file| file.is(".rs"), |file| flows_back(&file.path, &file.text));
    let driver = |file: &File| file.under(&["runtime/src/driver/"]);
    scan("drivers", driver, |file| driver_knows_too_much(&file.text));

    let read = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let members = members(&read("Cargo.toml"));
    let document = read("docs/dependencies.md");
    let manifest =
        |file: &File| members.iter().any(|member| file.path == format!("{member}Cargo.toml"));
    scan("accounts", manifest, |file| unaccounted(&file.text, &document));
    let mut stale = accounted(&document);
    for file in files().iter().filter(|file| manifest(file)) {
        stale.retain(|name| dependencies(&file.text).iter().all(|(_, used)| used != name));
    }
    assert!(stale.is_empty(), "docs/dependencies.md accounts for what is not used: {stale:?}");
}

#[test]
fn documents_hold_together() {
    let resolve = |file: &File, link: &str| {
        let folder = PathBuf::from(&file.path).parent().map(Path::to_path_buf);
        root().join(folder.unwrap_or_default()).join(link).exists()
    };
    let prose = |file: &File| file.is(".md");
    scan("links", prose, |file| links_nowhere(&file.text, |link| resolve(file, link)));
    scan("hosts", |_| true, |file| names_host(&file.text));
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root().join(name).exists(), "{name}:1: missing");
    }
}
