//! Requests on virtual files.

use super::kernel::{Desc, Kernel, Ticket};
use super::memory;
use crate::sqe::{Sqe, opcode};
use crate::sys::mirror::{self, errno};
use crate::sys::{self, StatBuf};
use std::path::PathBuf;

impl Kernel {
    pub(super) fn attempt_file(&mut self, ticket: Ticket, sqe: &Sqe) {
        let (host, id) = ticket;
        let result = match sqe.opcode {
            opcode::READ | opcode::READV => return self.read_file(ticket, sqe),
            opcode::WRITE | opcode::WRITEV => self.write_file(ticket, sqe),
            opcode::FSYNC => self.sync_file(host, sqe),
            opcode::OPENAT => self.open_file(host, sqe),
            opcode::STATX => return self.stat_file(ticket, sqe),
            opcode::CLOSE => match self.close(host, sqe.fd, Some(id)) {
                0 => Ok(0),
                error => Err(error),
            },
            opcode::MKDIRAT | opcode::UNLINKAT | opcode::RENAMEAT => self.change_names(host, sqe),
            _ => Err(-errno::NOSYS),
        };
        let res = result.unwrap_or_else(|error| error);
        self.finish(ticket, res, Vec::new());
    }

    /// The number and the position of an open file.
    fn file(&mut self, host: usize, raw: i32) -> Result<(u64, u64, bool), i32> {
        match self.desc(host, raw) {
            Some(Desc::File { number, position, append }) => Ok((*number, *position, *append)),
            Some(Desc::Sock(_)) => Err(-errno::INVAL),
            None => Err(-errno::BADF),
        }
    }

    fn advance(&mut self, host: usize, raw: i32, to: u64) {
        if let Some(Desc::File { position, .. }) = self.desc(host, raw) {
            *position = to;
        }
    }

    fn read_file(&mut self, ticket: Ticket, sqe: &Sqe) {
        let (host, _) = ticket;
        let room = memory::room(sqe);
        let found = self.file(host, sqe.fd).and_then(|(number, position, _)| {
            let here = sqe.off.as_number() == u64::MAX;
            let offset = if here { position } else { sqe.off.as_number() };
            let bytes = self.hosts[host].disk.read(number, offset, room)?;
            Ok((bytes, offset, here))
        });
        match found {
            Err(error) => self.finish(ticket, error, Vec::new()),
            Ok((mut bytes, offset, here)) => {
                let n = self.cut_short(bytes.len());
                bytes.truncate(n);
                if here {
                    self.advance(host, sqe.fd, offset + n as u64);
                }
                self.finish(ticket, n as i32, bytes);
            }
        }
    }

    fn write_file(&mut self, ticket: Ticket, sqe: &Sqe) -> Result<i32, i32> {
        let (host, _) = ticket;
        let (number, position, append) = self.file(host, sqe.fd)?;
        let here = sqe.off.as_number() == u64::MAX;
        let offset = match (append, here) {
            (true, _) => self.hosts[host].disk.len(number),
            (false, true) => position,
            (false, false) => sqe.off.as_number(),
        };
        let wanted = memory::room(sqe);
        let n = self.cut_short(wanted);
        let bytes = self.take_sent(ticket, sqe, n);
        let (room, now) = (self.disk_faults(host).disk_len, self.stamp());
        let n = self.hosts[host].disk.write(number, offset, &bytes, room, now)?;
        if here {
            self.advance(host, sqe.fd, offset + n as u64);
        }
        Ok(n as i32)
    }

    fn sync_file(&mut self, host: usize, sqe: &Sqe) -> Result<i32, i32> {
        let (number, ..) = self.file(host, sqe.fd)?;
        let fails = self.chance(self.disk_faults(host).sync_error);
        self.hosts[host].disk.sync(number, fails);
        if fails { Err(-sys::errno::IO) } else { Ok(0) }
    }

    fn open_file(&mut self, host: usize, sqe: &Sqe) -> Result<i32, i32> {
        let path = path(sqe);
        let wish = mirror::open_wish(sqe.op_flags);
        let now = self.stamp();
        let number = self.hosts[host].disk.open(&path, &wish, now)?;
        Ok(self.install(host, Desc::File { number, position: 0, append: wish.append }))
    }

    fn stat_file(&mut self, ticket: Ticket, sqe: &Sqe) {
        let (host, _) = ticket;
        let number = if sqe.op_flags & sys::STAT_SELF != 0 {
            self.file(host, sqe.fd).map(|(number, ..)| number)
        } else {
            self.hosts[host].disk.lookup(&path(sqe))
        };
        match number {
            Err(error) => self.finish(ticket, error, Vec::new()),
            Ok(number) => {
                let (len, kind, modified) = self.hosts[host].disk.stat(number);
                let found = mirror::stat_buf(len, kind, modified, number);
                let start = found.as_ptr().cast::<u8>();
                // SAFETY: the structure was zeroed before its fields were set, so that all of its
                // bytes are initialised.
                let bytes = unsafe { std::slice::from_raw_parts(start, size_of::<StatBuf>()) };
                self.finish(ticket, 0, bytes.to_vec());
            }
        }
    }

    fn change_names(&mut self, host: usize, sqe: &Sqe) -> Result<i32, i32> {
        let now = self.stamp();
        let from = path(sqe);
        let disk = &mut self.hosts[host].disk;
        match sqe.opcode {
            opcode::MKDIRAT => disk.mkdir(&from, now)?,
            opcode::UNLINKAT => disk.unlink(&from, sqe.op_flags == sys::REMOVE_DIR)?,
            _ => {
                // SAFETY: the slot keeps the path until the final result.
                let to = unsafe { mirror::path(sqe.off.as_pointer()) };
                disk.rename(&from, &to)?;
            }
        }
        Ok(0)
    }
}

fn path(sqe: &Sqe) -> PathBuf {
    // SAFETY: the slot keeps the path until the final result.
    unsafe { mirror::path(sqe.addr.as_pointer()) }
}
