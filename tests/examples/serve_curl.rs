//! The file server with clients that others wrote: curl and wrk.

use super::program::{LIMIT, Program, tool};
use super::serve_site::Site;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs curl; what it wrote to its standard output.
fn curl(curl: &Path, arguments: &[&str]) -> Vec<u8> {
    let limit = LIMIT.as_secs().to_string();
    let mut command = Command::new(curl);
    let output = command.args(["-q", "-sS", "--max-time", &limit]).args(arguments).output();
    let output = output.expect("curl starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {} {complaint}", output.status);
    output.stdout
}

#[test]
fn curl_gets_what_is_there() {
    let Some(path) = tool("curl") else { return };
    let curl = |arguments: &[&str]| curl(&path, arguments);
    let site = Site::new();
    let copy = site.dir.path().with_extension("copy");
    site.on_every_driver(|address| {
        let url = |target: &str| format!("http://{address}{target}");
        let code = |more: &[&str]| {
            let arguments = [&["-o", "-", "-w", "%{stderr}%{http_code}"], more].concat();
            let mut command = Command::new(&path);
            let output = command.args(["-q", "-s"]).args(arguments).output().expect("curl starts");
            String::from_utf8(output.stderr).expect("a number")
        };
        curl(&["-o", copy.to_str().unwrap(), &url("/big.bin")]);
        assert!(fs::read(&copy).unwrap() == site.big, "the copy differs");
        // Two files on one connection.
        assert_eq!(curl(&[&url("/hello.txt"), &url("/sub/")]), b"0123456789sub");
        assert_eq!(curl(&["-L", &url("/sub")]), b"sub");
        let head = String::from_utf8(curl(&["-I", &url("/big.bin")])).unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", site.big.len())), "{head}");

        assert!(curl(&["-r", "1000-1999999", &url("/big.bin")]) == site.big[1000..2_000_000]);
        assert!(curl(&["-r", "-77", &url("/big.bin")]) == site.big[site.big.len() - 77..]);
        assert_eq!(code(&["-r", "4000000-", &url("/big.bin")]), "416");
        // A download that was broken off goes on.
        fs::write(&copy, &site.big[..1_234_567]).unwrap();
        curl(&["-C", "-", "-o", copy.to_str().unwrap(), &url("/big.bin")]);
        assert!(fs::read(&copy).unwrap() == site.big, "the copy differs");

        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        assert_eq!(code(&["-H", &format!("If-None-Match: {tag}"), &url("/big.bin")]), "304");
        assert_eq!(code(&["-z", copy.to_str().unwrap(), &url("/hello.txt")]), "304");
        assert_eq!(code(&[&url("/none")]), "404");
        assert_eq!(code(&[&url("/bare/")]), "403");
        assert_eq!(code(&["-d", "x=1", &url("/hello.txt")]), "405");
        let long = format!("Long: {}", "x".repeat(20_000));
        assert_eq!(code(&["-H", &long, &url("/hello.txt")]), "431");
        for up in ["/../x", "/%2e%2e/x", "/sub/../../x"] {
            assert_eq!(code(&["--path-as-is", &url(up)]), "400", "{up}");
        }
    });
    let _ = fs::remove_file(copy);
}

#[test]
fn wrk_finds_no_error() {
    let Some(wrk) = tool("wrk") else { return };
    let site = Site::new();
    site.on_every_driver(|address| {
        let mut requests = 0;
        while requests < 10_000 {
            let mut command = Command::new(&wrk);
            command.args(["-t1", "-c32", "-d1s"]).arg(format!("http://{address}/hello.txt"));
            let ended = Program::run(command).end();
            assert_eq!(ended.code, Some(0), "{ended:?}");
            for trouble in ["Socket errors", "Non-2xx"] {
                assert!(!ended.stdout.contains(trouble), "{}", ended.stdout);
            }
            let line = ended.stdout.lines().find(|line| line.contains(" requests in "));
            let count = line.and_then(|line| line.split_whitespace().next()).expect("a count");
            let count: u64 = count.parse().expect("a number");
            assert!(count > 0, "{}", ended.stdout);
            requests += count;
        }
    });
}
