//! The list of liburing's tests (`tests/liburing_parity.toml`) against the tests that are here.

use crate::rust::code;
use crate::{File, Finding, files, found};
use std::collections::BTreeSet;

/// Every case that has to have an answer.
const CASES: [&str; 54] = [
    "accept-mshot-stress",
    "across-fork",
    "buf-ring-put",
    "buf-ring-stress",
    "cancel-fd-userdata",
    "cancel-race",
    "cbpf_filter",
    "conn-unreach",
    "cq-full",
    "cq-overflow",
    "defer-tw-timeout",
    "drop-submit",
    "exit-no-cleanup",
    "file-update",
    "fixed-reuse",
    "futex-kill",
    "link",
    "link-timeout",
    "link_drain",
    "linked-defer-close",
    "mshot-shutdown-race",
    "msg-ring-overflow",
    "nop-fixed-file-leak",
    "ooo-file-unreg",
    "personality",
    "pipe-eof",
    "poll-mshot-overflow",
    "poll-race-mshot",
    "read-inc-buf-more",
    "read-mshot-stdin",
    "recv-bundle-short-ooo",
    "recv-inc-ooo",
    "recv-mshot-drain",
    "recv-mshot-fair",
    "recvmsg-inc-tail",
    "recvsend_bundle",
    "recvsend_bundle-inc",
    "register-restrictions",
    "ring-leak",
    "ring-leak2",
    "rsrc_tags",
    "send-zerocopy",
    "sendzc-bug",
    "short-read",
    "single-issuer",
    "sq-full",
    "submit-link-fail",
    "sync-cancel",
    "task-restrict",
    "teardowns",
    "thread-exit",
    "timeout-new",
    "timens-abs-timer",
    "truncate",
];

/// A case without an answer, with two, or with a test that `exists` does not know.
fn unanswered(list: &str, cases: &[&str], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut open: BTreeSet<&str> = cases.iter().copied().collect();
    let mut answers = 1;
    let mut last = 0;
    for (i, line) in list.lines().enumerate() {
        last = i;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(case) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if answers != 1 {
                findings.push(found(i, format!("the case before `{case}` has {answers} answers")));
            }
            answers = 0;
            if !open.remove(case) {
                findings.push(found(i, format!("`{case}` is not awaited, or comes twice")));
            }
            continue;
        }
        answers += 1;
        match line.split_once(" = ") {
            Some(("test", name)) if exists(name.trim_matches('"')) => {}
            Some(("test", name)) => findings.push(found(i, format!("there is no test {name}"))),
            Some(("not_applicable", reason)) if reason.len() > 20 => {}
            _ => findings.push(found(i, "an answer is `test` or `not_applicable`, with a text")),
        }
    }
    if answers != 1 {
        findings.push(found(last, format!("the last case has {answers} answers")));
    }
    findings.extend(open.into_iter().map(|case| found(last, format!("`{case}` is missing"))));
    findings
}

/// Whether one of `sources` is the module of the test `name` and has the function. Modules of the
/// suite begin at its root, those of other test programs with the name of the program.
fn is_test(sources: &[File], name: &str) -> bool {
    let Some((module, function)) = name.rsplit_once("::") else { return false };
    let path = format!("tests/{}.rs", module.replace("::", "/"));
    sources.iter().filter(|file| file.path == path).any(|file| {
        let code = code(&file.text);
        let lines: Vec<&str> = code.lines().map(str::trim).collect();
        let at = lines.iter().position(|line| line.starts_with(&format!("fn {function}(")));
        // Up through the other attributes, to the one that makes it a test.
        at.is_some_and(|at| {
            let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
            attributes.into_iter().any(|line| *line == "#[test]")
        })
    })
}

#[test]
fn every_case_of_liburing_has_an_answer() {
    let files = files();
    let list = files.iter().find(|file| file.path == "tests/liburing_parity.toml");
    let list = &list.expect("tests/liburing_parity.toml").text;
    let findings = unanswered(list, &CASES, |name| is_test(&files, name));
    let report: Vec<String> = findings
        .into_iter()
        .map(|(line, what)| format!("tests/liburing_parity.toml:{line}: {what}"))
        .collect();
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

#[test]
fn a_case_without_an_answer_is_found() {
    let good =
        "# Text.\n[a]\ntest = \"here\"\n\n[b]\nnot_applicable = \"for a good long reason\"\n";
    let check = |list: &str| {
        let findings = unanswered(list, &["a", "b"], |name| name == "here");
        findings.into_iter().map(|(line, _)| line).collect::<Vec<_>>()
    };
    assert_eq!(check(good), []);
    assert_eq!(check(&good.replace("here", "gone")), [3]);
    assert_eq!(check(&good.replace("good long reason", "r")), [6]);
    assert_eq!(check(&good.replace("test = \"here\"", "")), [5]);
    assert_eq!(check(&good.replace("[b]", "[c]")), [5, 6]);
    assert_eq!(check(&good.replace("[b]\n", "")), [5, 5]);
    assert_eq!(check(&good.replace("[b]", "[a]")), [5, 6]);
}

#[test]
fn a_test_is_a_function_with_the_attribute_in_its_module() {
    let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
    let sources = [
        file("tests/a/b.rs", "#[test]\n#[cfg(unix)]\nfn yes() {}\n\nfn no() {}\n// fn text() {}\n"),
        file("tests/c.rs", "#[test]\nfn elsewhere() {}\n"),
    ];
    assert!(is_test(&sources, "a::b::yes"));
    assert!(is_test(&sources, "c::elsewhere"));
    for name in ["a::b::no", "a::b::text", "a::b::elsewhere", "c::yes", "yes"] {
        assert!(!is_test(&sources, name), "{name}");
    }
}
