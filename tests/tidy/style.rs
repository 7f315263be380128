//! Rules on one file.

use crate::rust::{code, has_word, is_word, lines_before_tests, program, words};
use crate::{Finding, found};

pub(crate) const LINES_MAX: usize = 500;
pub(crate) const COLUMNS_MAX: usize = 100;

pub(crate) fn too_long(text: &str) -> Vec<Finding> {
    let lines = lines_before_tests(text);
    let long = |what: String| found(LINES_MAX, what);
    let mut findings = Vec::new();
    if lines > LINES_MAX {
        findings.push(long(format!("{lines} lines before the tests, {LINES_MAX} are allowed")));
    }
    findings
}

pub(crate) fn too_wide(text: &str) -> Vec<Finding> {
    let columns = text.lines().map(|line| line.chars().count()).enumerate();
    let wide = columns.filter(|&(_, columns)| columns > COLUMNS_MAX);
    wide.map(|(i, n)| found(i, format!("{n} columns, {COLUMNS_MAX} are allowed"))).collect()
}

pub(crate) fn names_unsafe(text: &str) -> Vec<Finding> {
    let code = code(text);
    let lines = code.lines().enumerate().filter(|(_, line)| has_word(line, "unsafe"));
    lines.map(|(i, _)| found(i, "`unsafe` belongs into buffers/ and runtime/")).collect()
}

pub(crate) fn does_not_forbid_unsafe(text: &str) -> Vec<Finding> {
    let forbids = code(text).lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
    if forbids { vec![] } else { vec![found(0, "`#![forbid(unsafe_code)]` is missing")] }
}

/// An `unsafe` block or impl needs its argument right above the statement that it is in.
pub(crate) fn argues_no_safety(text: &str) -> Vec<Finding> {
    let raw: Vec<&str> = text.lines().collect();
    let code = code(text);
    let code: Vec<&str> = code.lines().collect();
    let needs = |line: &str| {
        words(line, "unsafe").any(|at| {
            let rest = line[at + "unsafe".len()..].trim_start();
            rest.starts_with('{') || rest.starts_with("impl") || rest.is_empty()
        })
    };
    let argued = |index: usize| {
        // Up through comments, attributes and the beginning of the same statement.
        (0..=index).rev().find_map(|i| {
            let line = code[i].trim();
            if raw[i].contains("// SAFETY:") {
                return Some(true);
            }
            let ends = line.ends_with([';', '{', '}']) || raw[i].trim().is_empty();
            (i < index && ends).then_some(false)
        })
    };
    let lines = code.iter().enumerate().filter(|(_, line)| needs(line));
    let bare = lines.filter(|(i, _)| argued(*i) != Some(true));
    bare.map(|(i, _)| found(i, "no `// SAFETY:` comment above this `unsafe`")).collect()
}

/// Platforms are told apart in few places; elsewhere the code asks for facts.
pub(crate) fn names_platform(text: &str) -> Vec<Finding> {
    let names = |line: &str| {
        let arm = ["unix =>", "windows =>"].iter().any(|arm| line.trim_start().starts_with(arm));
        let cfg = ["cfg", "cfg_attr"].iter().any(|cfg| has_word(line, cfg))
            && ["unix", "windows"].iter().any(|name| has_word(line, name));
        arm || cfg || has_word(line, "target_os") || has_word(line, "target_family")
    };
    let lines = program(text).into_iter().filter(|(_, line)| names(line));
    lines.map(|(i, _)| found(i, "platforms are told apart in sys/ and crate roots only")).collect()
}

pub(crate) fn says_banned(text: &str, in_tests: bool) -> Vec<Finding> {
    let mut banned = vec!["todo!", "unimplemented!", "dbg!", "#[ignore"];
    if in_tests {
        banned.push("thread::sleep");
    }
    let mut findings = Vec::new();
    for (i, line) in code(text).lines().enumerate() {
        for what in banned.iter().filter(|what| line.contains(**what)) {
            findings.push(found(i, format!("`{what}` is banned here")));
        }
    }
    findings
}

/// Marks of unfinished work, in any kind of file. Put together here so as not to find themselves.
pub(crate) fn leaves_marks(text: &str) -> Vec<Finding> {
    let marks = [concat!("FIX", "ME"), concat!("XX", "X")];
    let lines = text.lines().enumerate();
    let marked = lines.filter(|(_, line)| marks.iter().any(|mark| has_word(line, mark)));
    marked.map(|(i, _)| found(i, "an unfinished place; write it up or finish it")).collect()
}

/// Absolute paths of some machine, and hosts that packages come from.
pub(crate) fn names_host(text: &str) -> Vec<Finding> {
    let folders = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    let hosts = [concat!("crates", ".io"), concat!("/far", "m"), concat!("pypi", ".org")];
    let absolute = |line: &str, folder: &str| {
        let inside = |c: char| is_word(c) || matches!(c, '.' | '-' | '~' | '}' | ')' | '>' | '*');
        line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(inside))
    };
    let mut findings = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if folders.iter().any(|folder| absolute(line, folder))
            || hosts.iter().any(|host| line.contains(host))
        {
            findings.push(found(i, "a path or host that only some machine has"));
        }
    }
    findings
}

/// Links of a Markdown file to other files; `exists` answers for a path from the file's folder.
pub(crate) fn links_nowhere(text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // What stands in backticks is an example.
        let prose: Vec<&str> = line.split('`').step_by(2).collect();
        for link in prose.join("`").split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split(['#', ' ']).next().unwrap_or_default();
            if !path.is_empty() && !path.contains(':') && !exists(path) {
                findings.push(found(i, format!("no such file: {path}")));
            }
        }
    }
    findings
}
