//! Rules on the way things depend on each other.

use crate::rust::{code, has_word, is_word, program, words};
use crate::{Finding, found};
use std::collections::BTreeSet;

/// Which of the crates a crate's sources may not name.
pub(crate) const ONE_WAY: [(&str, &[&str]); 6] = [
    ("buffers/src/", &["ringbolt_runtime", "ringbolt_net", "ringbolt_fs", "ringbolt_macros"]),
    ("runtime/src/", &["ringbolt_net", "ringbolt_fs", "ringbolt_macros"]),
    (
        "runtime/macros/src/",
        &["ringbolt_buffers", "ringbolt_runtime", "ringbolt_net", "ringbolt_fs"],
    ),
    ("net/src/", &["ringbolt_fs", "ringbolt_macros"]),
    ("fs/src/", &["ringbolt_net", "ringbolt_macros"]),
    ("src/", &[]),
];

pub(crate) fn flows_back(path: &str, text: &str) -> Vec<Finding> {
    let Some((folder, forbidden)) = ONE_WAY.iter().find(|(folder, _)| path.starts_with(folder))
    else {
        return vec![];
    };
    // The facade may name itself, and the attributes write its name into their users' code.
    let facade = !matches!(*folder, "src/" | "runtime/macros/src/");
    let mut findings = Vec::new();
    for (i, line) in code(text).lines().enumerate() {
        let names_facade = || {
            let mut uses = words(line, "ringbolt");
            uses.any(|at| line[at + "ringbolt".len()..].starts_with("::"))
        };
        if let Some(name) = forbidden.iter().find(|name| has_word(line, name)) {
            findings.push(found(i, format!("{folder} may not use {name}")));
        } else if facade && names_facade() {
            findings.push(found(i, format!("{folder} may not use the facade")));
        }
    }
    findings
}

/// A driver sees requests and results, never an operation or a task.
pub(crate) fn driver_knows_too_much(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut group = false;
    for (i, line) in program(text) {
        group |= line.contains("crate::{");
        let named = |module: &str| {
            let path = format!("crate::{module}");
            let in_group = || words(&line, module).any(|at| line[at..].contains("::"));
            has_word(&line, &path) || (group && in_group())
        };
        if named("op") || named("task") {
            findings.push(found(i, "a driver may not know operations or tasks"));
        }
        group &= !line.contains('}');
    }
    findings
}

/// The names that a manifest's dependency tables list, with the line of each.
pub(crate) fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut inside = false;
    for (i, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.ends_with("dependencies");
            // [dependencies.name]
            if let Some((before, name)) = table.rsplit_once("dependencies.")
                && (before.is_empty() || before.ends_with(['.', '-']))
            {
                names.push((i, name.trim_matches('"').to_string()));
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name: String = line.chars().take_while(|&c| is_word(c) || c == '-').collect();
            // A line that begins otherwise continues a list of features.
            if !name.is_empty() {
                names.push((i, name));
            }
        }
    }
    names.retain(|(_, name)| !name.starts_with("ringbolt"));
    names
}

/// The names that the table of docs/dependencies.md accounts for.
pub(crate) fn accounted(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_string).collect()
}

pub(crate) fn unaccounted(manifest: &str, document: &str) -> Vec<Finding> {
    let known = accounted(document);
    let missing = dependencies(manifest).into_iter().filter(|(_, name)| !known.contains(name));
    missing.map(|(i, name)| found(i, format!("{name} has no row in the table"))).collect()
}

/// The folders of the workspace's members, with the root itself.
pub(crate) fn members(manifest: &str) -> Vec<String> {
    let list = manifest.split_once("members = [").and_then(|(_, rest)| rest.split(']').next());
    let folders = list.unwrap_or_default().split('"').skip(1).step_by(2);
    folders.map(|folder| format!("{folder}/")).chain([String::new()]).collect()
}
