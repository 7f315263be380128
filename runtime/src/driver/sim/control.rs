//! What the hosts of a world, and tests, do to the kernel behind it.

use super::faults::Faults;
use super::kernel::{Desc, Forced, Kernel};

impl Kernel {
    /// The host is switched on, or its program starts again.
    pub(super) fn switch_on(&mut self, host: usize) {
        self.hosts[host].up = true;
        self.hosts[host].powered = true;
        let missed = std::mem::take(&mut self.hosts[host].missed);
        self.arrive_late(missed);
    }

    /// The program of the host ends: its descriptors are closed, and its requests end at once.
    pub(crate) fn end_program(&mut self, host: usize) {
        self.hosts[host].up = false;
        for desc in std::mem::take(&mut self.hosts[host].table).into_iter().flatten() {
            match desc {
                Desc::Sock(sock) => self.close_sock(sock),
                Desc::File { number, .. } => self.hosts[host].disk.release(number),
            }
        }
        self.end_requests(host);
    }

    /// The power of a host has failed.
    pub(crate) fn cut_power(&mut self, host: usize) {
        self.hosts[host].disk.cut_power(&mut self.rng);
    }

    /// Cuts the network between two hosts.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        if a != b {
            self.cuts.entry((a.min(b), a.max(b))).or_default();
        }
    }

    /// What may go wrong with the packets between two hosts.
    pub(crate) fn set_link(&mut self, a: usize, b: usize, faults: Faults) {
        self.links.insert((a.min(b), a.max(b)), faults);
    }

    /// What may go wrong with the disk of a host.
    pub(crate) fn set_disk(&mut self, host: usize, faults: Faults) {
        self.hosts[host].disk_faults = Some(faults);
    }

    pub(super) fn disk_faults(&self, host: usize) -> &Faults {
        self.hosts[host].disk_faults.as_ref().unwrap_or(&self.faults)
    }

    /// What may go wrong where nothing else is said.
    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Makes a request of a host fail.
    pub(crate) fn force(&mut self, host: usize, rule: Forced) {
        self.hosts[host].forced.push(rule);
    }

    /// Rules of a host that have not been applied.
    pub(crate) fn forced_left(&self, host: usize) -> usize {
        self.hosts[host].forced.len()
    }
}
