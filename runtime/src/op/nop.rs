//! `nop`: a trip to the driver and back, for tests and measurements.

use super::{Class, Cqe, Op, OpMeta, Sqe, opcode};
use std::io;

/// Does nothing, through the driver.
#[derive(Debug, Default)]
pub struct Nop;

static META: OpMeta = OpMeta {
    name: "nop",
    opcode: opcode::NOP,
    class: Class::Instant,
    cancellable: true,
    call: |_| 0,
};

// SAFETY: the request names no memory.
unsafe impl Op for Nop {
    type Output = io::Result<()>;
    const META: &'static OpMeta = &META;

    fn fill(&mut self, _: &mut Sqe) {}

    fn decode(self, cqe: Cqe) -> io::Result<()> {
        cqe.result().map(drop)
    }
}
