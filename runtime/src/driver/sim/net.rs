//! Virtual TCP: sockets, packets, and what happens to them on the way.
//!
//! A stream is two ends that send packets to each other. Packets of one direction keep their order,
//! as TCP's do; a lost one is sent again later, and one that meets a cut waits for its healing. A
//! byte counts against the window of its sender from the send until the receiver has read it.

use super::kernel::{Desc, Event, Kernel, Ticket};

use crate::sys;
use crate::sys::mirror::errno;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(super) type SockId = u64;

/// How long TCP waits before it sends a packet again, at first.
const RESEND: Duration = Duration::from_millis(200);
/// Attempts of a connection before it is given up; they double their distance from one second.
const TRIES: u32 = 7;

pub(super) enum Packet {
    Data(Vec<u8>),
    /// The receiver has read so many bytes.
    Read(usize),
    /// The peer sends no more.
    Fin,
    Reset,
    /// A connection is asked for at an address.
    Syn {
        to: SocketAddr,
        tries: u32,
    },
    /// It was made, or refused with an error number.
    Answer(Result<(), i32>),
}

/// A packet that waits for the healing of a cut.
pub(super) struct Held {
    to: SockId,
    from: SockId,
    route: (usize, usize),
    packet: Packet,
}

pub(super) struct Stream {
    pub(super) host: usize,
    local: SocketAddr,
    remote: SocketAddr,
    pub(super) peer: SockId,
    pub(super) connecting: bool,
    /// Why it broke, until somebody has been told.
    pub(super) broken: Option<i32>,
    pub(super) dead: bool,
    pub(super) inbox: VecDeque<u8>,
    pub(super) no_more_in: bool,
    pub(super) no_more_out: bool,
    /// Bytes that the peer has not read yet.
    pub(super) outstanding: usize,
    /// When the last packet arrives at the peer.
    last: Duration,
    pub(super) readers: Vec<Ticket>,
    pub(super) writers: Vec<Ticket>,
}

pub(super) enum Sock {
    Fresh {
        host: usize,
        local: Option<SocketAddr>,
        shared: bool,
    },
    Listener {
        host: usize,
        local: SocketAddr,
        shared: bool,
        backlog: usize,
        queue: VecDeque<SockId>,
        waiters: Vec<Ticket>,
    },
    Stream(Stream),
}

impl Sock {
    pub(super) fn host(&self) -> usize {
        match self {
            Sock::Fresh { host, .. } | Sock::Listener { host, .. } => *host,
            Sock::Stream(stream) => stream.host,
        }
    }

    pub(super) fn local(&self) -> Option<SocketAddr> {
        match self {
            Sock::Fresh { local, .. } => *local,
            Sock::Listener { local, .. } => Some(*local),
            Sock::Stream(stream) => Some(stream.local),
        }
    }
}

impl Kernel {
    pub(super) fn add_sock(&mut self, sock: Sock) -> SockId {
        let id = self.next_sock;
        self.next_sock += 1;
        self.socks.insert(id, sock);
        id
    }

    /// The socket behind a descriptor.
    pub(super) fn sock_of(&mut self, host: usize, raw: i32) -> Result<SockId, i32> {
        match self.desc(host, raw) {
            Some(Desc::Sock(id)) => Ok(*id),
            Some(Desc::File { .. }) => Err(-errno::NOTSOCK),
            None => Err(-errno::BADF),
        }
    }

    pub(super) fn stream(&mut self, id: SockId) -> Option<&mut Stream> {
        match self.socks.get_mut(&id) {
            Some(Sock::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    fn wake(&mut self, waiting: Vec<Ticket>) {
        for ticket in waiting {
            let at = self.now + if self.rng.bool() { Duration::ZERO } else { self.delay() };
            self.schedule(at, Event::Try(ticket));
        }
    }

    fn wake_both(&mut self, id: SockId) {
        let Some(stream) = self.stream(id) else { return };
        let mut waiting = std::mem::take(&mut stream.readers);
        waiting.append(&mut stream.writers);
        self.wake(waiting);
    }

    /// How long a packet takes between two hosts.
    pub(super) fn travel(&mut self, from: usize, to: usize) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        let faults = self.links.get(&(from.min(to), from.max(to))).unwrap_or(&self.faults);
        let (range, loss) = (faults.latency.clone(), faults.loss);
        let mut time = self.within(&range);
        let mut resend = RESEND;
        while self.chance(loss) && resend < RESEND * 64 {
            time += resend;
            resend *= 2;
        }
        time
    }

    /// Sends a packet of an established stream.
    pub(super) fn transmit(&mut self, from: SockId, packet: Packet) {
        let Some(stream) = self.stream(from) else { return };
        let (host, to, remote) = (stream.host, stream.peer, stream.remote.ip());
        let there = self.socks.get(&to).map(Sock::host).or_else(|| self.host_at(remote, host));
        let target = there.unwrap_or(host);
        let at = self.now + self.travel(host, target);
        let Some(stream) = self.stream(from) else { return };
        stream.last = stream.last.max(at);
        let at = stream.last;
        self.schedule(at, Event::Packet { to, from, route: (host, target), packet });
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.contains_key(&(a.min(b), a.max(b)))
    }

    pub(super) fn arrive(
        &mut self,
        to: SockId,
        from: SockId,
        route: (usize, usize),
        packet: Packet,
    ) {
        if let Packet::Syn { to: address, tries } = packet {
            return self.arrive_syn(from, address, tries);
        }
        let (a, b) = route;
        if let Some(waiting) = self.cuts.get_mut(&(a.min(b), a.max(b))) {
            return waiting.push(Held { to, from, route, packet });
        }
        if !self.hosts[b].powered {
            // Nobody answers; TCP sends it again until somebody does.
            return self.hosts[b].missed.push(Held { to, from, route, packet });
        }
        let Some(stream) = self.stream(to) else {
            return self.answer_for_nobody(to, from, route, &packet);
        };
        match packet {
            Packet::Data(bytes) => stream.inbox.extend(bytes),
            Packet::Read(n) => stream.outstanding -= n,
            Packet::Fin => stream.no_more_in = true,
            Packet::Reset => {
                stream.broken = Some(errno::CONNRESET);
                stream.dead = true;
                stream.connecting = false;
            }
            Packet::Answer(result) => {
                stream.connecting = false;
                if let Err(error) = result {
                    stream.broken = Some(error);
                    stream.dead = true;
                }
            }
            Packet::Syn { .. } => unreachable!("handled above"),
        }
        self.wake_both(to);
    }

    /// A packet has come to a socket that is gone.
    fn answer_for_nobody(
        &mut self,
        to: SockId,
        from: SockId,
        route: (usize, usize),
        packet: &Packet,
    ) {
        let (from_host, to_host) = route;
        // A socket that was closed in the proper way still takes the end of the other side.
        let crashed = to < self.hosts[to_host].first_sock;
        let learns = match packet {
            Packet::Data(_) => Some(from),
            Packet::Fin if crashed => Some(from),
            // The client gave up: what the server made of its attempt ends as well.
            Packet::Answer(Ok(())) => self.socks.iter().find_map(|(id, sock)| match sock {
                Sock::Stream(stream) if stream.peer == to => Some(*id),
                _ => None,
            }),
            _ => None,
        };
        if let Some(learner) = learns.filter(|id| self.socks.contains_key(id)) {
            let at = self.now + self.travel(to_host, from_host);
            let route = (to_host, self.socks[&learner].host());
            let packet = Packet::Reset;
            self.schedule(at, Event::Packet { to: learner, from: to, route, packet });
        }
    }

    fn arrive_syn(&mut self, from: SockId, to: SocketAddr, tries: u32) {
        let Some(client) = self.stream(from) else { return };
        let (client_host, client_local) = (client.host, client.local);
        let target = self.host_at(to.ip(), client_host);
        let answer = match target {
            None => Some(Err(errno::HOSTUNREACH)),
            Some(host) if !self.hosts[host].powered || self.is_cut(host, client_host) => None,
            Some(host) => match self.pick_listener(host, to) {
                None => Some(Err(errno::CONNREFUSED)),
                Some(listener) => {
                    self.enqueue(listener, host, from, client_local, to).then_some(Ok(()))
                }
            },
        };
        let answer = match answer {
            Some(answer) => answer,
            None if tries + 1 < TRIES => {
                let at = self.now + Duration::from_secs(1 << tries);
                let packet = Packet::Syn { to, tries: tries + 1 };
                let route = (client_host, client_host);
                return self.schedule(at, Event::Packet { to: from, from, route, packet });
            }
            None => Err(errno::TIMEDOUT),
        };
        let at = self.now + self.travel(client_host, target.unwrap_or(client_host));
        let packet = Packet::Answer(answer);
        // What the server sends at once must not overtake the answer.
        let server = self.stream(from).map(|client| client.peer);
        if let Some(server) = server.and_then(|id| self.stream(id)) {
            server.last = server.last.max(at);
        }
        let route = (target.unwrap_or(client_host), client_host);
        self.schedule(at, Event::Packet { to: from, from, route, packet });
    }

    fn pick_listener(&mut self, host: usize, to: SocketAddr) -> Option<SockId> {
        let fits = |local: &SocketAddr| {
            local.port() == to.port() && (local.ip().is_unspecified() || local.ip() == to.ip())
        };
        let fitting: Vec<SockId> = self
            .socks
            .iter()
            .filter_map(|(id, sock)| match sock {
                Sock::Listener { host: on, local, .. } if *on == host && fits(local) => Some(*id),
                _ => None,
            })
            .collect();
        self.rng.choice(fitting)
    }

    /// Puts a new connection into the backlog; false if that is full.
    fn enqueue(
        &mut self,
        listener: SockId,
        host: usize,
        client: SockId,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> bool {
        let Some(Sock::Listener { queue, backlog, .. }) = self.socks.get(&listener) else {
            return false;
        };
        if queue.len() >= *backlog {
            return false;
        }
        let mut server = Stream::new(host, local, remote);
        server.peer = client;
        server.connecting = false;
        let id = self.add_sock(Sock::Stream(server));
        self.stream(client).expect("it asked").peer = id;
        if let Some(Sock::Listener { queue, waiters, .. }) = self.socks.get_mut(&listener) {
            queue.push_back(id);
            let waiters = std::mem::take(waiters);
            self.wake(waiters);
        }
        true
    }

    pub(super) fn free_port(&mut self, host: usize) -> u16 {
        loop {
            let port = self.hosts[host].next_port;
            self.hosts[host].next_port = port.checked_add(1).unwrap_or(32768);
            let taken = |sock: &Sock| {
                sock.host() == host && sock.local().is_some_and(|local| local.port() == port)
            };
            if !self.socks.values().any(taken) {
                return port;
            }
        }
    }

    pub(super) fn end_sock(&mut self, id: SockId, reading: bool, writing: bool) -> i32 {
        let Some(stream) = self.stream(id) else { return -sys::errno::NOTCONN };
        if stream.dead {
            return -sys::errno::NOTCONN;
        }
        stream.no_more_in |= reading;
        let fin = writing && !stream.no_more_out;
        stream.no_more_out |= writing;
        if fin {
            self.transmit(id, Packet::Fin);
        }
        self.wake_both(id);
        0
    }

    pub(super) fn close_sock(&mut self, id: SockId) {
        let Some(sock) = self.socks.get_mut(&id) else { return };
        match sock {
            Sock::Fresh { .. } => {}
            Sock::Listener { queue, .. } => {
                for waiting in std::mem::take(queue) {
                    self.transmit(waiting, Packet::Reset);
                    self.socks.remove(&waiting);
                }
            }
            Sock::Stream(stream) if stream.dead || stream.connecting => {}
            Sock::Stream(stream) => {
                // Bytes that nobody will read break the connection instead of ending it.
                let unread = !stream.inbox.is_empty();
                let fin = !stream.no_more_out;
                if unread {
                    self.transmit(id, Packet::Reset);
                } else if fin {
                    self.transmit(id, Packet::Fin);
                }
            }
        }
        self.socks.remove(&id);
    }

    /// Delivers what waited for the healing of a cut.
    pub(crate) fn heal(&mut self, a: usize, b: usize) {
        let held = self.cuts.remove(&(a.min(b), a.max(b))).unwrap_or_default();
        self.arrive_late(held);
    }

    /// Delivers what was held back: at once, since what was sent later and is on its way already
    /// must not overtake it.
    pub(super) fn arrive_late(&mut self, held: Vec<Held>) {
        for Held { to, from, route, packet } in held {
            self.arrive(to, from, route, packet);
        }
    }

    /// The host that `ip` leads to from the host `from`.
    fn host_at(&self, ip: IpAddr, from: usize) -> Option<usize> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(from);
        }
        self.hosts.iter().position(|host| host.address == ip)
    }

    /// Whether `ip` is an address of `host`.
    pub(super) fn owns(&self, host: usize, ip: IpAddr) -> bool {
        ip.is_unspecified() || ip.is_loopback() || self.hosts[host].address == ip
    }
}

impl Stream {
    pub(super) fn new(host: usize, local: SocketAddr, remote: SocketAddr) -> Stream {
        Stream {
            host,
            local,
            remote,
            peer: SockId::MAX,
            connecting: true,
            broken: None,
            dead: false,
            inbox: VecDeque::new(),
            no_more_in: false,
            no_more_out: false,
            outstanding: 0,
            last: Duration::ZERO,
            readers: Vec::new(),
            writers: Vec::new(),
        }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(super) fn is_connected(&self) -> bool {
        !self.connecting && !self.dead
    }
}
