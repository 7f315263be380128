//! The world behind the simulated drivers: hosts, their requests, one clock, one list of events.
//!
//! Whatever happens, happens at an event: a request is tried, a result arrives, a packet arrives.
//! Events have a time and, within it, an order; both come from one random generator, so a seed
//! determines a run. Where code looks for a choice, it asks the generator.

use super::disk::{Disk, Number};
use super::faults::Faults;
use super::memory;
use super::net::{Held, Packet, Sock, SockId};
use crate::sqe::{Cqe, Key, OpMeta, Sqe, flag, opcode};
use crate::sys::errno;
use crate::sys::mirror::errno as rare;
use ringbolt_buffers::Pool;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// The first number of a virtual descriptor: no system hands out one as high.
pub(crate) const FIRST_FD: i32 = 1 << 30;

/// A request of a host.
pub(super) type Ticket = (usize, u64);

pub(super) enum Event {
    /// A request is tried.
    Try(Ticket),
    /// The next result of a request arrives.
    Deliver(Ticket),
    /// The kernel looks at a wish to cancel.
    Cancel(usize, Key),
    /// A result arrives that belongs to no request.
    Stray(usize, Cqe),
    /// A packet arrives at a socket.
    Packet { to: SockId, from: SockId, route: (usize, usize), packet: Packet },
}

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Desc {
    Sock(SockId),
    File { number: Number, position: u64, append: bool },
}

pub(super) struct Request {
    pub(super) sqe: Sqe,
    pub(super) meta: &'static OpMeta,
    /// Its final result is decided, and maybe on its way.
    pub(super) decided: bool,
    /// Bytes that a multishot receive has brought.
    pub(super) received: u64,
    results: VecDeque<Arrival>,
    /// When the last of `results` arrives.
    last: Duration,
    /// What the request has to read, as it was when the kernel read it.
    sent: Vec<u8>,
}

/// A result on its way.
struct Arrival {
    res: i32,
    flags: u32,
    /// What the kernel writes for the program.
    data: Vec<u8>,
}

/// A descriptor or a rule of how to make requests fail, for tests of errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forced {
    pub(crate) opcode: u8,
    /// Requests with that code to let pass first.
    pub(crate) skip: u32,
    pub(crate) res: i32,
}

pub(super) struct Host {
    pub(super) address: IpAddr,
    pub(super) requests: BTreeMap<u64, Request>,
    pub(super) table: Vec<Option<Desc>>,
    pub(super) disk: Disk,
    /// What may go wrong with the disk, if it is not what the world says.
    pub(super) disk_faults: Option<Faults>,
    pub(super) pool: Option<Pool>,
    /// The first byte of the pool and the length of its buffers: a kernel keeps no memory alive.
    pub(super) buffers: (*mut u8, usize),
    /// Buffers of the pool that the kernel has.
    pub(super) lent: Vec<u16>,
    /// Results that have arrived.
    pub(super) arrived: Vec<Cqe>,
    pub(super) next_port: u16,
    /// Whether its program runs.
    pub(super) up: bool,
    pub(super) powered: bool,
    /// Packets that came while it had no power.
    pub(super) missed: Vec<Held>,
    pub(super) forced: Vec<Forced>,
    /// The first socket that can be one of this host since it was last switched on.
    pub(super) first_sock: SockId,
    next_request: u64,
}

pub(crate) struct Kernel {
    pub(super) rng: fastrand::Rng,
    pub(super) faults: Faults,
    pub(super) now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) socks: BTreeMap<SockId, Sock>,
    pub(super) next_sock: SockId,
    /// Pairs of hosts that cannot reach each other, the lower index first, with what waits.
    pub(super) cuts: BTreeMap<(usize, usize), Vec<Held>>,
    /// What may go wrong between two hosts, the lower index first, if it is not what the world
    /// says.
    pub(super) links: BTreeMap<(usize, usize), Faults>,
    pub(super) seed: u64,
}

impl Kernel {
    pub(super) fn new(seed: u64, faults: Faults) -> Kernel {
        Kernel {
            rng: fastrand::Rng::with_seed(seed),
            faults,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            next_event: 0,
            hosts: Vec::new(),
            socks: BTreeMap::new(),
            next_sock: 0,
            cuts: BTreeMap::new(),
            links: BTreeMap::new(),
            seed,
        }
    }

    pub(super) fn add_host(&mut self, address: IpAddr) -> usize {
        self.hosts.push(Host {
            address,
            requests: BTreeMap::new(),
            table: Vec::new(),
            disk: Disk::new(),
            disk_faults: None,
            pool: None,
            buffers: (std::ptr::null_mut(), 0),
            lent: Vec::new(),
            arrived: Vec::new(),
            next_port: 32768 + self.rng.u16(..1000),
            up: false,
            powered: false,
            missed: Vec::new(),
            forced: Vec::new(),
            first_sock: 0,
            next_request: 0,
        });
        self.hosts.len() - 1
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.rng.f64() < p
    }

    pub(super) fn within(&mut self, range: &std::ops::Range<Duration>) -> Duration {
        let (low, high) = (range.start.as_nanos() as u64, range.end.as_nanos() as u64);
        Duration::from_nanos(if low < high { self.rng.u64(low..high) } else { low })
    }

    pub(super) fn delay(&mut self) -> Duration {
        let range = self.faults.delay.clone();
        self.within(&range)
    }

    /// The time as a file's inode has it.
    pub(super) fn stamp(&self) -> (i64, u32) {
        (self.now.as_secs() as i64, self.now.subsec_nanos())
    }

    pub(super) fn schedule(&mut self, at: Duration, event: Event) {
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    /// When the next event is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets time pass to the next event if that is due by `until`; false if none is.
    pub(super) fn step(&mut self, until: Duration) -> bool {
        if self.next_due().is_none_or(|at| at > until) {
            return false;
        }
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = self.now.max(at);
        match event {
            Event::Try(ticket) => self.attempt(ticket),
            Event::Deliver(ticket) => self.deliver(ticket),
            Event::Cancel(host, key) => self.cancel(host, key),
            Event::Stray(host, cqe) => self.hosts[host].arrived.push(cqe),
            Event::Packet { to, from, route, packet } => self.arrive(to, from, route, packet),
        }
        if self.faults.scribble {
            self.scribble();
        }
        true
    }

    /// Takes a request.
    pub(super) fn submit(&mut self, host: usize, sqe: Sqe, meta: &'static OpMeta) {
        let id = self.hosts[host].next_request;
        self.hosts[host].next_request += 1;
        let request = Request {
            sqe,
            meta,
            decided: false,
            received: 0,
            results: VecDeque::new(),
            last: Duration::ZERO,
            sent: Vec::new(),
        };
        self.hosts[host].requests.insert(id, request);
        let at = self.now
            + match meta.class {
                crate::sqe::Class::Blocking => {
                    let range = self.disk_faults(host).disk.clone();
                    self.within(&range)
                }
                _ if self.rng.bool() => Duration::ZERO,
                _ => self.delay(),
            };
        self.schedule(at, Event::Try((host, id)));
    }

    /// Takes a wish to cancel.
    pub(super) fn submit_cancel(&mut self, host: usize, key: Key) {
        let at = self.now + self.delay();
        self.schedule(at, Event::Cancel(host, key));
    }

    fn cancel(&mut self, host: usize, key: Key) {
        let found = self.hosts[host].requests.iter().find(|(_, r)| r.sqe.user_data == key.0);
        let refusal = if self.rng.bool() { -errno::ALREADY } else { -errno::NOENT };
        let answer = match found.map(|(id, request)| (*id, request.decided)) {
            None => -errno::NOENT,
            Some((_, true)) => refusal,
            Some((_, false)) if self.chance(self.faults.refused_cancel) => refusal,
            Some((id, false)) => {
                let interrupted = self.rng.u8(..8) == 0;
                let res = if interrupted { -errno::INTR } else { -errno::CANCELED };
                self.finish((host, id), res, Vec::new());
                0
            }
        };
        let cqe = Cqe { key: key.with_kind(crate::sqe::Kind::Cancel), res: answer, flags: 0 };
        let at = self.now + self.delay();
        self.schedule(at, Event::Stray(host, cqe));
    }

    pub(super) fn request(&mut self, ticket: Ticket) -> &mut Request {
        self.hosts[ticket.0].requests.get_mut(&ticket.1).expect("the request is in flight")
    }

    /// Sends a result of `ticket` that is not its last.
    pub(super) fn item(&mut self, ticket: Ticket, res: i32, flags: u32, data: Vec<u8>) {
        self.send_result(ticket, Arrival { res, flags: flags | flag::MORE, data });
    }

    /// Decides how `ticket` ends.
    pub(super) fn finish(&mut self, ticket: Ticket, res: i32, data: Vec<u8>) {
        self.finish_with(ticket, res, 0, data);
    }

    pub(super) fn finish_with(&mut self, ticket: Ticket, res: i32, flags: u32, data: Vec<u8>) {
        self.request(ticket).decided = true;
        self.send_result(ticket, Arrival { res, flags, data });
    }

    fn send_result(&mut self, ticket: Ticket, arrival: Arrival) {
        // Results of one request keep their order, as those of io_uring do.
        let at = (self.now + self.delay()).max(self.request(ticket).last);
        let request = self.request(ticket);
        request.last = at;
        request.results.push_back(arrival);
        self.schedule(at, Event::Deliver(ticket));
    }

    fn deliver(&mut self, ticket: Ticket) {
        let (host, id) = ticket;
        let buffers = self.hosts[host].buffers;
        let Some(request) = self.hosts[host].requests.get_mut(&id) else { return };
        let Some(arrival) = request.results.pop_front() else { return };
        let key = Key(request.sqe.user_data);
        let cqe = Cqe { key, res: arrival.res, flags: arrival.flags };
        match cqe.buffer_id() {
            Some(bid) => memory::fill(&[memory::buffer(buffers, bid)], &arrival.data),
            None => memory::fill(&memory::writable(&request.sqe), &arrival.data),
        }
        if self.faults.scribble && memory::read(&request.sqe, request.sent.len()) != request.sent {
            panic!(
                "{} bytes were changed while {} read them",
                request.sent.len(),
                request.meta.name
            )
        }
        if cqe.is_final() {
            self.hosts[host].requests.remove(&id);
        }
        self.hosts[host].arrived.push(cqe);
        if self.chance(self.faults.stray_results) {
            self.stray(host, cqe);
        }
    }

    /// A broken kernel: the last result comes again, or one for a slot that has moved on.
    fn stray(&mut self, host: usize, cqe: Cqe) {
        let older = cqe.key.generation().wrapping_sub(self.rng.u32(1..4));
        let key = match self.rng.bool() && cqe.is_final() {
            true => cqe.key,
            false => Key::new(cqe.key.kind(), cqe.key.slot(), older),
        };
        let at = self.now + self.delay() + self.delay();
        let res = self.rng.i32(-40..40);
        self.schedule(at, Event::Stray(host, Cqe { key, res, flags: 0 }));
    }

    /// Tries a request: it ends, yields something, or waits for its socket.
    pub(super) fn attempt(&mut self, ticket: Ticket) {
        let (host, id) = ticket;
        let Some(request) = self.hosts[host].requests.get(&id) else { return };
        if request.decided {
            return;
        }
        let sqe = request.sqe;
        if let Some(res) = self.forced(host, sqe.opcode) {
            if sqe.opcode == opcode::CLOSE {
                // The descriptor is gone whatever close(2) returns.
                self.close(host, sqe.fd, Some(id));
            }
            return self.finish(ticket, res, Vec::new());
        }
        match sqe.opcode {
            opcode::NOP => self.finish(ticket, 0, Vec::new()),
            opcode::ACCEPT => self.accept(ticket),
            opcode::CONNECT => self.connect(ticket, &sqe),
            opcode::RECV if sqe.flags & flag::BUFFER_SELECT != 0 => self.receive_lent(ticket),
            opcode::RECV | opcode::RECVMSG => self.receive(ticket, &sqe),
            opcode::SEND | opcode::SENDMSG => self.send(ticket, &sqe),
            opcode::SHUTDOWN => self.shut(ticket, &sqe),
            opcode::POLL_ADD => self.poll(ticket, &sqe),
            _ => self.attempt_file(ticket, &sqe),
        }
    }

    /// What a test wants `opcode` to end with.
    fn forced(&mut self, host: usize, opcode: u8) -> Option<i32> {
        let rules = &mut self.hosts[host].forced;
        let at = rules.iter().position(|rule| rule.opcode == opcode)?;
        if rules[at].skip > 0 {
            rules[at].skip -= 1;
            return None;
        }
        Some(rules.remove(at).res)
    }

    /// Reads what the request sends, at most `max` bytes.
    pub(super) fn take_sent(&mut self, ticket: Ticket, sqe: &Sqe, max: usize) -> Vec<u8> {
        let sent = memory::read(sqe, max);
        self.request(ticket).sent.clone_from(&sent);
        sent
    }

    /// How much of `n` bytes is moved at once.
    pub(super) fn cut_short(&mut self, n: usize) -> usize {
        if n > 1 && self.chance(self.faults.short) { self.rng.usize(1..n) } else { n }
    }

    /// Writes nonsense where the kernel may write.
    fn scribble(&mut self) {
        let host = &self.hosts[self.rng.usize(..self.hosts.len())];
        let count = host.requests.len();
        if count > 0 {
            let nth = self.rng.usize(..count);
            let request = host.requests.values().nth(nth).expect("there are that many");
            memory::scribble(&memory::writable(&request.sqe), &mut self.rng);
        }
        if !host.lent.is_empty() {
            let bid = host.lent[self.rng.usize(..host.lent.len())];
            memory::scribble(&[memory::buffer(host.buffers, bid)], &mut self.rng);
        }
    }

    /// Takes every free buffer of the pool.
    pub(super) fn refill(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        if let Some(pool) = &host.pool {
            pool.collect();
            while let Some(bid) = pool.take() {
                host.lent.push(bid);
            }
        }
    }

    /// The lowest free number, as open(2) promises.
    pub(super) fn install(&mut self, host: usize, desc: Desc) -> i32 {
        let table = &mut self.hosts[host].table;
        let free = table.iter().position(Option::is_none).unwrap_or_else(|| {
            table.push(None);
            table.len() - 1
        });
        table[free] = Some(desc);
        FIRST_FD + free as i32
    }

    pub(super) fn desc(&mut self, host: usize, raw: i32) -> Option<&mut Desc> {
        let index = usize::try_from(raw.checked_sub(FIRST_FD)?).ok()?;
        self.hosts[host].table.get_mut(index)?.as_mut()
    }

    /// Closes a descriptor, on behalf of the request `by` if there is one.
    pub(super) fn close(&mut self, host: usize, raw: i32, by: Option<u64>) -> i32 {
        if !self.hosts[host].up {
            return 0;
        }
        let uses = |(id, r): (&u64, &Request)| {
            Some(*id) != by && r.sqe.fd == raw && r.sqe.opcode != opcode::CLOSE
        };
        if let Some((_, request)) = self.hosts[host].requests.iter().find(|(id, r)| uses((id, r))) {
            panic!("a descriptor was closed while {} on it was in flight", request.meta.name);
        }
        let Some(desc) = self.desc(host, raw).copied() else { return -rare::BADF };
        self.hosts[host].table[(raw - FIRST_FD) as usize] = None;
        match desc {
            Desc::Sock(sock) => self.close_sock(sock),
            Desc::File { number, .. } => self.hosts[host].disk.release(number),
        }
        0
    }

    /// Buffers of the pool that the kernel has.
    pub(crate) fn lent_count(&self, host: usize) -> usize {
        self.hosts[host].lent.len()
    }

    /// Descriptors in use on `host`.
    pub(crate) fn open_count(&self, host: usize) -> usize {
        self.hosts[host].table.iter().flatten().count()
    }

    /// The host is switched off: its requests end at once, and nobody hears from it any more.
    pub(crate) fn switch_off(&mut self, host: usize) {
        if !std::mem::replace(&mut self.hosts[host].up, false) {
            return self.end_requests(host);
        }
        self.hosts[host].powered = false;
        self.hosts[host].first_sock = self.next_sock;
        self.hosts[host].table.clear();
        self.socks.retain(|_, sock| sock.host() != host);
        self.end_requests(host);
    }

    /// Ends what is in flight on a host that has been switched off.
    pub(super) fn end_requests(&mut self, host: usize) {
        // What is on its way must not meet the requests of a later start, whose keys are the same.
        self.events.retain(
            |_, event| !matches!(event, Event::Cancel(to, _) | Event::Stray(to, _) if *to == host),
        );
        let host = &mut self.hosts[host];
        for request in std::mem::take(&mut host.requests).into_values() {
            for arrival in &request.results {
                // Buffers that were chosen already come back with their result.
                let flags = arrival.flags | flag::MORE;
                if arrival.flags & flag::BUFFER != 0 {
                    let key = Key(request.sqe.user_data);
                    host.arrived.push(Cqe { key, res: 0, flags });
                }
            }
            let key = Key(request.sqe.user_data);
            host.arrived.push(Cqe { key, res: -errno::CANCELED, flags: 0 });
        }
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.rng.shuffle(items);
    }

    pub(crate) fn rng(&mut self) -> u64 {
        self.rng.u64(..)
    }

    pub(super) fn has_requests(&self, host: usize) -> bool {
        !self.hosts[host].requests.is_empty()
    }
}
