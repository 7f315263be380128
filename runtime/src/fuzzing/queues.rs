//! Multishot receives and accepts: every byte and every connection that a driver reports comes out
//! once and in order, whatever ends the requests, and whoever is dropped meanwhile.
//!
//! The target plays the driver: requests are taken and never executed, and completions are made up.

use crate::Builder;
use crate::builder::DriverKind;
use crate::core::Core;
use crate::fd::Fd;
use crate::op::verdict::{self, Family, Verdict};
use crate::op::{AcceptMulti, Cqe, Lane, RecvMulti, flag};
use crate::sqe::Key;
use crate::sys::{self, errno};
use arbitrary::{Result, Unstructured};
use ringbolt_buffers::{Chunk, PoolConfig};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What a connection, and a listener, hold before they ask for a pause.
const HELD_MAX: usize = 256 * 1024;
const QUEUE_MAX: usize = 256;
const BUFFER_LEN: usize = 64 * 1024;

/// Completions for the receives of one connection and the accepts of one listener.
pub fn queues(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let pool = PoolConfig { buffer_len: BUFFER_LEN, buffers: 2, buffers_max: 8, zeroize: false };
    let builder = Builder::new().driver(DriverKind::Readiness).pool(pool);
    let runtime = builder.build().expect("a runtime");
    // In one poll, so that no turn hands anything to the driver.
    runtime.block_on(async {
        let core = Core::current();
        let mut connection = Connection::new(&core);
        let mut listener = Listener::new(&core);
        // Running out of bytes is the end.
        let _ = run(&mut input, &mut connection, &mut listener);
        connection.finish();
        listener.finish();
        assert_eq!(core.slots.live(), 0, "operations in flight");
        assert_eq!(core.pool().free(), core.pool().introduced(), "free buffers");
        assert_eq!(core.counters().descriptors.get(), 0, "open descriptors");
        assert_eq!(core.slots.stale(), 0);
    });
}

fn run(
    input: &mut Unstructured<'_>,
    connection: &mut Connection,
    listener: &mut Listener,
) -> Result<()> {
    while !input.is_empty() {
        let what = input.arbitrary::<u8>()?;
        match what % 16 {
            0..=2 => connection.poll(),
            3..=5 => connection.deliver(input.arbitrary()?),
            6 => connection.end(input.arbitrary()?),
            7 => connection.use_chunk(input)?,
            8 if what < 64 => connection.drop_it(),
            8 => connection.late(what),
            9 if what < 32 => connection.deliver_nowhere(what),
            9 => connection.end_lane(what),
            10 => listener.poll(),
            11 => (0..what).for_each(|_| listener.poll()),
            12 => listener.deliver(1, what >= 128),
            // Seldom so many that the queue is full.
            13 => listener.deliver(if what > 240 { 253 } else { usize::from(what / 16) }, false),
            14 => listener.end(what),
            _ if what < 64 => listener.drop_it(),
            _ => listener.late(what),
        }
    }
    Ok(())
}

fn complete(core: &Core, key: Key, res: i32, flags: u32) {
    core.slots.complete(Cqe { key, res, flags });
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Whether a cancel of `key` has been asked for; the others on the list are passed over.
fn is_cancelled(core: &Core, key: Key) -> bool {
    let mut found = false;
    while let Some(listed) = core.slots.next_cancel() {
        found |= listed == key;
        // Back to where no cancel was asked for, so that the next question has an answer.
        core.slots.cancel_refused(listed);
    }
    found
}

fn socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")
}

/// A stream as `net` uses it, and what has to come out of it.
struct Connection {
    core: Rc<Core>,
    recv: RecvMulti,
    lane: Lane,
    expected: VecDeque<Vec<u8>>,
    /// How the request in flight ended, until that is looked at.
    ended: Option<i32>,
    at_end: bool,
    paused: bool,
    held: Vec<(Chunk, Vec<u8>)>,
    /// Requests whose connection has gone, and whether they may get buffers.
    orphans: Vec<(Key, bool)>,
    serial: u8,
}

impl Connection {
    fn new(core: &Rc<Core>) -> Connection {
        Connection {
            core: core.clone(),
            recv: RecvMulti::new(Fd::socket(socket()).expect("a socket in any mode")),
            lane: Lane::new(),
            expected: VecDeque::new(),
            ended: None,
            at_end: false,
            paused: false,
            held: vec![],
            orphans: vec![],
            serial: 0,
        }
    }

    /// The request in flight.
    fn key(&self) -> Option<Key> {
        self.recv.armed_key().filter(|_| self.ended.is_none())
    }

    fn poll(&mut self) {
        if self.lane.is_busy() && !self.settle() {
            return;
        }
        let (before, paused) = (self.recv.armed_key(), self.paused);
        let polled = poll_once(self.recv.recv(&mut self.lane));
        // A new request has not been asked to pause.
        self.paused &= self.recv.armed_key().is_none_or(|key| before == Some(key));
        if let Some(bytes) = self.expected.pop_front() {
            let Poll::Ready(Ok(Some(chunk))) = polled else { panic!("{polled:?} for bytes") };
            assert_eq!(chunk[..], bytes[..]);
            self.held.push((chunk, bytes));
            return;
        }
        let ended = self.ended.take().filter(|_| !self.at_end);
        self.at_end |= ended == Some(0);
        if self.at_end {
            assert!(matches!(polled, Poll::Ready(Ok(None))), "{polled:?} at the end");
            return;
        }
        let own = ended == Some(-errno::CANCELED) && paused;
        match ended {
            Some(res)
                if res < 0 && !own && made_of(Family::ReceiveMany, res) == Verdict::Surface =>
            {
                let Poll::Ready(Err(error)) = polled else { panic!("{polled:?} for {res}") };
                assert_eq!(error.raw_os_error(), Some(-res));
                assert!(self.recv.armed_key().is_none());
            }
            _ => {
                assert!(polled.is_pending(), "{polled:?} out of nothing");
                assert!(self.recv.armed_key().is_some() || self.lane.is_busy(), "nobody waits");
            }
        }
    }

    /// Looks at the receive without the pool that an earlier poll left.
    fn settle(&mut self) -> bool {
        match poll_once(self.lane.settle()) {
            Poll::Ready(Some(residue)) => {
                assert!(residue.result().unwrap_or(0) == 0);
                residue.finish();
                true
            }
            Poll::Ready(None) => unreachable!("the lane is busy"),
            Poll::Pending => false,
        }
    }

    /// Fills a buffer as the kernel does; the id of the buffer and the bytes.
    fn fill(&mut self, len: usize) -> Option<(u16, Vec<u8>)> {
        let bid = self.core.pool().take()?;
        self.serial = self.serial.wrapping_add(1);
        let bytes: Vec<u8> = (0..len).map(|i| self.serial.wrapping_add(i as u8)).collect();
        let place = self.core.pool().ptr(bid);
        // SAFETY: the buffer was taken and has room for `BUFFER_LEN` bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), len) };
        Some((bid, bytes))
    }

    fn deliver(&mut self, what: u8) {
        let Some(key) = self.key() else { return };
        let len = if what < 32 { BUFFER_LEN } else { usize::from(what) };
        let Some((bid, bytes)) = self.fill(len) else { return self.end(0xff) };
        let more = !what.is_multiple_of(8);
        self.expected.push_back(bytes);
        let flags = flag::BUFFER | u32::from(bid) << 16 | if more { flag::MORE } else { 0 };
        complete(&self.core, key, len as i32, flags);
        if !more {
            self.ended = Some(len as i32);
        }
        let held: usize = self.expected.iter().map(Vec::len).sum();
        let pause = more && held > HELD_MAX && !self.paused;
        self.paused |= pause;
        assert_eq!(is_cancelled(&self.core, key), pause, "with {held} bytes held");
    }

    fn end(&mut self, what: u8) {
        let Some(key) = self.key() else { return };
        let res = match what % 4 {
            0 => 0,
            1 => -errno::CANCELED,
            2 => -errno::IO,
            _ => -errno::NOBUFS,
        };
        // An error may come with a buffer, which has to find its way back.
        let bid = if what & 0x10 != 0 { self.core.pool().take() } else { None };
        let flags = bid.map_or(0, |bid| flag::BUFFER | u32::from(bid) << 16);
        complete(&self.core, key, res, flags);
        self.ended = Some(res);
    }

    /// Bytes without a buffer, as no kernel should report them: the connection has to fail.
    fn deliver_nowhere(&mut self, what: u8) {
        let Some(key) = self.key() else { return };
        let more = what < 16;
        complete(&self.core, key, 10, if more { flag::MORE } else { 0 });
        assert!(is_cancelled(&self.core, key) || !more, "the request goes on");
        if more {
            complete(&self.core, key, -errno::CANCELED, 0);
        }
        self.ended = Some(-errno::IO);
    }

    /// The end of the receive without the pool.
    fn end_lane(&mut self, what: u8) {
        if let Some(key) = self.lane.left_key()
            && self.core.slots.poll(key, Waker::noop()).is_none()
        {
            let res = [0, -errno::CANCELED, -errno::IO][usize::from(what / 16 % 3)];
            complete(&self.core, key, res, 0);
        }
    }

    fn use_chunk(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let at = input.choose_index(self.held.len())?;
        let (mut chunk, mut bytes) = self.held.swap_remove(at);
        assert_eq!(chunk[..], bytes[..]);
        match input.arbitrary::<u8>()? % 4 {
            0 => drop(chunk.into_bytes()),
            // As a reader does whose buffer was too small.
            1 | 2 if bytes.len() > 1 => {
                let n = input.int_in_range(1..=bytes.len() - 1)?;
                chunk.advance(n);
                bytes.drain(..n);
                self.recv.put_back(chunk);
                self.expected.push_front(bytes);
            }
            _ => drop(chunk),
        }
        Ok(())
    }

    /// The connection goes, and another one comes.
    fn drop_it(&mut self) {
        let key = self.key();
        let mut next = Connection::new(&self.core);
        next.held = std::mem::take(&mut self.held);
        next.orphans = std::mem::take(&mut self.orphans);
        next.orphans.extend(key.map(|key| (key, true)));
        if let Some(left) = self.lane.left_key()
            && self.core.slots.poll(left, Waker::noop()).is_none()
        {
            next.orphans.push((left, false));
        }
        *self = next;
        if let Some(key) = key {
            assert!(is_cancelled(&self.core, key), "the request goes on");
        }
    }

    /// What comes for a connection that has gone: data, a refusal of the cancel, or the end.
    fn late(&mut self, what: u8) {
        let Some((key, may_get_buffers)) = self.orphans.pop() else { return };
        let bytes = 10;
        let filled = if may_get_buffers && what & 0x20 != 0 { self.fill(bytes) } else { None };
        if let Some((bid, _)) = filled {
            let last = what & 0x80 != 0;
            let more = if last { 0 } else { flag::MORE };
            complete(&self.core, key, bytes as i32, flag::BUFFER | u32::from(bid) << 16 | more);
            if !last {
                self.orphans.push((key, true));
            }
            return;
        }
        complete(&self.core, key, -errno::CANCELED, 0);
    }

    fn finish(mut self) {
        self.drop_it();
        self.held.clear();
        while !self.orphans.is_empty() {
            self.late(0);
        }
        self.core.pool().collect();
    }
}

/// A listener, and the connections that have to come out of it.
struct Listener {
    core: Rc<Core>,
    accept: AcceptMulti,
    /// What connections are copies of, which is faster than to open each.
    template: Socket,
    expected: VecDeque<i32>,
    ended: Option<i32>,
    full: bool,
    /// It waits for a moment before it tries again, by the clock.
    pauses: bool,
    orphans: Vec<Key>,
}

fn made_of(family: Family, res: i32) -> Verdict {
    verdict::of(family, res.saturating_neg())
}

impl Listener {
    fn new(core: &Rc<Core>) -> Listener {
        Listener {
            core: core.clone(),
            accept: AcceptMulti::new(Fd::socket(socket()).expect("a socket in any mode")),
            template: socket(),
            expected: VecDeque::new(),
            ended: None,
            full: false,
            pauses: false,
            orphans: vec![],
        }
    }

    fn key(&self) -> Option<Key> {
        self.accept.armed_key().filter(|_| self.ended.is_none())
    }

    fn poll(&mut self) {
        assert_eq!(self.accept.queued(), self.expected.len());
        let (before, full) = (self.accept.armed_key(), self.full);
        let polled = self.accept.poll_accept(&mut Context::from_waker(Waker::noop()));
        // A new request has not been asked to pause.
        self.full &= self.accept.armed_key().is_none_or(|key| before == Some(key));
        if let Some(raw) = self.expected.pop_front() {
            let Poll::Ready(Ok(fd)) = polled else { panic!("{polled:?} for a connection") };
            assert_eq!(fd.raw(), raw);
            return;
        }
        let ended = self.ended.take();
        let own = ended == Some(-errno::CANCELED) && full;
        match ended {
            Some(res) if res < 0 && made_of(Family::AcceptMany, res) == Verdict::Pause => {
                self.pauses = true;
            }
            Some(res)
                if res < 0 && !own && made_of(Family::AcceptMany, res) == Verdict::Surface =>
            {
                let Poll::Ready(Err(error)) = polled else { panic!("{polled:?} for {res}") };
                assert_eq!(error.raw_os_error(), Some(-res));
                return;
            }
            _ => {}
        }
        assert!(polled.is_pending(), "{polled:?} out of nothing");
        let armed = self.accept.armed_key().is_some();
        assert!(armed || self.pauses, "nobody waits");
        self.pauses &= !armed;
    }

    fn connection(&self) -> i32 {
        sys::into_raw_socket(self.template.try_clone().expect("a free descriptor"))
    }

    fn deliver(&mut self, count: usize, last: bool) {
        for _ in 0..count {
            let Some(key) = self.key() else { return };
            if self.expected.len() > QUEUE_MAX + 100 {
                // The cancel gets through at some time.
                return;
            }
            let raw = self.connection();
            self.expected.push_back(raw);
            complete(&self.core, key, raw, if last { 0 } else { flag::MORE });
            if last {
                self.ended = Some(raw);
            }
            let full = self.expected.len() >= QUEUE_MAX && !self.full;
            self.full |= full;
            let asked = is_cancelled(&self.core, key);
            assert!(asked == full || last, "with {} connections queued", self.expected.len());
        }
    }

    fn end(&mut self, what: u8) {
        let Some(key) = self.key() else { return };
        let all = [-errno::CANCELED, -errno::IO, -errno::MFILE, -errno::CONNABORTED];
        let res = all[usize::from(what / 16 % 4)];
        complete(&self.core, key, res, 0);
        self.ended = Some(res);
    }

    fn drop_it(&mut self) {
        let key = self.key();
        let mut next = Listener::new(&self.core);
        next.orphans = std::mem::take(&mut self.orphans);
        next.orphans.extend(key);
        *self = next;
        if let Some(key) = key {
            assert!(is_cancelled(&self.core, key), "the request goes on");
        }
    }

    /// A connection for a listener that has gone is closed, also the one with the last result.
    fn late(&mut self, what: u8) {
        let Some(key) = self.orphans.pop() else { return };
        if what & 0x40 == 0 {
            return complete(&self.core, key, -errno::CANCELED, 0);
        }
        let raw = self.connection();
        let last = what & 0x80 != 0;
        complete(&self.core, key, raw, if last { 0 } else { flag::MORE });
        if !last {
            self.orphans.push(key);
        }
    }

    fn finish(mut self) {
        self.drop_it();
        while !self.orphans.is_empty() {
            self.late(0);
        }
    }
}
