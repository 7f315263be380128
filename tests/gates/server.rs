//! A file system whose every answer is in the hands of the test: fuse(4).
//!
//! There is one folder with a file, `file`, and an empty folder, `folder`; other names do not
//! exist. Changes are acknowledged and forgotten, except that writes are noted. A [`Rule`] says
//! what happens to the next request of one kind: it is held until it is released, fails with an
//! error number, or moves fewer bytes than asked for.
//!
//! It runs in a process of its own (`remote` is how the test speaks to it): a process that waits
//! for an answer of its own cannot even be killed. For the same reason nothing is held for ever.

use crate::content;
use crate::gate::LEN;
use crate::remote::{Command, Notice};
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Error, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Kinds of requests (`enum fuse_opcode` of linux/fuse.h).
pub(crate) mod kind {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const BATCH_FORGET: u32 = 42;
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It waits until it is released.
    Hold,
    /// It fails with this error number.
    Fail(i32),
    /// It moves this many bytes.
    Short(usize),
}

/// A request: its kind, its number, what it is about, and its arguments.
struct Request {
    kind: u32,
    unique: u64,
    node: u64,
    body: Vec<u8>,
}

struct State {
    /// Holds for the next request of that kind.
    rule: Option<(u32, Rule)>,
    held: Option<Request>,
    /// The content of the writes that were acknowledged.
    written: Vec<u8>,
    /// Where notices go.
    parent: UnixStream,
}

const FILE: u64 = 2;
const FOLDER: u64 = 3;
/// Reads and writes go to the server one by one, without a cache (`FOPEN_DIRECT_IO`).
const DIRECT: u32 = 1;
/// How long a request is held if nobody releases it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Mounts the file system on `folder` and serves it until `parent` goes.
pub(crate) fn serve(folder: &str, parent: UnixStream) {
    let state = State {
        rule: None,
        held: None,
        written: Vec::new(),
        parent: parent.try_clone().expect("a free descriptor"),
    };
    let state = Arc::new(Mutex::new(state));
    let device = match mount(folder) {
        Ok(device) => Arc::new(device),
        Err(error) => return notify(&state, &Notice::Refused(error.to_string())),
    };
    let (theirs, shared) = (device.clone(), state.clone());
    std::thread::spawn(move || take_requests(&theirs, &shared));
    notify(&state, &Notice::Done);
    parent.set_read_timeout(Some(PATIENCE)).expect("a limit above zero");
    let mut lines = BufReader::new(parent);
    loop {
        let mut line = String::new();
        match lines.read_line(&mut line) {
            Ok(1..) => obey(Command::read(&line), &device, &state),
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => release(&device, &state),
            _ => break,
        }
    }
    release(&device, &state);
    let target = CString::new(folder).expect("no zero in it");
    // SAFETY: the string ends with a zero and lives until after the call.
    let n = unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    assert_eq!(n, 0, "umount: {}", Error::last_os_error());
}

fn mount(folder: &str) -> Result<File, Error> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let fd = device.as_raw_fd();
    let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other");
    let options = CString::new(options).expect("no zero in it");
    let target = CString::new(folder).expect("no zero in it");
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    let (source, system) = (c"gates".as_ptr(), c"fuse".as_ptr());
    // SAFETY: all strings end with a zero and live until after the call.
    let n = unsafe { libc::mount(source, target.as_ptr(), system, flags, options.as_ptr().cast()) };
    if n == 0 { Ok(device) } else { Err(Error::last_os_error()) }
}

fn obey(command: Command, device: &File, state: &Mutex<State>) {
    match command {
        Command::Rule(kind, rule) => lock(state).rule = Some((kind, rule)),
        Command::Release => release(device, state),
        Command::Report => {
            let mut now = lock(state);
            let (asked, written) = (now.rule.is_none(), std::mem::take(&mut now.written));
            now.rule = None;
            drop(now);
            let whole = written == content(LEN);
            return notify(state, &Notice::Report { asked, written: written.len(), whole });
        }
    }
    notify(state, &Notice::Done);
}

fn notify(state: &Mutex<State>, notice: &Notice) {
    // The parent may have gone, which ends the loop above.
    let _ = lock(state).parent.write_all(notice.to_line().as_bytes());
}

/// Answers the request that is held, if there is one.
fn release(device: &File, state: &Mutex<State>) {
    let held = lock(state).held.take();
    if let Some(request) = held {
        reply(device, request.unique, answer(&request, LEN, state));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics under this lock")
}

/// Takes requests in until the file system is gone.
fn take_requests(mut device: &File, state: &Mutex<State>) {
    let mut buf = vec![0; 1 << 20];
    loop {
        let n = match device.read(&mut buf) {
            Ok(n) => n,
            // A request was withdrawn before it could be read, or a signal came.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {
                continue;
            }
            Err(_) => return,
        };
        let request = Request {
            kind: number(&buf, 4) as u32,
            unique: number(&buf, 8) | number(&buf, 12) << 32,
            node: number(&buf, 16) | number(&buf, 20) << 32,
            body: buf[40..n].to_vec(),
        };
        take_in(device, request, state);
    }
}

fn take_in(device: &File, request: Request, state: &Mutex<State>) {
    if matches!(request.kind, kind::FORGET | kind::BATCH_FORGET | kind::INTERRUPT) {
        // These want no answer. An interrupt is a wish, and this server does not grant it.
        return;
    }
    let mut now = lock(state);
    let rule = now.rule.take_if(|(kind, _)| *kind == request.kind).map(|(_, rule)| rule);
    if rule == Some(Rule::Hold) {
        now.held = Some(request);
        drop(now);
        return notify(state, &Notice::Held);
    }
    drop(now);
    let answered = match rule {
        Some(Rule::Fail(errno)) => Err(errno),
        Some(Rule::Short(len)) => answer(&request, len, state),
        _ => answer(&request, LEN, state),
    };
    reply(device, request.unique, answered);
}

/// Sends an answer; the one who asked may have gone.
fn reply(mut device: &File, unique: u64, answer: Result<Vec<u8>, i32>) {
    let (error, body) = match answer {
        Ok(body) => (0, body),
        Err(errno) => (-errno, Vec::new()),
    };
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(error.to_ne_bytes());
    message.extend(unique.to_ne_bytes());
    message.extend(body);
    let _ = device.write(&message);
}

/// The four bytes at `at`, as a number.
fn number(bytes: &[u8], at: usize) -> u64 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes")).into()
}

/// The answer to a request, which moves at most `len` bytes.
fn answer(request: &Request, len: usize, state: &Mutex<State>) -> Result<Vec<u8>, i32> {
    let body = &request.body;
    match request.kind {
        kind::INIT => Ok(init(number(body, 8) as u32)),
        kind::LOOKUP => match body.as_slice() {
            b"file\0" => Ok(entry(FILE)),
            b"folder\0" => Ok(entry(FOLDER)),
            _ => Err(libc::ENOENT),
        },
        kind::GETATTR | kind::SETATTR => {
            let mut out = vec![0; 16];
            out.extend(attributes(request.node));
            Ok(out)
        }
        // A folder may have one name only, so a new one is another node.
        kind::MKDIR => Ok(entry(FOLDER + request.unique)),
        kind::CREATE => Ok([entry(FILE), opened()].concat()),
        kind::OPEN => Ok(opened()),
        kind::READ => {
            let (offset, size) = (number(body, 8) as usize, number(body, 16) as usize);
            let all = content(LEN);
            let rest = &all[offset.min(LEN)..];
            Ok(rest[..rest.len().min(size).min(len)].to_vec())
        }
        kind::WRITE => {
            let size = (number(body, 16) as usize).min(len);
            lock(state).written.extend_from_slice(&body[40..40 + size]);
            Ok((size as u64).to_ne_bytes().to_vec())
        }
        kind::RMDIR | kind::UNLINK | kind::RENAME | kind::RELEASE | kind::FSYNC | kind::FLUSH => {
            Ok(Vec::new())
        }
        _ => Err(libc::ENOSYS),
    }
}

/// `struct fuse_init_out`: version 7.31, messages of 128 KiB. Nobody who reads past the cache has
/// to wait for the answer (`FUSE_ASYNC_DIO`), as with every server of today.
fn init(readahead: u32) -> Vec<u8> {
    let mut out = vec![0_u8; 64];
    let fields = [(0, 7_u32), (4, 31), (8, readahead), (12, 1 << 15), (20, 128 << 10), (24, 1)];
    for (at, value) in fields {
        out[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    out
}

/// `struct fuse_entry_out`, which the kernel must not remember.
fn entry(node: u64) -> Vec<u8> {
    let mut out = node.to_ne_bytes().to_vec();
    out.resize(40, 0);
    out.extend(attributes(node));
    out
}

/// `struct fuse_attr`.
fn attributes(node: u64) -> Vec<u8> {
    let is_file = node == FILE;
    let mode = if is_file { libc::S_IFREG | 0o644 } else { libc::S_IFDIR | 0o755 };
    let mut out = node.to_ne_bytes().to_vec();
    out.extend(if is_file { LEN as u64 } else { 0 }.to_ne_bytes());
    out.resize(60, 0);
    out.extend(mode.to_ne_bytes());
    out.extend(1_u32.to_ne_bytes());
    out.resize(88, 0);
    out
}

/// `struct fuse_open_out`.
fn opened() -> Vec<u8> {
    let mut out = vec![0; 8];
    out.extend(DIRECT.to_ne_bytes());
    out.resize(16, 0);
    out
}
