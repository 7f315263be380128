//! The driver for systems that tell when a descriptor is ready: epoll, kqueue, Windows' AFD.
//!
//! Every request is tried as soon as `wait` is entered. One that would block waits in a queue of
//! its descriptor, in order, until the poller says that the descriptor is ready. Requests on files
//! go to the helper pool; those on a pipe or the like that is not ready wait for the poller first,
//! so that they hold no helper and can be cancelled. Multishot requests are repeated here, with
//! buffers of the pool, until they would block, so the layers above see the same results as from
//! io_uring.

mod queue;

use super::helper::{FILES, Outbox};
use super::{Bell, Facts, Tally};
use crate::error::would_block;
use crate::sqe::{Addr, Class, Cqe, Key, OpMeta, Sqe, flag, opcode};
use crate::sys::{POLL_IN, POLL_OUT, errno, poll_now};
use polling::{Event, Events, PollMode, Poller};
use queue::{Direction, Fds, Request};
use ringbolt_buffers::Pool;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// Results of one multishot request in a row, before others get their turn.
const BURST: usize = 16;
/// Waits without a look at the poller, while results come without it.
const SKIPS_MAX: u32 = 16;

/// The readiness driver of one core.
pub(crate) struct Readiness {
    poller: Arc<Poller>,
    events: Events,
    /// Copied from `events` while they are worked through: descriptor, readable, writable.
    ready: Vec<(i32, bool, bool)>,
    edge: bool,
    fds: Fds,
    /// Taken since the last wait, or interrupted for the sake of others.
    staged: Vec<Request>,
    /// The other half of a swap with `staged`, kept for its memory.
    spare: Vec<Request>,
    /// Results of cancels.
    ended: Vec<Cqe>,
    outbox: Arc<Outbox>,
    in_helper: usize,
    pool: Pool,
    skips: u32,
    tally: Tally,
}

struct PollerBell(Arc<Poller>);

impl Bell for PollerBell {
    fn ring(&self) {
        // The poller outlives its core as long as somebody may ring, so this cannot go astray.
        let _ = self.0.notify();
    }
}

/// How one attempt at a request went on.
enum Attempt {
    /// Its final result has been delivered.
    Done,
    /// It waits for the descriptor.
    Blocked,
    /// It has more to do, after others.
    Again,
}

impl Readiness {
    pub(crate) fn new(pool: &Pool) -> io::Result<(Readiness, Facts)> {
        let poller = Arc::new(Poller::new()?);
        let edge = poller.supports_edge();
        let facts = Facts {
            driver: crate::sys::READINESS,
            fallback_reason: None,
            nonblocking_sockets: true,
            lends_buffers: true,
            features: vec![if edge { "edge-triggered" } else { "oneshot" }.into()],
        };
        let readiness = Readiness {
            events: Events::with_capacity(NonZeroUsize::new(1024).expect("not zero")),
            ready: Vec::with_capacity(1024),
            edge,
            fds: Fds::default(),
            staged: Vec::with_capacity(64),
            spare: Vec::with_capacity(64),
            ended: Vec::new(),
            outbox: Outbox::new(Arc::new(PollerBell(poller.clone()))),
            in_helper: 0,
            pool: pool.clone(),
            skips: 0,
            tally: Tally::default(),
            poller,
        };
        Ok((readiness, facts))
    }

    pub(crate) fn bell(&self) -> Arc<dyn Bell> {
        Arc::new(PollerBell(self.poller.clone()))
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn submit(&mut self, sqe: &Sqe, meta: &'static OpMeta) {
        self.tally.submitted += 1;
        self.staged.push(Request { sqe: *sqe, meta });
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        let staged = self.staged.iter().position(|r| r.sqe.user_data == key.0);
        let found = match staged {
            Some(at) => {
                self.staged.remove(at);
                true
            }
            None if self.fds.remove_request(key) => true,
            None if FILES.take_back(key, &self.outbox) => {
                self.in_helper -= 1;
                true
            }
            // It has ended, or a helper executes it and its result will come.
            None => false,
        };
        if found {
            self.ended.push(Cqe { key, res: -errno::CANCELED, flags: 0 });
        }
    }

    pub(crate) fn forget(&mut self, raw: i32) {
        if self.fds.forget(raw) {
            let source = crate::sys::borrow_source(raw);
            let _ = self.poller.delete(source);
        }
    }

    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        results: &mut Vec<Cqe>,
    ) -> io::Result<()> {
        let before = results.len();
        // What other threads gave back is counted, and wiped, before this one sleeps.
        self.pool.collect();
        results.append(&mut self.ended);
        self.try_staged(results);
        self.in_helper -= self.outbox.drain(results);
        let busy = results.len() > before || !self.staged.is_empty();
        if busy && self.skips < SKIPS_MAX {
            self.skips += 1;
            return Ok(());
        }
        self.skips = 0;
        let limit = if busy { Some(Duration::ZERO) } else { limit };
        self.events.clear();
        self.tally.enters += 1;
        match self.poller.wait(&mut self.events, limit) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        self.try_ready(results);
        self.in_helper -= self.outbox.drain(results);
        Ok(())
    }

    /// Tries what was taken since the last wait.
    fn try_staged(&mut self, results: &mut Vec<Cqe>) {
        let mut batch = std::mem::replace(&mut self.staged, std::mem::take(&mut self.spare));
        for request in batch.drain(..) {
            match request.meta.class {
                Class::Instant => {
                    let (opcode, fd) = (request.sqe.opcode, request.sqe.fd);
                    self.execute(request, results);
                    if opcode == opcode::SHUTDOWN && self.fds.knows(fd) {
                        // Not every poller tells what this side did to its own socket.
                        self.serve(fd, Direction::Read, results);
                        self.serve(fd, Direction::Write, results);
                    }
                }
                Class::Blocking => match must_wait_for(&request) {
                    Some(direction) => self.begin(request, direction, results),
                    None => self.help(request),
                },
                Class::Readable => self.begin(request, Direction::Read, results),
                Class::Writable => self.begin(request, Direction::Write, results),
            }
        }
        self.spare = batch;
    }

    /// Leaves a request to a helper.
    fn help(&mut self, request: Request) {
        self.in_helper += 1;
        FILES.execute(request.sqe, request.meta, &self.outbox);
    }

    fn execute(&mut self, mut request: Request, results: &mut Vec<Cqe>) {
        // SAFETY: 1. and 2. the slot keeps memory and descriptor until the result.
        let res = unsafe { (request.meta.call)(&mut request.sqe) };
        results.push(Cqe { key: request.key(), res, flags: 0 });
    }

    /// Tries a request, unless others wait before it or the descriptor is known not to be ready.
    fn begin(&mut self, mut request: Request, direction: Direction, results: &mut Vec<Cqe>) {
        let fd = request.sqe.fd;
        let tried = if self.fds.side(fd, direction).must_wait() {
            Attempt::Blocked
        } else {
            self.attempt(&mut request, direction, results)
        };
        match tried {
            Attempt::Done => {}
            Attempt::Again => self.staged.push(request),
            Attempt::Blocked => {
                let (key, sqe, meta) = (request.key(), request.sqe, request.meta);
                self.fds.enqueue(request, direction);
                let Err(error) = self.arm(fd) else { return };
                self.fds.remove_request(key);
                if meta.class == Class::Blocking {
                    // A device that the poller does not take.
                    return self.help(Request { sqe, meta });
                }
                let res = crate::error::to_res(&error);
                results.push(Cqe { key, res, flags: 0 });
            }
        }
    }

    /// Goes on with the requests whose descriptors have become ready.
    fn try_ready(&mut self, results: &mut Vec<Cqe>) {
        self.ready.extend(self.events.iter().map(|e| (e.key as i32, e.readable, e.writable)));
        while let Some((fd, readable, writable)) = self.ready.pop() {
            if !self.fds.knows(fd) {
                continue;
            }
            self.fds.note_event(fd);
            if readable {
                self.fds.side(fd, Direction::Read).drained = false;
                self.serve(fd, Direction::Read, results);
            }
            if writable {
                self.fds.side(fd, Direction::Write).drained = false;
                self.serve(fd, Direction::Write, results);
            }
            if let Err(error) = self.arm(fd) {
                self.fail_all(fd, &error, results);
            }
        }
    }

    /// Tries the requests that wait in one direction, in order.
    fn serve(&mut self, fd: i32, direction: Direction, results: &mut Vec<Cqe>) {
        while let Some(mut request) = self.fds.side(fd, direction).queue.pop_front() {
            match self.attempt(&mut request, direction, results) {
                Attempt::Done => self.fds.unplace(request.key()),
                Attempt::Blocked => {
                    self.fds.side(fd, direction).queue.push_front(request);
                    return;
                }
                Attempt::Again => {
                    self.fds.unplace(request.key());
                    self.staged.push(request);
                    return;
                }
            }
        }
    }

    fn attempt(
        &mut self,
        request: &mut Request,
        direction: Direction,
        results: &mut Vec<Cqe>,
    ) -> Attempt {
        if request.sqe.flags & flag::BUFFER_SELECT != 0 {
            return self.receive_burst(request, results);
        }
        if request.meta.class == Class::Blocking {
            if must_wait_for(request).is_some() {
                return Attempt::Blocked;
            }
            self.help(Request { sqe: request.sqe, meta: request.meta });
            return Attempt::Done;
        }
        let multishot = request.sqe.is_multishot();
        for _ in 0..BURST {
            // SAFETY: 1. and 2. the slot keeps memory and descriptor until the final result.
            let res = unsafe { (request.meta.call)(&mut request.sqe) };
            if would_block(res) {
                return Attempt::Blocked;
            }
            let more = multishot && res >= 0;
            let flags = if more { flag::MORE } else { 0 };
            results.push(Cqe { key: request.key(), res, flags });
            if !more {
                self.note_short(request, direction, res);
                return Attempt::Done;
            }
        }
        Attempt::Again
    }

    /// Remembers that a send was short: the socket is full, so with edges the next attempt before
    /// the next event would be in vain. A short receive proves nothing of that kind, since the end
    /// of the stream may have come with the same event as the data.
    fn note_short(&mut self, request: &Request, direction: Direction, res: i32) {
        let send = request.sqe.opcode == opcode::SEND;
        if self.edge && send && res > 0 && (res as u32) < request.sqe.len {
            self.fds.side(request.sqe.fd, direction).drained = true;
        }
    }

    /// Receives into buffers of the pool until the request would block or has had its share.
    fn receive_burst(&mut self, request: &mut Request, results: &mut Vec<Cqe>) -> Attempt {
        let key = request.key();
        let buffer_len = self.pool.buffer_len();
        for _ in 0..BURST {
            let Some(bid) = self.take_buffer() else {
                results.push(Cqe { key, res: -errno::NOBUFS, flags: 0 });
                return Attempt::Done;
            };
            request.sqe.addr = Addr::pointer(self.pool.ptr(bid).as_ptr());
            request.sqe.len = buffer_len as u32;
            // SAFETY: 1. the buffer was taken from the pool and is as long as the request says.
            // 2. the slot keeps the descriptor open.
            let res = unsafe { (request.meta.call)(&mut request.sqe) };
            if res <= 0 {
                self.pool.put_back(bid);
                if would_block(res) {
                    return Attempt::Blocked;
                }
                results.push(Cqe { key, res, flags: 0 });
                return Attempt::Done;
            }
            request.sqe.scratch += res as u64;
            let limit = u64::from(request.sqe.limit);
            let last = limit != 0 && request.sqe.scratch >= limit;
            let more = if last { 0 } else { flag::MORE };
            let flags = flag::BUFFER | more | (u32::from(bid) << 16);
            results.push(Cqe { key, res, flags });
            if last {
                return Attempt::Done;
            }
        }
        Attempt::Again
    }

    fn take_buffer(&self) -> Option<u16> {
        self.pool.take().or_else(|| {
            self.pool.collect();
            self.pool.take()
        })
    }

    /// Tells the poller what is waited for on `fd`.
    fn arm(&mut self, fd: i32) -> io::Result<()> {
        let Some((known, event)) = self.fds.wanted(fd, self.edge) else { return Ok(()) };
        let mode = if self.edge { PollMode::Edge } else { PollMode::Oneshot };
        let event = Event::new(fd as usize, event.0, event.1);
        if known {
            self.poller.modify_with_mode(crate::sys::borrow_source(fd), event, mode)?;
        } else {
            // SAFETY: `forget` takes the descriptor out before it is closed.
            unsafe { self.poller.add_with_mode(crate::sys::poll_source(fd), event, mode) }?;
        }
        self.fds.note_armed(fd);
        Ok(())
    }

    fn fail_all(&mut self, fd: i32, error: &io::Error, results: &mut Vec<Cqe>) {
        let res = crate::error::to_res(error);
        for direction in [Direction::Read, Direction::Write] {
            while let Some(request) = self.fds.side(fd, direction).queue.pop_front() {
                self.fds.unplace(request.key());
                results.push(Cqe { key: request.key(), res, flags: 0 });
            }
        }
    }
}

/// What a read or write has to wait for before a helper can do it without waiting. A file on a disk
/// is always ready, a pipe or a terminal is not.
fn must_wait_for(request: &Request) -> Option<Direction> {
    let (direction, events) = match request.sqe.opcode {
        opcode::READ | opcode::READV => (Direction::Read, POLL_IN),
        opcode::WRITE | opcode::WRITEV => (Direction::Write, POLL_OUT),
        _ => return None,
    };
    would_block(poll_now(request.sqe.fd, events)).then_some(direction)
}
