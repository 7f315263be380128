//! The attributes at work, on a stand-in for the runtime with the same interface.

use std::sync::atomic::{AtomicUsize, Ordering};

/// As much of the runtime's interface as the attributes use.
mod stand_in {
    use std::cell::Cell;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    thread_local! {
        pub(crate) static DRIVER: Cell<Option<DriverKind>> = const { Cell::new(None) };
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(crate) enum DriverKind {
        Auto,
        Uring,
        Readiness,
    }

    pub(crate) struct Builder(Option<DriverKind>);

    impl Builder {
        pub(crate) fn new() -> Self {
            Builder(None)
        }

        pub(crate) fn driver(self, kind: DriverKind) -> Self {
            Builder(Some(kind))
        }

        /// Refuses io_uring, to show what a failure looks like.
        pub(crate) fn build(self) -> std::io::Result<Runtime> {
            DRIVER.set(self.0);
            match self.0 {
                Some(DriverKind::Uring) => Err(std::io::Error::other("no ring today")),
                _ => Ok(Runtime),
            }
        }
    }

    pub(crate) struct Runtime;

    impl Runtime {
        pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
            let mut future = pin!(future);
            loop {
                let mut context = Context::from_waker(Waker::noop());
                if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                    return value;
                }
            }
        }
    }
}

/// Pending once, so that the future is really driven.
async fn turn() {
    let mut polled = false;
    std::future::poll_fn(move |_| {
        if std::mem::replace(&mut polled, true) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

#[ringbolt_macros::test(crate = "stand_in")]
async fn a_test_returns_nothing() {
    turn().await;
    assert_eq!(stand_in::DRIVER.get(), None);
}

#[ringbolt_macros::test(crate = "crate::stand_in", driver = "readiness")]
async fn a_test_returns_a_result() -> Result<(), Box<dyn std::error::Error>> {
    turn().await;
    assert_eq!(stand_in::DRIVER.get(), Some(stand_in::DriverKind::Readiness));
    let number: u8 = "7".parse()?;
    if number != 7 {
        // A coercion, which an inferred return type would not get.
        return Err(Box::new(std::io::Error::other("not seven")));
    }
    Ok(())
}

#[ringbolt_macros::test(crate = "stand_in", driver = "auto")]
#[should_panic(expected = "as it should")]
async fn attributes_are_kept() {
    turn().await;
    assert_eq!(stand_in::DRIVER.get(), Some(stand_in::DriverKind::Auto));
    panic!("as it should");
}

#[ringbolt_macros::test(crate = "stand_in", driver = "uring")]
#[should_panic(expected = "error: no ring today")]
async fn a_test_without_a_runtime_fails() {
    unreachable!("the body must not run");
}

/// Names in the body which the expansion uses as well.
#[ringbolt_macros::test(crate = "stand_in")]
async fn names_do_not_clash() {
    #[expect(non_upper_case_globals)]
    const runtime: u8 = 1;
    let error = 2;
    turn().await;
    assert_eq!(runtime + error, 3);
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

#[ringbolt_macros::main(crate = "stand_in")]
async fn program() -> Result<u8, std::num::ParseIntError> {
    turn().await;
    CALLS.fetch_add(1, Ordering::Relaxed);
    "42".parse()
}

#[test]
fn main_runs_its_body_once() {
    assert_eq!(program(), Ok(42));
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
}

/// The part of the next test that runs as a program of its own.
#[ringbolt_macros::main(crate = "stand_in", driver = "uring")]
async fn program_without_a_runtime() {
    unreachable!("the body must not run");
}

#[test]
fn main_without_a_runtime_exits_with_the_reason() {
    const INNER: &str = "RINGBOLT_MACROS_INNER";
    if std::env::var_os(INNER).is_some() {
        program_without_a_runtime();
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "main_without_a_runtime_exits_with_the_reason", "--nocapture"])
        .env(INNER, "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("error: no ring today"), "{stderr}");
}

#[test]
fn misuse_is_explained_where_it_stands() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
