//! Operations: what can be asked of a driver, one file each.
//!
//! An operation owns its buffers, side structures and a reference to its descriptor. It has four
//! parts: `META`, [`Op::fill`] (the request), `call` in the meta (the same request as a plain
//! system call) and [`Op::decode`] (the result). To add one, copy the file nearest to it, name it
//! after the system call, list it here and in PLATFORMS.md, and add its cases to the conformance
//! suite.

mod accept;
mod accept_multi;
mod close;
mod connect;
mod fence;
mod file_io;
mod fsync;
mod iovecs;
mod lane;
mod nop;
mod open;
mod path;
mod poll;
mod recv;
mod recv_msg;
mod recv_multi;
mod scope;
mod send;
mod send_msg;
mod shutdown;
pub(crate) mod slot;
mod stat;
mod submit;
pub(crate) mod verdict;

pub use accept::Accept;
pub use accept_multi::AcceptMulti;
pub use close::Close;
pub use connect::Connect;
pub use fence::{Awaiting, Fence, Token};
pub use file_io::{Read, ReadVectored, Write, WriteVectored};
pub use fsync::Fsync;
pub use lane::{Lane, LaneRun, Residue};
pub use nop::Nop;
pub use open::{Open, OpenWish};
pub use path::{CreateDir, Remove, Rename};
pub use poll::{Poll, Readable, Writable};
pub use recv::Recv;
pub use recv_msg::RecvMsg;
pub use recv_multi::RecvMulti;
pub(crate) use scope::Scope;
pub use scope::{Elapsed, Timeout, timeout};
pub use send::Send;
pub use send_msg::SendMsg;
pub use shutdown::Shutdown;
pub use stat::{FileType, Metadata, Stat};
pub use submit::Submit;
pub(crate) use submit::detach as detach_close;

pub(crate) use crate::sqe::{Class, Cqe, OpMeta, Sqe, flag, opcode};

/// The most bytes that one request moves: what a completion can count.
pub(crate) const LEN_MAX: usize = i32::MAX as usize & !4095;

/// The count in a result, of which a driver must not report more than was asked for: what follows
/// trusts it with memory.
fn count(cqe: Cqe, asked: usize) -> std::io::Result<usize> {
    let n = cqe.result()? as usize;
    assert!(n <= asked, "the driver reported {n} bytes of {asked} asked for");
    Ok(n)
}

/// The count in a result as far as it can be true; none for an error. `decode` refuses what cannot
/// be true; this is for what comes before it, where a panic would meet that one.
fn plausible(cqe: Cqe, asked: usize) -> usize {
    cqe.result().map_or(0, |n| (n as usize).min(asked))
}

/// An operation with one result.
///
/// # Safety
///
/// 1. Every address that `fill` writes into the request is that of memory which the operation owns
///    and which stays at its place while the operation, which itself does not move, is alive.
/// 2. `META.call` does to this memory no more than the request says.
/// 3. `decode` trusts a result only as far as the request allows: no more bytes than asked for.
pub unsafe trait Op: Unpin + 'static {
    /// What the caller gets, with every buffer.
    type Output;
    /// What drivers know about it.
    const META: &'static OpMeta;

    /// Whether [`ended`](Op::ended) does anything.
    const ENDS: bool = false;

    /// Writes the request. The operation is in its final place and will not move until it ends.
    /// An operation that has to be asked for again is filled in again, maybe at another place.
    fn fill(&mut self, sqe: &mut Sqe);

    /// Called once when the final result is there, before and whether or not somebody takes it: a
    /// result that waits for a future that was forgotten must keep neither a descriptor open nor a
    /// later operation waiting.
    fn ended(&mut self, cqe: Cqe) {
        let _ = cqe;
    }

    /// Turns the result into what the caller gets. A result that nobody waits for is decoded as
    /// well and dropped, so it has to own what it got.
    fn decode(self, cqe: Cqe) -> Self::Output;

    /// Hands to `part`, in order, what the finished operation left for a caller that went before:
    /// the bytes that it received, or those that it did not send.
    fn residue(&mut self, cqe: Cqe, part: &mut dyn FnMut(&[u8])) {
        let _ = (cqe, part);
    }
}

/// An operation that yields results until it is cancelled or fails.
///
/// # Safety
///
/// The same as for [`Op`], 1 and 2.
pub(crate) unsafe trait MultiOp: Unpin + 'static {
    /// What drivers know about it.
    const META: &'static OpMeta;

    /// Writes the request.
    fn fill(&mut self, sqe: &mut Sqe);

    /// Takes one result in, the final one included; afterwards the operation is dropped. It may
    /// wake tasks and nothing else that runs foreign code.
    fn item(&mut self, cqe: Cqe);
}
