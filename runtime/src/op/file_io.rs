//! pread(2), pwrite(2), preadv(2) and pwritev(2): a file at an offset.
//!
//! An offset of `u64::MAX` stands for the position of the descriptor itself, as in
//! io_uring_enter(2).

use super::fence::Token;
use super::iovecs::IoVecs;
use super::{Class, Cqe, LEN_MAX, Op, OpMeta, Sqe, count, opcode};
use crate::fd::Fd;
use crate::sqe::Addr;
use crate::sys;
use ringbolt_buffers::{BufResult, IoBuf, IoBufMut, IoVectored, IoVectoredMut};

/// Reads at most one buffer full from a file. Zero bytes mean the end of the file.
#[derive(Debug)]
pub struct Read<B> {
    fd: Option<Fd>,
    buf: B,
    offset: u64,
    asked: usize,
}

impl<B: IoBufMut> Read<B> {
    /// Reads from `fd` at `offset` into `buf`, which comes back with exactly the bytes read.
    pub fn new(fd: Fd, buf: B, offset: u64) -> Read<B> {
        Read { fd: Some(fd), buf, offset, asked: 0 }
    }
}

static READ: OpMeta = OpMeta {
    name: "read",
    opcode: opcode::READ,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        let (len, offset) = (sqe.len as usize, sqe.off.as_number());
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::read(sqe.fd, sqe.addr.as_pointer(), len, offset) }
    },
};

// SAFETY: 1. the buffer is owned, and `IoBufMut` promises that its memory does not move.
// 2. pread(2) writes at most `len` bytes. 3. checked in `decode`.
unsafe impl<B: IoBufMut> Op for Read<B> {
    type Output = BufResult<usize, B>;
    const ENDS: bool = true;
    const META: &'static OpMeta = &READ;

    fn fill(&mut self, sqe: &mut Sqe) {
        let (ptr, len) = self.buf.io_parts_mut();
        self.asked = len.min(LEN_MAX);
        sqe.fd = self.fd.as_ref().map_or(-1, Fd::raw);
        sqe.addr = Addr::pointer(ptr.as_ptr());
        sqe.off = Addr::number(self.offset);
        sqe.len = self.asked as u32;
    }

    fn ended(&mut self, _: Cqe) {
        self.fd = None;
    }

    fn decode(mut self, cqe: Cqe) -> BufResult<usize, B> {
        let result = count(cqe, self.asked);
        if let Ok(n) = result {
            // SAFETY: the kernel wrote the first `n` bytes, which are within the capacity.
            unsafe { self.buf.set_init(n) };
        }
        BufResult(result, self.buf)
    }
}

/// Writes from a buffer to a file; it may write less than the whole of it.
#[derive(Debug)]
pub struct Write<B> {
    fd: Option<Fd>,
    buf: B,
    offset: u64,
    asked: usize,
    /// Lets the file know when the write has ended.
    token: Option<Token>,
}

impl<B: IoBuf> Write<B> {
    /// Writes the initialised bytes of `buf` to `fd` at `offset`.
    pub fn new(fd: Fd, buf: B, offset: u64) -> Write<B> {
        Write { fd: Some(fd), buf, offset, asked: 0, token: None }
    }

    /// Lets the fence that `token` is of know when the write has ended.
    pub fn fenced(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }
}

static WRITE: OpMeta = OpMeta {
    name: "write",
    opcode: opcode::WRITE,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        let (len, offset) = (sqe.len as usize, sqe.off.as_number());
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::write(sqe.fd, sqe.addr.as_pointer(), len, offset) }
    },
};

// SAFETY: 1. the buffer is owned, and `IoBuf` promises that its memory does not move.
// 2. pwrite(2) only reads. 3. checked in `decode`.
unsafe impl<B: IoBuf> Op for Write<B> {
    type Output = BufResult<usize, B>;
    const ENDS: bool = true;
    const META: &'static OpMeta = &WRITE;

    fn fill(&mut self, sqe: &mut Sqe) {
        let (ptr, len) = self.buf.io_parts();
        self.asked = len.min(LEN_MAX);
        sqe.fd = self.fd.as_ref().map_or(-1, Fd::raw);
        sqe.addr = Addr::pointer(ptr.as_ptr());
        sqe.off = Addr::number(self.offset);
        sqe.len = self.asked as u32;
    }

    fn ended(&mut self, _: Cqe) {
        self.fd = None;
        self.token = None;
    }

    fn decode(self, cqe: Cqe) -> BufResult<usize, B> {
        let result = count(cqe, self.asked);
        BufResult(result, self.buf)
    }
}

/// Reads into several buffers, in order, from a file.
#[derive(Debug)]
pub struct ReadVectored<V> {
    fd: Option<Fd>,
    bufs: V,
    parts: IoVecs,
    offset: u64,
}

impl<V: IoVectoredMut> ReadVectored<V> {
    /// Reads from `fd` at `offset` into `bufs`, which come back with exactly the bytes read.
    pub fn new(fd: Fd, bufs: V, offset: u64) -> ReadVectored<V> {
        ReadVectored { fd: Some(fd), bufs, parts: IoVecs::new(), offset }
    }
}

static READV: OpMeta = OpMeta {
    name: "readv",
    opcode: opcode::READV,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        let offset = sqe.off.as_number();
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::readv(sqe.fd, sqe.addr.as_pointer(), sqe.len, offset) }
    },
};

// SAFETY: 1. buffers and parts are owned; the buffers promise not to move, and the parts stay in
// the slot. 2. preadv(2) writes no more than the parts. 3. checked in `decode`.
unsafe impl<V: IoVectoredMut> Op for ReadVectored<V> {
    type Output = BufResult<usize, V>;
    const ENDS: bool = true;
    const META: &'static OpMeta = &READV;

    fn fill(&mut self, sqe: &mut Sqe) {
        let parts = &mut self.parts;
        parts.clear();
        self.bufs.for_each_part_mut(&mut |ptr, len| parts.push(ptr, len));
        sqe.fd = self.fd.as_ref().map_or(-1, Fd::raw);
        sqe.addr = Addr::pointer(parts.as_mut_ptr());
        sqe.off = Addr::number(self.offset);
        sqe.len = parts.count() as u32;
    }

    fn ended(&mut self, _: Cqe) {
        self.fd = None;
    }

    fn decode(mut self, cqe: Cqe) -> BufResult<usize, V> {
        let result = self.parts.check(cqe);
        if let Ok(n) = result {
            // SAFETY: the kernel filled the parts in order with `n` bytes in all.
            unsafe { self.bufs.set_init_total(n) };
        }
        BufResult(result, self.bufs)
    }
}

/// Writes from several buffers, in order, to a file.
#[derive(Debug)]
pub struct WriteVectored<V> {
    fd: Option<Fd>,
    bufs: V,
    parts: IoVecs,
    offset: u64,
    /// Lets the file know when the write has ended.
    token: Option<Token>,
}

impl<V: IoVectored> WriteVectored<V> {
    /// Writes the initialised bytes of `bufs` to `fd` at `offset`.
    pub fn new(fd: Fd, bufs: V, offset: u64) -> WriteVectored<V> {
        WriteVectored { fd: Some(fd), bufs, parts: IoVecs::new(), offset, token: None }
    }

    /// Lets the fence that `token` is of know when the write has ended.
    pub fn fenced(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }
}

static WRITEV: OpMeta = OpMeta {
    name: "writev",
    opcode: opcode::WRITEV,
    class: Class::Blocking,
    cancellable: true,
    call: |sqe| {
        let offset = sqe.off.as_number();
        // SAFETY: the caller of `call` answers for the memory that the request names.
        unsafe { sys::writev(sqe.fd, sqe.addr.as_pointer(), sqe.len, offset) }
    },
};

// SAFETY: 1. buffers and parts are owned; the buffers promise not to move, and the parts stay in
// the slot. 2. pwritev(2) only reads. 3. checked in `decode`.
unsafe impl<V: IoVectored> Op for WriteVectored<V> {
    type Output = BufResult<usize, V>;
    const ENDS: bool = true;
    const META: &'static OpMeta = &WRITEV;

    fn fill(&mut self, sqe: &mut Sqe) {
        let parts = &mut self.parts;
        parts.clear();
        self.bufs.for_each_part(&mut |ptr, len| parts.push(ptr, len));
        sqe.fd = self.fd.as_ref().map_or(-1, Fd::raw);
        sqe.addr = Addr::pointer(parts.as_mut_ptr());
        sqe.off = Addr::number(self.offset);
        sqe.len = parts.count() as u32;
    }

    fn ended(&mut self, _: Cqe) {
        self.fd = None;
        self.token = None;
    }

    fn decode(self, cqe: Cqe) -> BufResult<usize, V> {
        let result = self.parts.check(cqe);
        BufResult(result, self.bufs)
    }
}
