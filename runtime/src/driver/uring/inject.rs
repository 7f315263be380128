//! What unit tests put between this driver and the kernel: results and failed calls of their
//! choice.
//!
//! A request that a rule names goes into the ring as a no-operation that ends with the rule's
//! result (`IORING_NOP_INJECT_RESULT`, 6.10), so that the completion comes through the kernel like
//! any other. A call into the kernel may be left out, cut short, or made and denied afterwards.
//! Rules are those of the calling thread.

use crate::sqe::{Key, Kind, Sqe, opcode};
use std::cell::RefCell;
use std::time::Duration;

const NOP_INJECT_RESULT: u32 = 1;

/// Makes some requests end with `res`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forced {
    pub(crate) opcode: u8,
    /// Matching requests that go through before.
    pub(crate) skip: u32,
    /// Matching requests that are replaced then.
    pub(crate) times: u32,
    pub(crate) res: i32,
}

/// What is done with a call into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It is made as it is.
    Made,
    /// It is not made, and this is its result.
    LeftOut(Result<u32, i32>),
    /// It is made, and this is its result all the same.
    Denied(i32),
    /// It is made with so many requests at most, and does not wait, as after a request that could
    /// not be taken.
    Short(u32),
}

/// What is done with the calls: from number `first` on (counted from zero), every `step`th.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    pub(crate) first: u64,
    pub(crate) step: u64,
    /// How many calls it concerns.
    pub(crate) times: u64,
    pub(crate) call: Call,
}

#[derive(Default)]
struct Plan {
    forced: Vec<Forced>,
    replaced: u32,
    calls: Option<Calls>,
    made: u64,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// Forgets all rules and counts.
pub(crate) fn clear() {
    PLAN.take();
}

/// Adds a rule.
pub(crate) fn force(rule: Forced) {
    PLAN.with_borrow_mut(|plan| plan.forced.push(rule));
}

/// Requests that were replaced since [`clear`].
pub(crate) fn replaced() -> u32 {
    PLAN.with_borrow(|plan| plan.replaced)
}

/// Rules what is done with the calls from now on.
pub(crate) fn rule_calls(calls: Calls) {
    PLAN.with_borrow_mut(|plan| plan.calls = Some(calls));
}

/// Calls since [`clear`].
pub(crate) fn calls() -> u64 {
    PLAN.with_borrow(|plan| plan.made)
}

/// The request to be staged in the place of `sqe`.
pub(super) fn request(sqe: &Sqe) -> Sqe {
    if !matches!(Key(sqe.user_data).kind(), Kind::Op | Kind::Cancel) {
        return *sqe;
    }
    PLAN.with_borrow_mut(|plan| {
        let Some(rule) = plan.forced.iter_mut().find(|r| r.opcode == sqe.opcode && r.times > 0)
        else {
            return *sqe;
        };
        if rule.skip > 0 {
            rule.skip -= 1;
            return *sqe;
        }
        rule.times -= 1;
        let mut nop = Sqe::new(opcode::NOP, -1);
        nop.user_data = sqe.user_data;
        nop.op_flags = NOP_INJECT_RESULT;
        nop.len = rule.res as u32;
        plan.replaced += 1;
        nop
    })
}

/// Makes a call into the kernel, or not.
pub(super) fn enter(
    count: u32,
    want: u32,
    limit: Option<Duration>,
    make: impl Fn(u32, u32, Option<Duration>) -> Result<u32, i32>,
) -> Result<u32, i32> {
    let call = PLAN.with_borrow_mut(|plan| {
        let number = plan.made;
        plan.made += 1;
        let Some(rule) = &mut plan.calls else { return Call::Made };
        let due = number >= rule.first && (number - rule.first) % rule.step == 0;
        if !due || rule.times == 0 {
            return Call::Made;
        }
        rule.times -= 1;
        rule.call
    });
    match call {
        Call::Made => make(count, want, limit),
        Call::LeftOut(result) => result,
        Call::Denied(errno) => make(count, want, limit).and(Err(errno)),
        Call::Short(most) if most < count => make(most, 0, None),
        Call::Short(_) => make(count, want, limit),
    }
}
