//! Setting a ring up: the best flags that this kernel takes.

use crate::builder::Settings;
use crate::sqe::{flag, opcode};
use io_uring::register::Restriction;
use io_uring::{Builder, IoUring, Probe, cqueue, squeue};
use std::io;

/// One set of flags, with the name it has in the facts.
struct Rung {
    name: &'static str,
    apply: fn(&mut Builder<squeue::Entry, cqueue::Entry>),
}

/// From the best to the oldest. With deferred task work the kernel runs completions only when we
/// enter, which batches them (6.1).
const LADDER: [Rung; 4] = [
    Rung {
        name: "deferred task work, no index array",
        apply: |b| {
            b.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_no_sqarray();
        },
    },
    Rung {
        name: "deferred task work",
        apply: |b| {
            b.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        },
    },
    Rung {
        name: "cooperative task work",
        apply: |b| {
            b.setup_coop_taskrun().setup_taskrun_flag();
        },
    },
    Rung { name: "plain", apply: |_| {} },
];

/// A ring and the features it has. With little lockable memory it is made smaller.
pub(super) fn ring(settings: &Settings) -> io::Result<(IoUring, Vec<String>)> {
    let mut entries = settings.ring_entries;
    loop {
        match climb(entries, settings.harden) {
            Ok((ring, name)) => {
                let mut features = vec![name.to_string()];
                if entries < settings.ring_entries {
                    features.push(format!("{entries} entries: RLIMIT_MEMLOCK allows no more"));
                }
                return Ok((ring, features));
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && entries > 8 => entries /= 2,
            Err(error) => return Err(error),
        }
    }
}

fn climb(entries: u32, harden: bool) -> io::Result<(IoUring, &'static str)> {
    let mut last = None;
    for rung in &LADDER {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_submit_all().setup_cqsize(entries * 8);
        (rung.apply)(&mut builder);
        if harden {
            // It takes requests only after `restrict`.
            builder.setup_r_disabled();
        }
        match builder.build(entries) {
            Ok(ring) => return Ok((ring, rung.name)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.expect("the ladder has rungs"))
}

/// Whether the kernel knows every operation that is used without a fallback.
pub(super) fn check_operations(ring: &IoUring) -> io::Result<()> {
    let params = ring.params();
    if !params.is_feature_nodrop() || !params.is_feature_ext_arg() {
        return Err(unsupported("the ring features NODROP and EXT_ARG (5.11)"));
    }
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    // Multishot accept came with this operation (5.19) and cannot be asked for by itself.
    let multishot = (SOCKET, "multishot accept");
    let needed = opcode::ALL.iter().copied().chain([multishot]);
    let mut missing = needed.filter(|(code, _)| !probe.is_supported(*code));
    match missing.next() {
        Some((_, name)) => Err(unsupported(name)),
        None => Ok(()),
    }
}

/// The requests of io_uring_register(2) that a hardened ring takes after it was enabled: the one
/// that enables it, which some kernels check as well, and the end of the ring's short name.
const REGISTER: [u8; 2] = [12, 21];

/// Lets a ring that was made disabled take the requests of this runtime and no others, for ever
/// (`IORING_REGISTER_RESTRICTIONS`, 5.10), and enables it.
///
/// # Errors
///
/// When the kernel refuses; the text says what to do.
pub(super) fn restrict(ring: &IoUring, features: &mut Vec<String>) -> io::Result<()> {
    let mut allowed: Vec<Restriction> =
        opcode::ALL.iter().map(|(code, _)| Restriction::sqe_op(*code)).collect();
    allowed.extend(REGISTER.map(Restriction::register_op));
    allowed.push(Restriction::sqe_flags_allowed(flag::BUFFER_SELECT));
    let submitter = ring.submitter();
    let done = submitter.register_restrictions(&mut allowed);
    // Not an error after which another driver is tried: that one would not be hardened either.
    done.and_then(|()| submitter.register_enable_rings()).map_err(|error| {
        io::Error::other(format!(
            "the system refuses to restrict the ring ({error}), which Builder::harden asked for: \
             allow io_uring_register(2) with IORING_REGISTER_RESTRICTIONS, choose the readiness \
             driver, or do without"
        ))
    })?;
    features.push(format!("restricted to {} operations", opcode::ALL.len()));
    Ok(())
}

const SOCKET: u8 = 45;

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("this kernel's io_uring lacks {what}"))
}
