//! A running example: what it prints is collected, and it never outlives its test.

use std::ffi::OsStr;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that is waited for.
pub(super) const LIMIT: Duration = Duration::from_secs(40);

pub(super) struct Program {
    child: Child,
    pub(super) stdout: Arc<Output>,
    pub(super) stderr: Arc<Output>,
}

/// What has been printed so far.
#[derive(Default)]
pub(super) struct Output {
    state: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// The binary of an example.
pub(super) fn binary(name: &str) -> PathBuf {
    let suite = std::env::current_exe().expect("the path of this program");
    let profile = suite.parent().and_then(|deps| deps.parent()).expect("it lies in target/*/deps");
    let path = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

/// The file of that name in the search path, if there is one; said if not.
pub(super) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let found = std::env::split_paths(&path).map(|dir| dir.join(&file)).find(|f| f.is_file());
    if found.is_none() {
        crate::support::skipped(&format!("the program {name} is not installed"));
    }
    found
}

impl Program {
    /// Starts an example on a driver.
    pub(super) fn start<A: AsRef<OsStr>>(name: &str, driver: &str, arguments: &[A]) -> Program {
        let mut command = Command::new(binary(name));
        command.args(arguments).env("RINGBOLT_DRIVER", driver);
        Program::run(command)
    }

    pub(super) fn run(mut command: Command) -> Program {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Output::collect(child.stdout.take().expect("it is piped"));
        let stderr = Output::collect(child.stderr.take().expect("it is piped"));
        Program { child, stdout, stderr }
    }

    /// Where a server listens, once it does.
    pub(super) fn address(&self) -> SocketAddr {
        let text = self.stdout.wait_for(|text| {
            let line = text.lines().find(|line| line.starts_with("listening on "));
            line.is_some() && text.ends_with('\n')
        });
        let text = text.unwrap_or_else(|text| {
            panic!("it does not listen: {text}{}", self.stderr.text());
        });
        let after = text.split("listening on ").nth(1).expect("it was found");
        after.lines().next().expect("a line").parse().expect("an address")
    }

    /// The result of a program that ends by itself.
    pub(super) fn end(mut self) -> Ended {
        for output in [&self.stdout, &self.stderr] {
            if let Err(text) = output.wait_for_end() {
                panic!("it does not end: {text}{}", self.stderr.text());
            }
        }
        let status: ExitStatus = self.child.wait().expect("a child of this process");
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        Ended { code: status.code(), stdout, stderr }
    }

    /// Asks it to end, as a service manager does.
    #[cfg(unix)]
    pub(super) fn signal(&self, name: &str) {
        let id = self.child.id();
        let kill = format!("kill -{name} {id}");
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}: {status}");
    }

    /// Asks it to end, and checks that it does so in good order.
    pub(super) fn stop(self) -> Ended {
        #[cfg(unix)]
        {
            self.signal("TERM");
            let ended = self.end();
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert!(!ended.stderr.contains("panicked"), "{ended:?}");
            ended
        }
        // There is no gentle way to end another process.
        #[cfg(not(unix))]
        {
            let mut this = self;
            this.child.kill().expect("it runs");
            this.end()
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail for a program that has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn collect(mut from: impl Read + Send + 'static) -> Arc<Output> {
        let output = Arc::new(Output::default());
        let to = output.clone();
        thread::spawn(move || {
            let mut buf = [0; 4096];
            loop {
                let n = from.read(&mut buf).unwrap_or(0);
                let mut state = to.state.lock().unwrap();
                state.0.extend_from_slice(&buf[..n]);
                state.1 |= n == 0;
                to.changed.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        output
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().unwrap().0).into_owned()
    }

    /// Waits for a text that `is_it`; an error with what there is if none comes.
    pub(super) fn wait_for(&self, is_it: impl Fn(&str) -> bool) -> Result<String, String> {
        let until = Instant::now() + LIMIT;
        let mut state = self.state.lock().unwrap();
        loop {
            let text = String::from_utf8_lossy(&state.0).into_owned();
            if is_it(&text) {
                return Ok(text);
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                return Err(text);
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn wait_for_end(&self) -> Result<(), String> {
        let state = self.state.lock().unwrap();
        let (state, _) = self.changed.wait_timeout_while(state, LIMIT, |s| !s.1).unwrap();
        if state.1 { Ok(()) } else { Err(String::from_utf8_lossy(&state.0).into_owned()) }
    }
}
