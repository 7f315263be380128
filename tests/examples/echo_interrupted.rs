//! The echo server while strace(1) makes its calls into the kernel fail.

use super::program::{LIMIT, Program, binary, tool};
use crate::support::{pattern, skipped, uring_refused};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

/// The program under strace, which is its grandchild and leaves its number and its end alone.
fn traced(strace: &Path, log: &Path, what: &str) -> Command {
    let mut command = Command::new(strace);
    command.args(["-D", "-f", "-qq", "-e", "trace=io_uring_enter", "-e", what, "-o"]).arg(log);
    command
}

#[test]
fn failed_calls_are_made_again() {
    let Some(strace) = tool("strace") else { return };
    if uring_refused().is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let tried = traced(&strace, &log, "trace=none").arg("true").output().unwrap();
    if !tried.status.success() {
        skipped(&format!("strace may not trace: {}", String::from_utf8_lossy(&tried.stderr)));
        return;
    }
    let content = pattern(300_000);
    for error in ["EINTR", "EAGAIN", "EBUSY", "ETIME"] {
        // From the third call of each thread on, or from the very first, every few calls.
        for when in ["3+7", "1+2"] {
            let inject = format!("inject=io_uring_enter:error={error}:when={when}");
            let mut command = traced(&strace, &log, &inject);
            command.arg(binary("echo")).args(["--addr", "127.0.0.1:0", "--cores", "2"]);
            command.env("RINGBOLT_DRIVER", "uring");
            let server = Program::run(command);
            let address = server.address();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| round_trip(address, &content));
                }
            });
            server.stop();
            let calls = std::fs::read_to_string(&log).unwrap();
            let injected = calls.lines().filter(|line| line.contains("(INJECTED)")).count();
            assert!(injected > 10, "{inject}: only {injected} calls failed");
        }
    }
}

/// Sends `content` in parts, and waits for each to come back.
fn round_trip(address: SocketAddr, content: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    for part in content.chunks(5_000) {
        let mut back = vec![0; part.len()];
        stream.write_all(part).unwrap();
        stream.read_exact(&mut back).unwrap();
        assert!(back == part, "other bytes came back");
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).expect("an end without a reset"), 0);
}
