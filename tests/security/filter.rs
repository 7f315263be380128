//! seccomp(2) filters, as sandboxes set them, for this process and for ever.

use libc::{c_long, sock_filter, sock_fprog};

/// The calls of io_uring, which have the same numbers on every machine.
pub(crate) const SETUP: c_long = libc::SYS_io_uring_setup;
pub(crate) const ENTER: c_long = libc::SYS_io_uring_enter;
pub(crate) const REGISTER: c_long = libc::SYS_io_uring_register;

/// The operation of io_uring_register(2) that wakes another ring; older kernels lack it.
pub(crate) const SEND_MESSAGE: u32 = 31;

/// How a filter answers a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Errno(i32),
    Kill,
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Offsets in `struct seccomp_data`; the lower half of the second argument on these machines.
const NUMBER: u32 = 0;
const SECOND_ARGUMENT: u32 = 24;

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Answers every call of `calls`.
pub(crate) fn deny(calls: &[c_long], answer: Answer) {
    let mut steps = vec![step(LOAD, 0, 0, NUMBER)];
    for call in calls {
        steps.push(step(EQUAL, 0, 1, *call as u32));
        steps.push(step(RETURN, 0, 0, action(answer)));
    }
    install(steps);
}

/// Answers io_uring_register(2) for this operation only.
pub(crate) fn deny_register(operation: u32, errno: i32) {
    install(vec![
        step(LOAD, 0, 0, NUMBER),
        step(EQUAL, 0, 3, REGISTER as u32),
        step(LOAD, 0, 0, SECOND_ARGUMENT),
        step(EQUAL, 0, 1, operation),
        step(RETURN, 0, 0, action(Answer::Errno(errno))),
    ]);
}

fn action(answer: Answer) -> u32 {
    match answer {
        Answer::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        Answer::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    }
}

fn install(mut steps: Vec<sock_filter>) {
    steps.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the call names no memory.
    let n = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(n, 0, "{}", std::io::Error::last_os_error());
    let (set, mode) = (libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER);
    // SAFETY: the program has as many steps as it says, and the kernel copies it.
    let n = unsafe { libc::prctl(set, mode, &raw const program) };
    assert_eq!(n, 0, "{}", std::io::Error::last_os_error());
}
