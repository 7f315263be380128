//! Setting a ring up: the best flags that this kernel takes.

use crate::builder::Settings;
use crate::sqe::opcode;
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
        match climb(entries) {
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

fn climb(entries: u32) -> io::Result<(IoUring, &'static str)> {
    let mut last = None;
    for rung in &LADDER {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_submit_all().setup_cqsize(entries * 8);
        (rung.apply)(&mut builder);
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
    let needed = [
        (opcode::READV, "readv"),
        (opcode::WRITEV, "writev"),
        (opcode::FSYNC, "fsync"),
        (opcode::POLL_ADD, "poll"),
        (opcode::SENDMSG, "sendmsg"),
        (opcode::RECVMSG, "recvmsg"),
        (opcode::ACCEPT, "accept"),
        (opcode::ASYNC_CANCEL, "cancel"),
        (opcode::CONNECT, "connect"),
        (opcode::OPENAT, "openat"),
        (opcode::CLOSE, "close"),
        (opcode::STATX, "statx"),
        (opcode::READ, "read"),
        (opcode::WRITE, "write"),
        (opcode::SEND, "send"),
        (opcode::RECV, "recv"),
        (opcode::SHUTDOWN, "shutdown"),
        (opcode::RENAMEAT, "renameat"),
        (opcode::UNLINKAT, "unlinkat"),
        (opcode::MKDIRAT, "mkdirat"),
        // Multishot accept came with this operation (5.19) and cannot be asked for by itself.
        (SOCKET, "multishot accept"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(unsupported(name)),
        None => Ok(()),
    }
}

const SOCKET: u8 = 45;

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("this kernel's io_uring lacks {what}"))
}
