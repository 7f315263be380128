//! Rings that take the operations of the runtime and no others. That they refuse the others is
//! shown in `runtime/src/driver/uring/tests.rs`, by requests that no program can make; the
//! conformance suite runs on such rings with `RINGBOLT_HARDEN=1`.

use crate::child::{run, stderr_of};
use crate::filter::{Answer, SEND_MESSAGE, SETUP, deny, deny_register};
use crate::{drivers, passed, tour};
use ringbolt::{Builder, DriverKind};

/// Operations of io_uring_register(2).
const RESTRICTIONS: u32 = 11;
const RING_FDS: u32 = 20;
const BUFFER_RING: u32 = 22;

fn is_restricted(facts: &ringbolt::Facts) -> bool {
    facts.features.iter().any(|feature| feature.starts_with("restricted to "))
}

#[test]
fn everything_works_on_a_hardened_ring() {
    for driver in drivers() {
        let builder = Builder::new().driver(driver).harden(true);
        let runtime = builder.build().unwrap();
        assert_eq!(is_restricted(runtime.facts()), driver == DriverKind::Uring);
        tour::of_one_core(&runtime);
        drop(runtime);
        tour::of_two_cores(&builder);
        // It costs no other feature.
        let ordinary = builder.clone().harden(false).build().unwrap().facts().clone();
        assert!(!is_restricted(&ordinary));
        let mut features = builder.build().unwrap().facts().features.clone();
        features.retain(|feature| !feature.starts_with("restricted to "));
        assert_eq!(features, ordinary.features);
        passed(1);
    }
}

/// What a kernel may lack is done without, hardened or not: another wake, another name for the
/// ring, receives with memory of their own.
#[test]
fn older_kernels_are_hardened_too() {
    let test = "hardened::older_kernels_are_hardened_too";
    if !drivers().contains(&DriverKind::Uring) {
        return;
    }
    for (lacks, feature) in [
        (SEND_MESSAGE, "eventfd wake"),
        (RING_FDS, "restricted to "),
        (BUFFER_RING, "no lent buffers"),
    ] {
        let child = run(test, feature, || {
            deny_register(lacks, libc::EINVAL);
            let builder = Builder::new().driver(DriverKind::Uring).harden(true);
            let runtime = builder.build().unwrap();
            let facts = runtime.facts();
            assert!(is_restricted(facts), "{facts}");
            assert!(facts.features.iter().any(|f| f.starts_with(feature)), "{facts}");
            tour::of_one_core(&runtime);
            drop(runtime);
            tour::of_two_cores(&builder);
        });
        if let Some(output) = child {
            stderr_of(&output);
            passed(1);
        }
    }
}

/// Who asked for a restricted ring gets one, or an error that says what to do.
#[test]
fn a_ring_that_cannot_be_hardened_is_an_error() {
    let test = "hardened::a_ring_that_cannot_be_hardened_is_an_error";
    if !drivers().contains(&DriverKind::Uring) {
        return;
    }
    for errno in [libc::EINVAL, libc::EPERM, libc::EACCES] {
        for driver in [DriverKind::Uring, DriverKind::Auto] {
            let child = run(test, &format!("{driver:?} {errno}"), || {
                deny_register(RESTRICTIONS, errno);
                let builder = Builder::new().driver(driver).harden(true);
                let text = builder.build().unwrap_err().to_string();
                let cause = std::io::Error::from_raw_os_error(errno).to_string();
                for part in ["Builder::harden", "IORING_REGISTER_RESTRICTIONS", &cause] {
                    assert!(text.contains(part), "{text}");
                }
                // Nobody needs that for an ordinary ring, or without one.
                assert_eq!(
                    builder.clone().harden(false).build().unwrap().facts().driver,
                    "io_uring"
                );
                builder.driver(DriverKind::Readiness).build().unwrap();
            });
            if let Some(output) = child {
                stderr_of(&output);
                passed(1);
            }
        }
    }
}

/// Without any ring there is nothing to restrict, so `Auto` starts as it always does.
#[test]
fn without_rings_auto_falls_back_hardened_or_not() {
    let test = "hardened::without_rings_auto_falls_back_hardened_or_not";
    let child = run(test, "a program in a container", || {
        deny(&[SETUP], Answer::Errno(libc::EPERM));
        let builder = Builder::new().driver(DriverKind::Auto).harden(true);
        let runtime = builder.build().unwrap();
        assert_ne!(runtime.facts().driver, "io_uring");
        tour::of_one_core(&runtime);
    });
    if let Some(output) = child {
        stderr_of(&output);
        passed(1);
    }
}
