//! What all examples have in common: help, and a hint for those who call them wrongly.

use super::drivers;
use super::program::Program;
use tempfile::TempDir;

const ALL: [&str; 5] = ["serve", "echo", "proxy", "copy", "hello_file"];

#[test]
fn help_is_offered() {
    for name in ALL {
        for option in ["--help", "-h"] {
            let ended = Program::start(name, "readiness", &[option]).end();
            assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{name}");
            let has = |part: &str| ended.stdout.contains(part);
            assert!(has(&format!("usage: {name}")), "{}", ended.stdout);
        }
    }
}

#[test]
fn wrong_arguments_are_explained() {
    let cases: [(&str, &[&str], &str); 13] = [
        ("serve", &["--nonsense"], "--nonsense"),
        ("serve", &["stray"], "stray"),
        ("serve", &["--cores", "0"], "--cores"),
        ("serve", &["--cores", "many"], "many"),
        ("serve", &["--addr"], "--addr"),
        ("echo", &["--port", "1"], "--port"),
        ("echo", &["--cores", "-1"], "-1"),
        ("proxy", &[], "--listen"),
        ("proxy", &["--listen", "127.0.0.1:0"], "--to"),
        ("copy", &[], "SRC"),
        ("copy", &["one"], "DST"),
        ("copy", &["one", "two", "three"], "three"),
        ("hello_file", &["one", "two"], "FILE"),
    ];
    for (name, arguments, named) in cases {
        let ended = Program::start(name, "auto", arguments).end();
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{name} {arguments:?}");
        let has = |part: &str| ended.stderr.contains(part);
        assert!(has(named) && (has("--help") || has("usage: ")), "{name}: {}", ended.stderr);
    }
}

#[test]
fn an_unknown_driver_is_said() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("file");
    for (name, arguments) in [
        ("serve", vec!["--addr", "127.0.0.1:0"]),
        ("echo", vec!["--addr", "127.0.0.1:0"]),
        ("proxy", vec!["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"]),
        ("copy", vec!["Cargo.toml", file.to_str().unwrap()]),
    ] {
        let ended = Program::start(name, "nonsense", &arguments).end();
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
        assert!(ended.stderr.contains("RINGBOLT_DRIVER"), "{ended:?}");
    }
    assert!(!file.exists());
}

#[test]
fn the_first_program_writes_and_reads() {
    let place = TempDir::new().unwrap();
    for driver in drivers() {
        let file = place.path().join(driver);
        let ended = Program::start("hello_file", driver, &[&file]).end();
        assert_eq!((ended.code, &*ended.stdout), (Some(0), "Hello, file!\n"), "{ended:?}");
        assert_eq!(std::fs::read(&file).unwrap(), b"Hello, file!\n");
        let file = place.path().join("no/such/place");
        let ended = Program::start("hello_file", driver, &[&file]).end();
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
        assert!(ended.stderr.contains("place"), "{ended:?}");
    }
}
