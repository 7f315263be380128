//! Other processes, and what the system counts for this one.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

const ROLE: &str = "RINGBOLT_ABUSE_ROLE";
/// What goes before a message on standard output, where the test harness writes too.
const MARK: &str = "@ ";

/// What a process is for that [`Peer::start`] started; `None` in the one that checks.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Says a line to the process that started this one.
pub(crate) fn say(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // The harness leaves an unfinished line behind.
    write!(out, "\n{MARK}{line}\n").and_then(|()| out.flush()).expect("the other process listens");
}

/// The next line that the process which started this one says; `None` once it has gone.
pub(crate) fn hear() -> Option<String> {
    std::io::stdin().lines().next().and_then(Result::ok)
}

/// This program again, in the same test and in another role. It is killed when this is dropped.
pub(crate) struct Peer {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Peer {
    pub(crate) fn start(role: &str, environment: &[(&str, &str)]) -> Peer {
        let program = std::env::current_exe().expect("the program knows its path");
        let mut command = Command::new(program);
        command.args(std::env::args().skip(1)).env(ROLE, role).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts again");
        let stdout = child.stdout.take().expect("it is piped");
        Peer { child, lines: Some(BufReader::new(stdout).lines()) }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{line}").expect("the peer listens");
    }

    /// Waits for the next line that it says.
    pub(crate) fn hear(&mut self) -> String {
        next(self.lines.as_mut().expect("nobody else listens"))
    }

    /// As [`Peer::hear`], on another thread.
    pub(crate) async fn heard(&mut self) -> String {
        let mut lines = self.lines.take().expect("nobody else listens");
        let listening = ringbolt::spawn_blocking(move || (next(&mut lines), lines));
        let (line, lines) = listening.await.expect("the peer says something");
        self.lines = Some(lines);
        line
    }

    pub(crate) fn signal(&self, signal: i32) {
        send_signal(self.child.id(), signal);
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().expect("a child of this process")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail for one that has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    loop {
        let line = lines.next().expect("the peer goes on").expect("the peer writes text");
        if let Some(message) = line.strip_prefix(MARK) {
            return message.to_string();
        }
    }
}

/// Sends `signal` to a process that this one started, or that started this one.
pub(crate) fn send_signal(process: u32, signal: i32) {
    // SAFETY: the call names no memory.
    let sent = unsafe { libc::kill(process as i32, signal) };
    assert_eq!(sent, 0, "kill: {}", std::io::Error::last_os_error());
}

/// Lets this process have `wanted` descriptors. False, after saying so, if it may not.
pub(crate) fn allow_descriptors(wanted: u64) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for one write.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(got, 0, "getrlimit: {}", std::io::Error::last_os_error());
    limit = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
    // SAFETY: the limit is passed by a valid pointer.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } == 0;
    if !set {
        let error = std::io::Error::last_os_error();
        eprintln!("SKIPPED: {wanted} descriptors are not to be had here: {error}");
    }
    set
}

/// A size of this process in bytes, as /proc/self/status has it.
pub(crate) fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc(5) is mounted");
    let line = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no {field} in {status}")) << 10
}

/// Open descriptors (`fd`) or threads (`task`) of this process.
pub(crate) fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).expect("proc(5) is mounted").count()
}
