//! What operations make of the counts that a driver reports, whatever they are.

use super::refusal::accepted;
use crate::Builder;
use crate::builder::{DriverKind, Runtime};
use crate::fd::Fd;
use crate::op::{Cqe, Op, Read, Recv, RecvMsg, Send, SendMsg, Sqe, Write};
use crate::sqe::{Key, Kind};
use arbitrary::{Result, Unstructured};
use ringbolt_buffers::{BufResult, IoBufMut, IoVectoredMut, Slice};
use socket2::{Domain, Socket, Type};
use std::ptr::NonNull;

/// Results for receives, sends, reads and writes, with one buffer and with several.
pub fn results(data: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime =
            Builder::new().driver(DriverKind::Readiness).build().expect("a runtime");
    }
    let mut input = Unstructured::new(data);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            // Running out of bytes is the end.
            let _ = run(&mut input);
        });
    });
}

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    let fd = Fd::socket(socket).expect("a socket in any mode");
    while !input.is_empty() {
        keys(input)?;
        match input.arbitrary::<u8>()? % 8 {
            0 => filled(input, |buf| Recv::new(fd.clone(), buf))?,
            1 => filled(input, |buf| Read::new(fd.clone(), buf, 0))?,
            2 => emptied(input, |buf| Send::new(fd.clone(), buf))?,
            3 => emptied(input, |buf| Write::new(fd.clone(), buf, 0))?,
            4 | 5 => filled_parts(input, &fd)?,
            _ => emptied_parts(input, &fd)?,
        }
    }
    Ok(())
}

/// What is read out of a completion without knowing its operation.
fn keys(input: &mut Unstructured<'_>) -> Result<()> {
    let cqe = Cqe { key: Key(input.arbitrary()?), res: input.arbitrary()?, flags: 3 };
    let (slot, generation) = (cqe.key.slot(), cqe.key.generation());
    let cancel = cqe.key.with_kind(Kind::Cancel);
    assert_eq!(
        (cancel.kind(), cancel.slot(), cancel.generation()),
        (Kind::Cancel, slot, generation)
    );
    match cqe.result() {
        Ok(n) => assert_eq!(i64::from(n), i64::from(cqe.res)),
        Err(error) => assert_eq!(error.raw_os_error(), Some(cqe.res.wrapping_neg())),
    }
    Ok(())
}

/// A result for a request of `asked` bytes: mostly one that may be.
fn result(input: &mut Unstructured<'_>, asked: usize) -> Result<i32> {
    Ok(match input.arbitrary::<u8>()? {
        0..=7 => input.arbitrary()?,
        8..=15 => asked as i32 + i32::from(input.arbitrary::<u8>()? % 4),
        16..=47 => -i32::from(input.arbitrary::<u8>()?),
        _ => input.int_in_range(0..=asked as i32)?,
    })
}

/// What has to become of a result; `None` if it has to be refused.
fn expected(res: i32, asked: usize) -> Option<std::result::Result<usize, i32>> {
    match usize::try_from(res) {
        Ok(n) => (n <= asked).then_some(Ok(n)),
        Err(_) => Some(Err(res.wrapping_neg())),
    }
}

fn outcome(result: std::io::Result<usize>) -> std::result::Result<usize, i32> {
    result.map_err(|error| error.raw_os_error().expect("an error of the system"))
}

fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| seed.wrapping_add((i as u8).wrapping_mul(7))).collect()
}

type Part = Slice<Vec<u8>>;

/// A part of a vector whose memory is known also behind its content.
fn part(input: &mut Unstructured<'_>, seed: u8) -> Result<(Part, Vec<u8>)> {
    let mut buf = pattern(seed, input.int_in_range(0..=24)?);
    buf.shrink_to_fit();
    let memory = buf.clone();
    buf.truncate(input.int_in_range(0..=memory.len())?);
    let begin = input.int_in_range(0..=buf.len())?;
    let capacity = buf.capacity().min(memory.len());
    Ok((buf.slice_mut(begin..capacity), memory[begin..].to_vec()))
}

/// The operation goes in, gets its request filled, and is finished by `cqe`.
fn finish<O: Op>(mut op: O, res: i32, left: &mut Vec<u8>) -> Option<O::Output> {
    let mut sqe = Sqe::new(O::META.opcode, -1);
    op.fill(&mut sqe);
    let cqe = Cqe { key: Key(1), res, flags: 0 };
    accepted(move || {
        op.residue(cqe, &mut |part| left.extend_from_slice(part));
        op.decode(cqe)
    })
}

fn filled<O>(input: &mut Unstructured<'_>, new: impl FnOnce(Part) -> O) -> Result<()>
where
    O: Op<Output = BufResult<usize, Part>>,
{
    let seed = input.arbitrary()?;
    let (buf, memory) = part(input, seed)?;
    let before = buf.len();
    let res = result(input, memory.len())?;
    let mut left = Vec::new();
    let output = finish(new(buf), res, &mut left);
    let wanted = expected(res, memory.len());
    assert_eq!(output.is_some(), wanted.is_some(), "{res} for {}", memory.len());
    let (Some(BufResult(result, buf)), Some(wanted)) = (output, wanted) else { return Ok(()) };
    assert_eq!(outcome(result), wanted);
    // A slice with an end never shortens the content.
    let len = before.max(wanted.unwrap_or(0));
    assert_eq!(buf[..], memory[..len]);
    if O::META.name == "recv" {
        assert_eq!(left, memory[..wanted.unwrap_or(0)]);
    }
    Ok(())
}

fn emptied<O>(input: &mut Unstructured<'_>, new: impl FnOnce(Part) -> O) -> Result<()>
where
    O: Op<Output = BufResult<usize, Part>>,
{
    let seed = input.arbitrary()?;
    let (buf, _) = part(input, seed)?;
    let content = buf.to_vec();
    let res = result(input, content.len())?;
    let mut left = Vec::new();
    let output = finish(new(buf), res, &mut left);
    let wanted = expected(res, content.len());
    assert_eq!(output.is_some(), wanted.is_some(), "{res} for {}", content.len());
    let (Some(BufResult(result, buf)), Some(wanted)) = (output, wanted) else { return Ok(()) };
    assert_eq!(outcome(result), wanted);
    assert_eq!(buf[..], content[..]);
    if O::META.name == "send" {
        assert_eq!(left, content[wanted.unwrap_or(0)..]);
    }
    Ok(())
}

/// Several buffers: few, more than fit into the operation, and more than one request takes.
fn parts(input: &mut Unstructured<'_>) -> Result<(Vec<Part>, Vec<Vec<u8>>)> {
    let count = match input.arbitrary::<u8>()? {
        0..=1 => 1020 + usize::from(input.arbitrary::<u8>()? % 8),
        n => usize::from(n % 20),
    };
    let (mut bufs, mut memories) = (Vec::new(), Vec::new());
    for i in 0..count {
        let (buf, memory) = part(input, i as u8)?;
        bufs.push(buf);
        memories.push(memory);
    }
    Ok((bufs, memories))
}

/// The bytes that one request reaches: those of the first 1,024 parts that are not empty.
fn reached(lens: impl Iterator<Item = usize>) -> usize {
    lens.filter(|len| *len > 0).take(1024).sum()
}

fn filled_parts(input: &mut Unstructured<'_>, fd: &Fd) -> Result<()> {
    let (mut bufs, memories) = parts(input)?;
    let asked = reached(memories.iter().map(Vec::len));
    let res = result(input, asked)?;
    let before: Vec<usize> = bufs.iter().map(|buf| buf.len()).collect();
    let mut room = 0;
    bufs.for_each_part_mut(&mut |_: NonNull<u8>, capacity| room += capacity);
    assert_eq!(room, memories.iter().map(Vec::len).sum::<usize>());
    let mut left = Vec::new();
    let output = finish(RecvMsg::new(fd.clone(), bufs), res, &mut left);
    let wanted = expected(res, asked);
    assert_eq!(output.is_some(), wanted.is_some(), "{res} for {asked}");
    let (Some(BufResult(result, bufs)), Some(wanted)) = (output, wanted) else { return Ok(()) };
    assert_eq!(outcome(result), wanted);
    let all: Vec<u8> = memories.concat();
    assert_eq!(left, all[..wanted.unwrap_or(0)]);
    let mut n = wanted.unwrap_or(0);
    for ((buf, memory), before) in bufs.iter().zip(&memories).zip(before) {
        let share = n.min(memory.len());
        n -= share;
        assert_eq!(buf[..], memory[..share.max(before)]);
    }
    Ok(())
}

fn emptied_parts(input: &mut Unstructured<'_>, fd: &Fd) -> Result<()> {
    let (bufs, _) = parts(input)?;
    let contents: Vec<Vec<u8>> = bufs.iter().map(|buf| buf.to_vec()).collect();
    let asked = reached(contents.iter().map(Vec::len));
    let res = result(input, asked)?;
    let mut left = Vec::new();
    let output = finish(SendMsg::new(fd.clone(), bufs), res, &mut left);
    let wanted = expected(res, asked);
    assert_eq!(output.is_some(), wanted.is_some(), "{res} for {asked}");
    let (Some(BufResult(result, bufs)), Some(wanted)) = (output, wanted) else { return Ok(()) };
    assert_eq!(outcome(result), wanted);
    assert_eq!(left, contents.concat()[wanted.unwrap_or(0)..]);
    for (buf, content) in bufs.iter().zip(&contents) {
        assert_eq!(buf[..], content[..]);
    }
    Ok(())
}
