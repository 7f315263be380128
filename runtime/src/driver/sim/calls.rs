//! The calls on sockets that need no request, on the sockets of a simulated host.

use super::Sim;
use super::kernel::{Desc, Kernel};
use super::net::Sock;
use crate::core::Core;
use crate::error::from_errno;
use crate::fd::Fd;
use crate::sys::mirror::errno;
use std::cell::RefMut;
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

fn as_result(res: i32) -> io::Result<()> {
    if res < 0 { Err(from_errno(-res)) } else { Ok(()) }
}

/// A new socket, if the core is simulated.
pub(crate) fn socket(core: &Rc<Core>) -> Option<io::Result<Fd>> {
    let raw = core.driver().simulation().map(|sim| {
        let mut kernel = sim.world.kernel();
        let id = kernel.add_sock(Sock::Fresh { host: sim.host, local: None, shared: false });
        kernel.install(sim.host, Desc::Sock(id))
    })?;
    Some(Ok(Fd::virtual_socket(raw, core.clone())))
}

/// The calls on sockets that need no request, for one host.
pub(crate) struct Calls<'a> {
    kernel: RefMut<'a, Kernel>,
    host: usize,
}

impl Sim {
    pub(crate) fn calls(&self) -> Calls<'_> {
        Calls { kernel: self.world.kernel(), host: self.host }
    }
}

impl Calls<'_> {
    fn sock(&mut self, raw: i32) -> io::Result<(u64, &mut Sock)> {
        let id = self.kernel.sock_of(self.host, raw).map_err(|error| from_errno(-error))?;
        let sock = self.kernel.socks.get_mut(&id).ok_or_else(|| from_errno(errno::BADF))?;
        Ok((id, sock))
    }

    pub(crate) fn reuse_port(&mut self, raw: i32, on: bool) -> io::Result<()> {
        match self.sock(raw)?.1 {
            Sock::Fresh { shared, .. } | Sock::Listener { shared, .. } => *shared = on,
            Sock::Stream(_) => {}
        }
        Ok(())
    }

    pub(crate) fn bind(&mut self, raw: i32, mut address: SocketAddr) -> io::Result<()> {
        let (id, sock) = self.sock(raw)?;
        let Sock::Fresh { local: None, shared: ours, .. } = sock else {
            return Err(from_errno(errno::INVAL));
        };
        let ours = *ours;
        if !self.kernel.owns(self.host, address.ip()) {
            return Err(from_errno(errno::ADDRNOTAVAIL));
        }
        if address.port() == 0 {
            address.set_port(self.kernel.free_port(self.host));
        }
        let host = self.host;
        let clashes = |(other, sock): (&u64, &Sock)| {
            let (on, taken, theirs) = match sock {
                Sock::Fresh { host, local: Some(local), shared } => (*host, *local, *shared),
                Sock::Listener { host, local, shared, .. } => (*host, *local, *shared),
                _ => return false,
            };
            let same_ip = taken.ip() == address.ip()
                || taken.ip().is_unspecified()
                || address.ip().is_unspecified();
            *other != id
                && on == host
                && taken.port() == address.port()
                && same_ip
                && !(ours && theirs)
        };
        if self.kernel.socks.iter().any(clashes) {
            return Err(from_errno(errno::ADDRINUSE));
        }
        if let Sock::Fresh { local, .. } = self.sock(raw)?.1 {
            *local = Some(address);
        }
        Ok(())
    }

    pub(crate) fn listen(&mut self, raw: i32, backlog: u32) -> io::Result<()> {
        let host = self.host;
        let sock = self.sock(raw)?.1;
        let Sock::Fresh { local: Some(local), shared, .. } = sock else {
            return Err(from_errno(errno::INVAL));
        };
        *sock = Sock::Listener {
            host,
            local: *local,
            shared: *shared,
            backlog: backlog.max(1) as usize,
            queue: VecDeque::new(),
            waiters: Vec::new(),
        };
        Ok(())
    }

    pub(crate) fn local_addr(&mut self, raw: i32) -> io::Result<SocketAddr> {
        match self.sock(raw)?.1 {
            Sock::Fresh { local: Some(local), .. } | Sock::Listener { local, .. } => Ok(*local),
            Sock::Stream(stream) => Ok(stream.local()),
            Sock::Fresh { .. } => Ok(SocketAddr::from(([0, 0, 0, 0], 0))),
        }
    }

    pub(crate) fn peer_addr(&mut self, raw: i32) -> io::Result<SocketAddr> {
        match self.sock(raw)?.1 {
            Sock::Stream(stream) if stream.is_connected() => Ok(stream.remote()),
            _ => Err(from_errno(crate::sys::errno::NOTCONN)),
        }
    }

    pub(crate) fn end(&mut self, raw: i32, how: Shutdown) -> io::Result<()> {
        let (id, _) = self.sock(raw)?;
        let (reading, writing) = (how != Shutdown::Write, how != Shutdown::Read);
        as_result(self.kernel.end_sock(id, reading, writing))
    }

    pub(crate) fn close(&mut self, raw: i32) {
        self.kernel.close(self.host, raw, None);
    }
}
