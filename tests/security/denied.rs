//! Sandboxes that forbid io_uring, wholly or in part, and ones that kill for it.

use crate::child::{run, run_with, stderr_of};
use crate::filter::{Answer, ENTER, REGISTER, SEND_MESSAGE, SETUP, deny, deny_register};
use crate::{passed, tour};
use ringbolt::{Builder, DriverKind};
use std::io::Error;
use std::os::unix::process::ExitStatusExt;

/// Calls that are denied, and whether the kernel has no message that wakes a core, so that there is
/// a counter to be left behind.
const CALLS: [(&str, libc::c_long, bool); 4] = [
    ("setup", SETUP, false),
    ("enter", ENTER, false),
    ("enter and messages", ENTER, true),
    ("register", REGISTER, false),
];

/// What the text has to name as the cause.
fn cause(errno: i32) -> &'static str {
    if errno == libc::ENOSYS { "this kernel lacks" } else { "a sandbox" }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs is mounted").count()
}

fn each_denial(test: &str, what: &str, body: impl Fn(i32)) -> Vec<String> {
    let mut said = Vec::new();
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        for (name, call, no_message) in CALLS {
            let child = run(test, &format!("{what} without {name}, {errno}"), || {
                deny(&[call], Answer::Errno(errno));
                if no_message {
                    deny_register(SEND_MESSAGE, libc::EINVAL);
                }
                body(errno);
            });
            said.extend(child.map(|output| stderr_of(&output)));
        }
    }
    said
}

#[test]
fn auto_falls_back_and_says_why_in_one_line() {
    let test = "denied::auto_falls_back_and_says_why_in_one_line";
    let said = each_denial(test, "auto", |errno| {
        let before = descriptors();
        for _ in 0..2 {
            let runtime = Builder::new().build().expect("there is another driver");
            let facts = runtime.facts();
            assert_eq!(facts.driver, "epoll");
            let reason = facts.fallback_reason.as_deref().expect("io_uring was preferred");
            assert!(reason.contains(cause(errno)), "{reason}");
            assert!(reason.contains(&Error::from_raw_os_error(errno).to_string()), "{reason}");
            tour::of_one_core(&runtime);
        }
        tour::of_two_cores(&Builder::new());
        assert_eq!(descriptors(), before, "the attempt left a descriptor open");
    });
    for text in &said {
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("ringbolt: ")).collect();
        assert_eq!(lines.len(), 1, "one line was to be said:\n{text}");
        assert!(lines[0].contains("using readiness instead"), "{}", lines[0]);
    }
    passed(said.len());
}

#[test]
fn a_required_ring_is_an_error_that_says_why() {
    let test = "denied::a_required_ring_is_an_error_that_says_why";
    let said = each_denial(test, "uring", |errno| {
        let before = descriptors();
        let error = Builder::new().driver(DriverKind::Uring).build().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), Error::from_raw_os_error(errno).kind());
        for part in ["required", cause(errno), &Error::from_raw_os_error(errno).to_string()] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(descriptors(), before, "the attempt left a descriptor open");
    });
    for text in &said {
        assert!(!text.contains("ringbolt: "), "an error is not said twice:\n{text}");
    }
    passed(said.len());
}

/// Some sandboxes end the process at the first call, so there must be a way to make none.
#[test]
fn readiness_never_calls_io_uring() {
    let test = "denied::readiness_never_calls_io_uring";
    let tour = || {
        deny(&[SETUP, ENTER, REGISTER], Answer::Kill);
        let builder = Builder::new();
        tour::of_one_core(&builder.build().unwrap());
        tour::of_two_cores(&builder);
    };
    let driver = |name| [("RINGBOLT_DRIVER", name)];
    if let Some(output) = run_with(test, "careful", &driver("readiness"), tour) {
        assert_eq!(stderr_of(&output), "", "nothing is missed that was not wanted");
        passed(1);
    }
    for name in ["uring", "auto"] {
        if let Some(output) = run_with(test, name, &driver(name), tour) {
            assert_eq!(output.status.signal(), Some(libc::SIGSYS), "the filter does not kill");
            passed(1);
        }
    }
}
