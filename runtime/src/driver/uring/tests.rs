//! What a ring takes, asked of the ring itself.

use super::*;
use crate::builder::{Builder, DriverKind};
use io_uring::Probe;
use ringbolt_buffers::PoolConfig;

/// A driver with these settings; `None`, said on stderr, where io_uring is not to be had.
fn uring(builder: Builder) -> Option<(Uring, Facts)> {
    let pool = Pool::new(PoolConfig::default()).unwrap();
    match Uring::new(&builder.settings().unwrap(), &pool) {
        Ok(started) => Some(started),
        Err(error) => {
            eprintln!("SKIPPED: io_uring cannot start here: {error}");
            None
        }
    }
}

/// The result of one raw request.
fn result_of(uring: &mut Uring, mut sqe: Sqe) -> i32 {
    sqe.user_data = Key::new(Kind::Op, 1, 1).0;
    uring.submit(&sqe);
    let mut results = Vec::new();
    while results.is_empty() {
        uring.wait(Some(Duration::from_secs(10)), &mut results).unwrap();
    }
    assert_eq!((results.len(), results[0].key.0), (1, sqe.user_data));
    results[0].res
}

fn hardened() -> Builder {
    Builder::new().driver(DriverKind::Uring).harden(true)
}

/// Every operation that the kernel knows, on a descriptor that does not exist: those of the list
/// get as far as to miss it, the others are refused before anybody looks.
#[test]
fn a_hardened_ring_takes_the_list_and_nothing_else() {
    let Some((mut uring, facts)) = uring(hardened()) else { return };
    let said = format!("restricted to {} operations", opcode::ALL.len());
    assert!(facts.features.contains(&said), "{facts}");
    let mut probe = Probe::new();
    let free = IoUring::new(1).unwrap();
    free.submitter().register_probe(&mut probe).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for code in (0..u8::MAX).filter(|code| probe.is_supported(*code)) {
        let listed = opcode::ALL.iter().any(|(listed, _)| *listed == code);
        let res = result_of(&mut uring, Sqe::new(code, -1));
        assert_eq!(res != -libc::EACCES, listed, "operation {code} gave {res}");
        *(if listed { &mut taken } else { &mut refused }) += 1;
    }
    assert_eq!(taken, opcode::ALL.len());
    assert!(refused > 20, "this kernel knows only {refused} more operations");
    eprintln!("figure: operations refused by a hardened ring = {refused} operations");
}

/// Chains, forced workers, fixed files and drains are not used, so they are not taken.
#[test]
fn a_hardened_ring_takes_no_other_flag() {
    let Some((mut uring, _)) = uring(hardened()) else { return };
    for bit in (0..8).filter(|bit| 1 << bit != flag::BUFFER_SELECT) {
        let res = result_of(&mut uring, Sqe { flags: 1 << bit, ..Sqe::new(opcode::NOP, -1) });
        assert!([-libc::EACCES, -libc::EINVAL].contains(&res), "flag {bit} gave {res}");
    }
    assert_eq!(result_of(&mut uring, Sqe::new(opcode::NOP, -1)), 0);
}

#[test]
fn a_hardened_ring_takes_no_further_registration() {
    let Some((uring, _)) = uring(hardened()) else { return };
    let submitter = uring.ring.submitter();
    let refused = |result: io::Result<()>| {
        let error = result.expect_err("a hardened ring is closed to registrations");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error}");
    };
    refused(submitter.register_probe(&mut Probe::new()));
    refused(submitter.register_files(&[0]));
    refused(submitter.register_eventfd(0));
    refused(submitter.register_personality().map(drop));
    // It cannot be told anything new either.
    let mut all = [io_uring::register::Restriction::sqe_op(28)];
    submitter.register_restrictions(&mut all).expect_err("restrictions are for ever");
}

/// What makes the tests above mean something: without the restriction the same is taken.
#[test]
fn an_ordinary_ring_takes_any_operation() {
    let Some((mut uring, facts)) = uring(hardened().harden(false)) else { return };
    assert!(!facts.features.iter().any(|feature| feature.contains("restricted")), "{facts}");
    const OPENAT2: u8 = 28;
    assert_ne!(result_of(&mut uring, Sqe::new(OPENAT2, -1)), -libc::EACCES);
    uring.ring.submitter().register_probe(&mut Probe::new()).unwrap();
}

/// The kernel reads the ring of buffers in the pages of the parent, whatever becomes of them in a
/// child; so a child has none of them (`dc`, proc_pid_smaps(5)).
#[test]
fn the_ring_of_buffers_is_kept_from_children() {
    let Some((uring, _)) = uring(hardened()) else { return };
    let Some(buffers) = uring.buffers.as_ref() else {
        eprintln!("SKIPPED: no buffers can be lent to this kernel");
        return;
    };
    let start = format!("{:x}-", buffers.address());
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&start));
    let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).expect("it is mapped");
    assert!(flags.split_whitespace().any(|flag| flag == "dc"), "{flags}");
}
