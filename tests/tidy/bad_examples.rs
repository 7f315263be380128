//! Each rule fails where it should, on the line where it should, and lets the good twin pass.

use crate::Finding;
use crate::order::*;
use crate::rust::code;
use crate::style::*;

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
