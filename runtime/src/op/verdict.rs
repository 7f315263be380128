//! What the library makes of an error: one table for every operation.
//!
//! An operation fails with the number that its driver answered, unless this table says that the
//! library deals with it. docs/errors.md shows the same table to users, and a test keeps the two
//! equal. Whatever is said here holds only for an operation that somebody still waits for and that
//! was not cancelled: an orphan is never asked for again.

use super::opcode;
use crate::sys::errno;

/// Operations whose errors mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// recv and recvmsg into buffers of the caller's.
    Receive,
    /// Multishot recv into buffers of the pool.
    ReceiveMany,
    /// send and sendmsg.
    Send,
    /// accept of one connection.
    Accept,
    /// Multishot accept of a listener.
    AcceptMany,
    /// poll of one descriptor.
    Poll,
    /// read, write, readv and writev.
    Transfer,
    /// fsync and fdatasync.
    Sync,
    /// open and statx, which change nothing that a second call would not change in the same way.
    Look,
    /// mkdir, rename, unlink, connect, shutdown, close and nop: done once, whatever comes of it.
    Once,
}

/// What becomes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The caller gets it, with every buffer.
    Surface,
    /// Nothing happened yet: the request is made again at once.
    Retry,
    /// The request is made again, [`TRIES_MAX`] times at most; then the caller gets the error.
    RetryFew,
    /// The request is made again after a pause.
    Pause,
    /// The pool grows, or the next receives do without it.
    Refill,
    /// The caller gets it, and so do all who ask the same of this file later: the data may be lost.
    Poison,
}

/// How often a request is made again for [`Verdict::RetryFew`].
pub(super) const TRIES_MAX: u8 = 8;

impl Family {
    /// The family of an operation with one result.
    pub(crate) const fn of(code: u8) -> Family {
        match code {
            opcode::RECV | opcode::RECVMSG => Family::Receive,
            opcode::SEND | opcode::SENDMSG => Family::Send,
            opcode::ACCEPT => Family::Accept,
            opcode::POLL_ADD => Family::Poll,
            opcode::READ | opcode::WRITE | opcode::READV | opcode::WRITEV => Family::Transfer,
            opcode::FSYNC => Family::Sync,
            opcode::OPENAT | opcode::STATX => Family::Look,
            _ => Family::Once,
        }
    }
}

/// Whether the result `res` of a single operation makes whoever waits for it ask again.
pub(crate) fn asks_again(code: u8, res: i32) -> bool {
    let verdict = |res: i32| of(Family::of(code), res.saturating_neg());
    res < 0 && matches!(verdict(res), Verdict::Retry | Verdict::RetryFew)
}

/// What becomes of the positive error number `number` of an operation of `family`.
pub(crate) fn of(family: Family, number: i32) -> Verdict {
    match (family, number) {
        // What may have been done in part or in whole is not done twice: after an interrupted
        // connect the attempt goes on by itself (connect(2)), after a close the number is gone
        // (close(2)), and a second mkdir would find the first one's directory.
        (Family::Once, _) => Verdict::Surface,
        // Interrupted before anything was done (signal(7)).
        (_, errno::INTR) => Verdict::Retry,
        // Some file systems answer so although nobody asked not to wait. A pipe in non-blocking
        // mode means it.
        (Family::Transfer, errno::AGAIN) => Verdict::RetryFew,
        // The connection that was to be accepted has gone (accept(2)).
        (Family::Accept | Family::AcceptMany, errno::CONNABORTED | errno::PROTO) => Verdict::Retry,
        // Out of descriptors or memory; connections wait in the backlog meanwhile.
        (Family::AcceptMany, errno::MFILE | errno::NFILE | errno::NOBUFS | errno::NOMEM) => {
            Verdict::Pause
        }
        // Of the connection as well, says accept(2), but they may stay for a while.
        (Family::AcceptMany, _) if errno::NETWORK.contains(&number) => Verdict::Pause,
        // The pool is empty (io_uring_setup_buf_ring(3)); socket memory is not meant here.
        (Family::ReceiveMany, errno::NOBUFS) => Verdict::Refill,
        (Family::Sync, errno::CANCELED) => Verdict::Surface,
        // The kernel reports a failed write-back once, and may have dropped the data.
        (Family::Sync, _) => Verdict::Poison,
        _ => Verdict::Surface,
    }
}
