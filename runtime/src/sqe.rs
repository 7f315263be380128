//! The narrow waist: one request format and one result format for every driver.
//!
//! [`Sqe`] has the layout of the kernel's `struct io_uring_sqe` (io_uring_enter(2)), so the
//! io_uring driver copies it as it is; the other drivers read its fields. It compiles on every
//! target, and its address fields are real pointers, so that provenance survives the trip through a
//! driver. Operations fill it, drivers execute it, nothing else touches it.

/// One field of an [`Sqe`] that holds either a number or an address.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Addr {
    #[cfg(all(target_endian = "big", target_pointer_width = "32"))]
    high: u32,
    low: *mut u8,
    #[cfg(all(target_endian = "little", target_pointer_width = "32"))]
    high: u32,
}

impl Addr {
    /// A field that holds zero.
    pub const ZERO: Addr = Addr::number(0);

    /// A field that holds the number `n`.
    pub const fn number(n: u64) -> Addr {
        Addr {
            low: std::ptr::without_provenance_mut(n as usize),
            #[cfg(target_pointer_width = "32")]
            high: (n >> 32) as u32,
        }
    }

    /// A field that holds an address.
    pub const fn pointer<T>(ptr: *const T) -> Addr {
        Addr {
            low: ptr.cast::<u8>().cast_mut(),
            #[cfg(target_pointer_width = "32")]
            high: 0,
        }
    }

    /// The number that [`Addr::number`] stored.
    pub fn as_number(self) -> u64 {
        #[cfg(target_pointer_width = "32")]
        return (self.low.addr() as u64) | (u64::from(self.high) << 32);
        #[cfg(not(target_pointer_width = "32"))]
        return self.low.addr() as u64;
    }

    /// The address that [`Addr::pointer`] stored.
    pub fn as_pointer<T>(self) -> *mut T {
        self.low.cast()
    }
}

impl std::fmt::Debug for Addr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.as_number())
    }
}

/// One request: what is to be done, on which descriptor, with which memory.
///
/// The memory it names belongs to the request until the final [`Cqe`] of its key.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sqe {
    /// One of [`opcode`].
    pub opcode: u8,
    /// `IOSQE_*` bits, see [`flag`].
    pub flags: u8,
    /// Bits that belong to the opcode, see [`flag`].
    pub ioprio: u16,
    /// The descriptor, or the directory descriptor of a path operation.
    pub fd: i32,
    /// An offset in a file or a second address.
    pub off: Addr,
    /// The address of the buffer, path or header.
    pub addr: Addr,
    /// The length of the buffer in bytes, or another number that belongs to the opcode.
    pub len: u32,
    /// Flags that belong to the opcode (`MSG_*`, `O_*`, `AT_*`).
    pub op_flags: u32,
    /// The [`Key`] that every [`Cqe`] of this request carries.
    pub user_data: u64,
    /// The pool that a request with [`flag::BUFFER_SELECT`] takes its memory from.
    pub buf_group: u16,
    /// Always zero: requests run with the credentials of the process.
    pub personality: u16,
    /// The total limit in bytes of a multishot receive (0: none), else zero.
    pub limit: u32,
    /// State that a driver other than io_uring keeps for the request; zero when committed.
    pub scratch: u64,
    /// Always zero.
    pub pad: u64,
}

const _: () = assert!(size_of::<Sqe>() == 64);
const _: () = assert!(std::mem::offset_of!(Sqe, off) == 8);
const _: () = assert!(std::mem::offset_of!(Sqe, addr) == 16);
const _: () = assert!(std::mem::offset_of!(Sqe, user_data) == 32);
const _: () = assert!(std::mem::offset_of!(Sqe, limit) == 44);

impl Sqe {
    /// A request for `opcode` on `fd` with every other field zero.
    pub const fn new(opcode: u8, fd: i32) -> Sqe {
        Sqe {
            opcode,
            flags: 0,
            ioprio: 0,
            fd,
            off: Addr::ZERO,
            addr: Addr::ZERO,
            len: 0,
            op_flags: 0,
            user_data: 0,
            buf_group: 0,
            personality: 0,
            limit: 0,
            scratch: 0,
            pad: 0,
        }
    }

    /// Whether the request yields results until it is cancelled or fails.
    pub fn is_multishot(&self) -> bool {
        match self.opcode {
            opcode::ACCEPT => self.ioprio & flag::ACCEPT_MULTISHOT != 0,
            opcode::RECV => self.ioprio & flag::RECV_MULTISHOT != 0,
            _ => false,
        }
    }
}

// SAFETY: an `Sqe` is plain data; the pointers in it are only followed by the kernel or by an
// operation's `call`, whose contract asks for memory that stays valid until the final completion.
unsafe impl Send for Sqe {}

/// One result of a request.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cqe {
    /// The [`Key`] of the request.
    pub key: Key,
    /// What the system call would have returned, or minus an error number of this platform.
    pub res: i32,
    /// `IORING_CQE_F_*` bits, see [`flag`].
    pub flags: u32,
}

impl Cqe {
    /// Whether this is the last result of its request.
    pub fn is_final(self) -> bool {
        self.flags & flag::MORE == 0
    }

    /// The pool buffer that holds the bytes, looked at whatever `res` is.
    pub fn buffer_id(self) -> Option<u16> {
        (self.flags & flag::BUFFER != 0).then_some((self.flags >> 16) as u16)
    }

    /// `res` as the count or descriptor it stands for, or the error.
    pub fn result(self) -> std::io::Result<u32> {
        match u32::try_from(self.res) {
            Ok(n) => Ok(n),
            Err(_) => Err(crate::error::from_res(self.res)),
        }
    }
}

/// Names a request in flight: what kind it is, its slot, and the generation of the slot.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u64);

/// What a [`Key`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An operation in a slot.
    Op = 0,
    /// The cancel request for the operation with the same slot and generation.
    Cancel = 1,
    /// A wake-up from another thread.
    Wake = 2,
    /// A request of the driver's own.
    Internal = 3,
}

impl Key {
    /// The most slots that a key can name.
    pub const SLOTS_MAX: u32 = 1 << 24;

    /// The key of generation `generation` of slot `slot`.
    pub const fn new(kind: Kind, slot: u32, generation: u32) -> Key {
        debug_assert!(slot < Key::SLOTS_MAX);
        Key(((kind as u64) << 56) | ((slot as u64) << 32) | generation as u64)
    }

    /// What it stands for; unknown kinds count as the driver's own.
    pub const fn kind(self) -> Kind {
        match self.0 >> 56 {
            0 => Kind::Op,
            1 => Kind::Cancel,
            2 => Kind::Wake,
            _ => Kind::Internal,
        }
    }

    /// The same slot and generation with another kind.
    pub const fn with_kind(self, kind: Kind) -> Key {
        Key::new(kind, self.slot(), self.generation())
    }

    /// The slot's index.
    pub const fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & (Key::SLOTS_MAX - 1)
    }

    /// The slot's generation, so that a late result never meets a later request.
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }
}

/// When a driver that waits for readiness may execute a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Tried at once, then whenever the descriptor becomes readable.
    Readable,
    /// Tried at once, then whenever the descriptor becomes writable.
    Writable,
    /// Executed by the helper pool, since it may block on a disk.
    Blocking,
    /// Executed at once: it never blocks.
    Instant,
}

/// What drivers and tracing know about an operation.
#[derive(Debug)]
pub struct OpMeta {
    /// The name of the system call.
    pub name: &'static str,
    /// One of [`opcode`].
    pub opcode: u8,
    /// How a driver that waits for readiness executes it.
    pub class: Class,
    /// Whether asking to cancel it makes sense (a close is never cancelled).
    pub cancellable: bool,
    /// The request as a plain system call: its result or minus an error number.
    ///
    /// # Safety
    ///
    /// 1. The memory that the request names is valid for the operation.
    /// 2. The descriptor is open.
    pub call: unsafe fn(&mut Sqe) -> i32,
}

/// The operation codes of io_uring_enter(2) that are used here.
///
/// This is the one list of them: the driver asks the kernel for these when it starts, and a
/// hardened ring takes no others ([`Builder::harden`](crate::Builder::harden)).
pub mod opcode {
    #![allow(missing_docs)]

    macro_rules! opcodes {
        ($($name:ident = $code:literal,)*) => {
            $(pub const $name: u8 = $code;)*
            /// All of them, each with the name that the kernel gives it after `IORING_OP_`.
            pub const ALL: &[(u8, &str)] = &[$(($code, stringify!($name)),)*];
        };
    }

    opcodes! {
        NOP = 0,
        READV = 1,
        WRITEV = 2,
        FSYNC = 3,
        POLL_ADD = 6,
        SENDMSG = 9,
        RECVMSG = 10,
        ACCEPT = 13,
        ASYNC_CANCEL = 14,
        CONNECT = 16,
        OPENAT = 18,
        CLOSE = 19,
        STATX = 21,
        READ = 22,
        WRITE = 23,
        SEND = 26,
        RECV = 27,
        SHUTDOWN = 34,
        RENAMEAT = 35,
        UNLINKAT = 36,
        MKDIRAT = 37,
    }
}

/// Bits of requests and results.
pub mod flag {
    /// `IOSQE_BUFFER_SELECT`: the driver picks a buffer of the pool. The only `IOSQE_*` in use.
    pub const BUFFER_SELECT: u8 = 1 << 5;
    /// `IORING_ACCEPT_MULTISHOT` in `ioprio`.
    pub const ACCEPT_MULTISHOT: u16 = 1;
    /// `IORING_RECV_MULTISHOT` in `ioprio`.
    pub const RECV_MULTISHOT: u16 = 1 << 1;
    /// `IORING_FSYNC_DATASYNC` in `op_flags`.
    pub const FSYNC_DATASYNC: u32 = 1;
    /// `IORING_CQE_F_BUFFER`: the upper 16 bits name a buffer of the pool.
    pub const BUFFER: u32 = 1;
    /// `IORING_CQE_F_MORE`: the request goes on.
    pub const MORE: u32 = 1 << 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_parts() {
        let key = Key::new(Kind::Op, 0xab_cdef, 0xdead_beef);
        assert_eq!(key.slot(), 0xab_cdef);
        assert_eq!(key.generation(), 0xdead_beef);
        let cancel = key.with_kind(Kind::Cancel);
        assert_eq!(cancel.kind(), Kind::Cancel);
        assert_eq!(cancel.with_kind(Kind::Op), key);
    }

    #[test]
    fn every_result_is_a_count_or_an_error() {
        let result = |res| Cqe { key: Key(0), res, flags: 0 }.result();
        assert_eq!(result(i32::MAX).unwrap(), i32::MAX as u32);
        for res in [-1, -i32::MAX, i32::MIN] {
            assert_eq!(result(res).unwrap_err().raw_os_error(), Some(res.wrapping_neg()));
        }
    }

    #[test]
    fn addresses_and_numbers_survive() {
        let byte = 7u8;
        assert_eq!(Addr::pointer(&raw const byte).as_pointer::<u8>().cast_const(), &raw const byte);
        assert_eq!(Addr::number(u64::MAX).as_number(), u64::MAX);
        assert_eq!(Addr::number(5 << 32).as_number(), 5 << 32);
    }
}
