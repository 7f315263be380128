//! Requests on virtual sockets: each ends, yields something, or waits at its socket.

use super::kernel::{Desc, Event, Kernel, Ticket};
use super::memory;
use super::net::{Packet, Sock, SockId, Stream};
use crate::sqe::{Sqe, flag};
use crate::sys;
use crate::sys::mirror::errno;
use std::net::SocketAddr;

impl Kernel {
    /// The stream of a request, or `None` after the request has been failed.
    fn stream_of(&mut self, ticket: Ticket, sqe: &Sqe) -> Option<SockId> {
        let found = self.sock_of(ticket.0, sqe.fd).and_then(|id| match self.stream(id) {
            Some(stream) if !stream.connecting => Ok(id),
            _ => Err(-sys::errno::NOTCONN),
        });
        match found {
            Ok(id) => Some(id),
            Err(error) => {
                self.finish(ticket, error, Vec::new());
                None
            }
        }
    }

    pub(super) fn accept(&mut self, ticket: Ticket) {
        let (host, _) = ticket;
        let sqe = self.request(ticket).sqe;
        let multishot = sqe.is_multishot();
        let id = match self.sock_of(host, sqe.fd) {
            Ok(id) => id,
            Err(error) => return self.finish(ticket, error, Vec::new()),
        };
        loop {
            let Some(Sock::Listener { queue, waiters, .. }) = self.socks.get_mut(&id) else {
                return self.finish(ticket, -errno::INVAL, Vec::new());
            };
            let Some(stream) = queue.pop_front() else {
                waiters.push(ticket);
                return;
            };
            let raw = self.install(host, Desc::Sock(stream));
            if !multishot || self.chance(self.faults.ended_multishot) {
                return self.finish(ticket, raw, Vec::new());
            }
            self.item(ticket, raw, 0, Vec::new());
        }
    }

    pub(super) fn connect(&mut self, ticket: Ticket, sqe: &Sqe) {
        let (host, _) = ticket;
        let id = match self.sock_of(host, sqe.fd) {
            Ok(id) => id,
            Err(error) => return self.finish(ticket, error, Vec::new()),
        };
        match self.socks.get_mut(&id) {
            Some(Sock::Fresh { .. }) => self.begin_connect(ticket, sqe, id),
            Some(Sock::Stream(stream)) if stream.connecting => stream.writers.push(ticket),
            Some(Sock::Stream(stream)) => {
                let res = stream.broken.take().map_or(0, |error| -error);
                self.finish(ticket, res, Vec::new());
            }
            _ => self.finish(ticket, -errno::ISCONN, Vec::new()),
        }
    }

    fn begin_connect(&mut self, ticket: Ticket, sqe: &Sqe, id: SockId) {
        let (host, _) = ticket;
        // SAFETY: the slot keeps the address until the final result.
        let to = unsafe {
            sys::mirror::socket_address(sqe.addr.as_pointer(), sqe.off.as_number() as usize)
        };
        let Some(to) = to else { return self.finish(ticket, -errno::INVAL, Vec::new()) };
        let ip = if to.ip().is_loopback() { to.ip() } else { self.hosts[host].address };
        let local = match self.socks[&id].local() {
            Some(local) if !local.ip().is_unspecified() => local,
            Some(local) => SocketAddr::new(ip, local.port()),
            None => SocketAddr::new(ip, self.free_port(host)),
        };
        let mut stream = Stream::new(host, local, to);
        stream.writers.push(ticket);
        self.socks.insert(id, Sock::Stream(stream));
        let to_ip = to.ip();
        let target = self.hosts.iter().position(|h| h.address == to_ip).unwrap_or(host);
        let at = self.now + self.travel(host, target);
        let packet = Packet::Syn { to, tries: 0 };
        self.schedule(at, Event::Packet { to: id, from: id, route: (host, target), packet });
    }

    pub(super) fn send(&mut self, ticket: Ticket, sqe: &Sqe) {
        let Some(id) = self.stream_of(ticket, sqe) else { return };
        let window = self.faults.window;
        let Some(stream) = self.stream(id) else { return };
        if let Some(error) = stream.broken.take() {
            return self.finish(ticket, -error, Vec::new());
        }
        if stream.no_more_out || stream.dead {
            return self.finish(ticket, -errno::PIPE, Vec::new());
        }
        let wanted = memory::room(sqe);
        let free = window.saturating_sub(stream.outstanding);
        if free == 0 && wanted > 0 {
            stream.writers.push(ticket);
            return;
        }
        let n = self.cut_short(wanted.min(free));
        let bytes = self.take_sent(ticket, sqe, n);
        self.stream(id).expect("checked above").outstanding += n;
        if n > 0 {
            self.transmit(id, Packet::Data(bytes));
        }
        self.finish(ticket, n as i32, Vec::new());
    }

    /// What a receive of at most `room` bytes finds: bytes, the end, an error, or nothing yet.
    fn take_in(&mut self, id: SockId, room: usize) -> Option<Result<Vec<u8>, i32>> {
        let stream = self.stream(id)?;
        if stream.inbox.is_empty() {
            if let Some(error) = stream.broken.take() {
                return Some(Err(-error));
            }
            return (stream.no_more_in || stream.dead).then(|| Ok(Vec::new()));
        }
        let n = stream.inbox.len().min(room);
        let n = self.cut_short(n);
        let stream = self.stream(id)?;
        let bytes: Vec<u8> = stream.inbox.drain(..n).collect();
        if n > 0 {
            self.transmit(id, Packet::Read(n));
        }
        Some(Ok(bytes))
    }

    pub(super) fn receive(&mut self, ticket: Ticket, sqe: &Sqe) {
        let Some(id) = self.stream_of(ticket, sqe) else { return };
        match self.take_in(id, memory::room(sqe)) {
            Some(Ok(bytes)) => self.finish(ticket, bytes.len() as i32, bytes),
            Some(Err(error)) => self.finish(ticket, error, Vec::new()),
            None => self.stream(id).expect("it was found").readers.push(ticket),
        }
    }

    /// A multishot receive into buffers of the pool.
    pub(super) fn receive_lent(&mut self, ticket: Ticket) {
        let (host, _) = ticket;
        let sqe = self.request(ticket).sqe;
        let Some(id) = self.stream_of(ticket, &sqe) else { return };
        let (_, buffer_len) = self.hosts[host].buffers;
        loop {
            let count = self.hosts[host].lent.len();
            if count == 0 || self.chance(self.faults.no_buffer) {
                return self.finish(ticket, -sys::errno::NOBUFS, Vec::new());
            }
            let bytes = match self.take_in(id, buffer_len) {
                None => return self.stream(id).expect("it was found").readers.push(ticket),
                Some(Err(error)) => return self.finish(ticket, error, Vec::new()),
                Some(Ok(bytes)) if bytes.is_empty() && !self.faults.scribble => {
                    return self.finish(ticket, 0, bytes);
                }
                Some(Ok(bytes)) => bytes,
            };
            let nth = self.rng.usize(..count);
            let bid = self.hosts[host].lent.swap_remove(nth);
            let flags = flag::BUFFER | (u32::from(bid) << 16);
            let n = bytes.len();
            let knows_limit = self.faults.byte_limit;
            let request = self.request(ticket);
            request.received += n as u64;
            let limit = if knows_limit { u64::from(sqe.limit) } else { 0 };
            let full = limit != 0 && request.received >= limit;
            if n == 0 || full || self.chance(self.faults.ended_multishot) {
                // The end of the stream, too, may come with a buffer.
                return self.finish_with(ticket, n as i32, flags, bytes);
            }
            self.item(ticket, n as i32, flags, bytes);
        }
    }

    pub(super) fn shut(&mut self, ticket: Ticket, sqe: &Sqe) {
        let Some(id) = self.stream_of(ticket, sqe) else { return };
        let res = self.end_sock(id, sqe.len != 1, sqe.len != 0);
        self.finish(ticket, res, Vec::new());
    }

    pub(super) fn poll(&mut self, ticket: Ticket, sqe: &Sqe) {
        let (host, _) = ticket;
        let input = sqe.op_flags == sys::POLL_IN;
        let id = match self.sock_of(host, sqe.fd) {
            Ok(id) => id,
            Err(error) => return self.finish(ticket, error, Vec::new()),
        };
        let window = self.faults.window;
        let ready = match self.socks.get_mut(&id) {
            Some(Sock::Stream(s)) if s.dead || s.broken.is_some() => true,
            Some(Sock::Stream(s)) if input && (!s.inbox.is_empty() || s.no_more_in) => true,
            Some(Sock::Stream(s)) if !input && !s.connecting && s.outstanding < window => true,
            Some(Sock::Stream(s)) => {
                if input { &mut s.readers } else { &mut s.writers }.push(ticket);
                false
            }
            Some(Sock::Listener { queue, waiters, .. }) if input && queue.is_empty() => {
                waiters.push(ticket);
                false
            }
            _ => true,
        };
        if ready {
            self.finish(ticket, sqe.op_flags as i32, Vec::new());
        }
    }
}
