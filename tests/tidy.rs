//! The rules of CONTRIBUTING.md that a machine can check, checked over this checkout.
//!
//! A rule is a function from text to findings, so that each is also shown to fail on a bad example
//! (the tests at the end). `scan` reads the files; nothing here needs more than std.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

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
            if matches!(&*name, ".git" | "Cargo.lock") || build_output {
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

// ---- Rust text ----

/// The program without its comments and literals: those turn into spaces, and lines stay lines.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = if starts(&chars, at, "//") {
            (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len())
        } else if starts(&chars, at, "/*") {
            comment_end(&chars, at)
        } else {
            literal_end(&chars, at).unwrap_or(at)
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        }
        while at < end.min(chars.len()) {
            out.push(if chars[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    out
}

fn starts(chars: &[char], at: usize, what: &str) -> bool {
    what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start + 2, 1);
    while at < chars.len() && depth > 0 {
        if starts(chars, at, "/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if starts(chars, at, "*/") {
            (at, depth) = (at + 2, depth - 1);
        } else {
            at += 1;
        }
    }
    at
}

/// Where the literal that begins at `at` ends, if one begins there.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let quoted = |start: usize, quote: char| {
        let mut i = start;
        while i < chars.len() && chars[i] != quote {
            i += if chars[i] == '\\' { 2 } else { 1 };
        }
        i + 1
    };
    match chars[at] {
        '"' => Some(quoted(at + 1, '"')),
        // A lifetime has no closing quote where a character has one.
        '\'' if chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => {
            Some(quoted(at + 1, '\''))
        }
        'r' if at == 0 || !is_word(chars[at - 1]) || matches!(chars[at - 1], 'b' | 'c') => {
            let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
            if chars.get(at + 1 + hashes) != Some(&'"') {
                return None;
            }
            let close = format!("\"{}", "#".repeat(hashes));
            let end = (at + 2 + hashes..chars.len()).find(|&i| starts(chars, i, &close));
            Some(end.map_or(chars.len(), |i| i + 1 + hashes))
        }
        _ => None,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Byte positions of `word` in `line` where it is not part of a longer name.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word)
    })
}

fn has_word(line: &str, word: &str) -> bool {
    words(line, word).next().is_some()
}

/// The number of lines before the file's own tests.
fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0] == "#[cfg(test)]" && (pair[1].starts_with("mod ") || pair[1].starts_with("#["))
    });
    tests.unwrap_or(lines.len())
}

/// Lines of code before the file's own tests, counted from 0.
fn program(text: &str) -> Vec<(usize, String)> {
    code(text).lines().take(lines_before_tests(text)).map(str::to_string).enumerate().collect()
}

// ---- Rules on one file ----

fn too_long(text: &str) -> Vec<Finding> {
    let lines = lines_before_tests(text);
    let long = |what: String| found(LINES_MAX, what);
    let mut findings = Vec::new();
    if lines > LINES_MAX {
        findings.push(long(format!("{lines} lines before the tests, {LINES_MAX} are allowed")));
    }
    findings
}

fn too_wide(text: &str) -> Vec<Finding> {
    let columns = text.lines().map(|line| line.chars().count()).enumerate();
    let wide = columns.filter(|&(_, columns)| columns > COLUMNS_MAX);
    wide.map(|(i, n)| found(i, format!("{n} columns, {COLUMNS_MAX} are allowed"))).collect()
}

fn names_unsafe(text: &str) -> Vec<Finding> {
    let code = code(text);
    let lines = code.lines().enumerate().filter(|(_, line)| has_word(line, "unsafe"));
    lines.map(|(i, _)| found(i, "`unsafe` belongs into buffers/ and runtime/")).collect()
}

fn does_not_forbid_unsafe(text: &str) -> Vec<Finding> {
    let forbids = code(text).lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
    if forbids { vec![] } else { vec![found(0, "`#![forbid(unsafe_code)]` is missing")] }
}

/// An `unsafe` block or impl needs its argument right above the statement that it is in.
fn argues_no_safety(text: &str) -> Vec<Finding> {
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
fn names_platform(text: &str) -> Vec<Finding> {
    let names = |line: &str| {
        let arm = ["unix =>", "windows =>"].iter().any(|arm| line.trim_start().starts_with(arm));
        let cfg = ["cfg", "cfg_attr"].iter().any(|cfg| has_word(line, cfg))
            && ["unix", "windows"].iter().any(|name| has_word(line, name));
        arm || cfg || has_word(line, "target_os") || has_word(line, "target_family")
    };
    let lines = program(text).into_iter().filter(|(_, line)| names(line));
    lines.map(|(i, _)| found(i, "platforms are told apart in sys/ and crate roots only")).collect()
}

fn says_banned(text: &str, in_tests: bool) -> Vec<Finding> {
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
fn leaves_marks(text: &str) -> Vec<Finding> {
    let marks = [concat!("FIX", "ME"), concat!("XX", "X")];
    let lines = text.lines().enumerate();
    let marked = lines.filter(|(_, line)| marks.iter().any(|mark| has_word(line, mark)));
    marked.map(|(i, _)| found(i, "an unfinished place; write it up or finish it")).collect()
}

/// Absolute paths of some machine, and hosts that packages come from.
fn names_host(text: &str) -> Vec<Finding> {
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
fn links_nowhere(text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
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

// ---- Rules on the way things depend on each other ----

/// Which of the crates a crate's sources may not name.
const ONE_WAY: [(&str, &[&str]); 6] = [
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

fn flows_back(path: &str, text: &str) -> Vec<Finding> {
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
fn driver_knows_too_much(text: &str) -> Vec<Finding> {
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
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
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
fn accounted(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_string).collect()
}

fn unaccounted(manifest: &str, document: &str) -> Vec<Finding> {
    let known = accounted(document);
    let missing = dependencies(manifest).into_iter().filter(|(_, name)| !known.contains(name));
    missing.map(|(i, name)| found(i, format!("{name} has no row in the table"))).collect()
}

/// The folders of the workspace's members, with the root itself.
fn members(manifest: &str) -> Vec<String> {
    let list = manifest.split_once("members = [").and_then(|(_, rest)| rest.split(']').next());
    let folders = list.unwrap_or_default().split('"').skip(1).step_by(2);
    folders.map(|folder| format!("{folder}/")).chain([String::new()]).collect()
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

/// Each rule fails where it should, on the line where it should, and lets the good twin pass.
#[cfg(test)]
mod bad_examples {
    use super::*;

    #[track_caller]
    fn on_lines(findings: &[Finding], expected: &[usize]) {
        let lines: Vec<usize> = findings.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, expected, "{findings:?}");
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        for (text, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */\n d */ e", "a             \n      e"),
            (r#"x("a\"b", 'c', '\'', 'l)"#, r#"x(      ,    ,     , 'l)"#),
            ("r#\"a\"b\"# br\"c\" for", "         b     for"),
            ("&'a str, b'\"' \"", "&'a str, b     "),
        ] {
            assert_eq!(code(text).trim_end(), expected.trim_end(), "{text}");
        }
    }

    #[test]
    fn length_and_width() {
        on_lines(&too_long(&"x\n".repeat(LINES_MAX)), &[]);
        on_lines(&too_long(&"x\n".repeat(LINES_MAX + 1)), &[LINES_MAX + 1]);
        let tests = format!("x\n#[cfg(test)]\nmod tests {{\n{}}}", "x\n".repeat(LINES_MAX));
        on_lines(&too_long(&tests), &[]);
        on_lines(&too_wide(&format!("a\n{}\n", "é".repeat(COLUMNS_MAX))), &[]);
        on_lines(&too_wide(&format!("a\n{}\n", "é".repeat(COLUMNS_MAX + 1))), &[2]);
    }

    #[test]
    fn unsafe_code() {
        on_lines(&names_unsafe("// unsafe\nlet unsafe_code = \"unsafe\";"), &[]);
        on_lines(&names_unsafe("fn a() {}\nunsafe fn b() {}"), &[2]);
        on_lines(&does_not_forbid_unsafe("//! A.\n\n#![forbid(unsafe_code)]"), &[]);
        on_lines(&does_not_forbid_unsafe("// #![forbid(unsafe_code)]"), &[1]);
    }

    #[test]
    fn unsafe_without_an_argument() {
        for good in [
            "// SAFETY: 1. it lives.\nunsafe { a() }",
            "// SAFETY: it lives,\n// and so on.\n#[inline]\nunsafe impl Send for A {}",
            "// SAFETY: S3.\nlet a =\n    b(c,\n    unsafe { d() });",
            "unsafe fn a() {}",
        ] {
            on_lines(&argues_no_safety(good), &[]);
        }
        on_lines(&argues_no_safety("let a = 1;\nunsafe { a() }"), &[2]);
        on_lines(&argues_no_safety("// SAFETY: S1.\nunsafe { a() };\nunsafe { b() }"), &[3]);
        on_lines(&argues_no_safety("// SAFETY: far.\n\nunsafe impl Send for A {}"), &[3]);
        on_lines(&argues_no_safety("let a = 1;\nlet b = unsafe\n{ c() };"), &[2]);
    }

    #[test]
    fn platforms() {
        let good = "#[cfg(feature = \"unix\")]\nuse std::os::unix::fs;\n\
                    #[cfg(test)]\nmod tests {\n    \
                    #[cfg(unix)]\n}";
        on_lines(&names_platform(good), &[]);
        on_lines(
            &names_platform("#[cfg(unix)]\n#[cfg(all(windows, x))]\nif cfg!(unix) {}"),
            &[1, 2, 3],
        );
        on_lines(&names_platform("cfg_select! {\n    unix => {}\n    windows => {}\n}"), &[2, 3]);
        on_lines(&names_platform("#[cfg(target_os = \"linux\")]"), &[1]);
    }

    #[test]
    fn banned_words() {
        on_lines(&says_banned("todo!()\n// todo!()\ndbg!(a)", false), &[1, 3]);
        on_lines(&says_banned("#[ignore = \"slow\"]\nunimplemented!()", false), &[1, 2]);
        on_lines(&says_banned("std::thread::sleep(a)", true), &[1]);
        on_lines(&says_banned("std::thread::sleep(a)", false), &[]);
        let marks = format!(
            "// {}: later\nmktemp {}\n# {}",
            concat!("FIX", "ME"),
            "X".repeat(6),
            "X".repeat(3)
        );
        on_lines(&leaves_marks(&marks), &[1, 3]);
    }

    #[test]
    fn hosts() {
        for bad in ["cd /ro~ot/a", "see /ho~me/me", "(/wo~rk/main)", "crates~.io", "x/far~m"] {
            on_lines(&names_host(&format!("fine\n{}", bad.replace('~', ""))), &[2]);
        }
        on_lines(&names_host("$HOME/wo\nsrc/work/mod.rs\n/rooted/ crates-io"), &[]);
    }

    #[test]
    fn links() {
        let exists = |path: &str| path == "here.md";
        let text = "[a](here.md#part) [b](#part) [c](https://a.b/c)\n[d](gone.md) `[e](gone.md)`\n\
                    ```\n[f](gone.md)\n```\n[g](gone/)";
        on_lines(&links_nowhere(text, exists), &[2, 6]);
    }

    #[test]
    fn one_way() {
        let all = "use ringbolt_buffers::A;\nuse ringbolt_runtime::B;\nuse ringbolt_net::C;\n\
                   use ringbolt_fs::D;\nuse ringbolt::E;\n// ringbolt::F";
        on_lines(&flows_back("buffers/src/a.rs", all), &[2, 3, 4, 5]);
        on_lines(&flows_back("runtime/src/a/b.rs", all), &[3, 4, 5]);
        on_lines(&flows_back("net/src/a.rs", all), &[4, 5]);
        on_lines(&flows_back("fs/src/a.rs", all), &[3, 5]);
        on_lines(&flows_back("src/lib.rs", all), &[]);
        on_lines(&flows_back("tests/main.rs", all), &[]);
    }

    #[test]
    fn drivers() {
        on_lines(&driver_knows_too_much("use crate::sqe::Sqe;\nuse crate::operand;"), &[]);
        on_lines(&driver_knows_too_much("use crate::op::Recv;\nx: crate::task::Id"), &[1, 2]);
        on_lines(&driver_knows_too_much("use crate::{\n    op::Recv,\n};\nop::x()"), &[2]);
    }

    #[test]
    fn accounts() {
        let manifest = "[package]\nname = \"a\"\n\
                        [dependencies]\nringbolt-fs = \"1\"\nslab = \"1\"\n\
                        bytes = { version = \"1\", features = [\n    \"std\",\n] }\n\
                        [target.'cfg(windows)'.dev-dependencies]\nwin-sys.workspace = true\n\
                        [workspace.dependencies.big]\nversion = \"1\"\n[profile.dev]\ndebug = 0";
        let names: Vec<String> = dependencies(manifest).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["slab", "bytes", "win-sys", "big"]);
        let document = "| name | what |\n|---|---|\n| `slab` | x |\n| `win-sys` | `bytes` |\n`big`";
        on_lines(&unaccounted(manifest, document), &[6, 11]);
        assert_eq!(members("members = [\"a\", \"b/c\"]\n"), ["a/", "b/c/", ""]);
    }
}
