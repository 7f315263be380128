//! Shared descriptors: closed after the last operation on them has ended.
//!
//! Every operation holds an [`Fd`], so a descriptor number can never be reused while a driver still
//! works on it (SAFETY.md, S5). The drivers are told before the number is given back.

use crate::core::Core;
use crate::op::Close;
use crate::sys::{self, DescKind};
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A counted reference to an open descriptor.
#[derive(Clone)]
pub struct Fd(Rc<Inner>);

struct Inner {
    raw: i32,
    kind: DescKind,
    core: Rc<Core>,
    /// Who waits to be the only one with a reference.
    waker: Cell<Option<Waker>>,
}

impl Fd {
    /// Takes over a socket, and puts it into the mode that this core's driver needs.
    ///
    /// # Errors
    ///
    /// Those of the system call that sets the mode.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn socket(socket: socket2::Socket) -> io::Result<Fd> {
        let core = Core::current();
        socket.set_nonblocking(core.facts().nonblocking_sockets)?;
        Ok(Fd::with(sys::into_raw_socket(socket), DescKind::Socket, core))
    }

    /// Takes over a file.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn file(file: std::fs::File) -> Fd {
        Fd::with(sys::into_raw_file(file), DescKind::File, Core::current())
    }

    /// # Safety
    ///
    /// `raw` is a socket that a driver of this core just accepted, and nobody else owns it.
    pub(crate) unsafe fn accepted(raw: i32) -> Fd {
        Fd::with(raw, DescKind::Socket, Core::current())
    }

    /// # Safety
    ///
    /// `raw` is a file that a driver of this core just opened, and nobody else owns it.
    pub(crate) unsafe fn opened(raw: i32) -> Fd {
        Fd::with(raw, DescKind::File, Core::current())
    }

    /// A descriptor of the simulated kernel of `core`.
    #[cfg(feature = "sim")]
    pub(crate) fn virtual_socket(raw: i32, core: Rc<Core>) -> Fd {
        Fd::with(raw, DescKind::Socket, core)
    }

    /// Whether this is a descriptor of a simulated kernel.
    #[cfg(feature = "sim")]
    pub(crate) fn is_virtual(&self) -> bool {
        is_virtual(self.0.raw)
    }

    /// Calls the simulated kernel that this is a descriptor of; `None` if it is the system's.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated<T>(
        &self,
        call: impl FnOnce(&mut crate::driver::sim::Calls<'_>, i32) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        if !self.is_virtual() {
            return None;
        }
        let driver = self.0.core.driver();
        let gone = || Err(io::Error::new(io::ErrorKind::NotConnected, "the host is switched off"));
        Some(driver.simulation().map_or_else(gone, |sim| call(&mut sim.calls(), self.0.raw)))
    }

    fn with(raw: i32, kind: DescKind, core: Rc<Core>) -> Fd {
        core.counters().descriptors.add(1);
        Fd(Rc::new(Inner { raw, kind, core, waker: Cell::new(None) }))
    }

    /// The number of the descriptor.
    pub fn raw(&self) -> i32 {
        self.0.raw
    }

    /// Waits until this is the only reference, that is until the operations on it have ended.
    pub async fn unique(&self) {
        poll_fn(|cx| {
            if Rc::strong_count(&self.0) == 1 {
                return Poll::Ready(());
            }
            self.0.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// The socket, to be given to another thread.
    ///
    /// # Errors
    ///
    /// `self`, if operations or other handles still use it.
    pub fn into_socket(self) -> Result<socket2::Socket, Fd> {
        if is_virtual(self.0.raw) {
            return Err(self);
        }
        let inner = self.try_unwrap()?;
        let raw = inner.give_up();
        // SAFETY: `raw` was the descriptor of a socket, whose only owner gave it up.
        Ok(unsafe { sys::socket_from_raw(raw) })
    }

    fn try_unwrap(self) -> Result<Inner, Fd> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not used or dropped again, so this moves the reference out.
        let inner = unsafe { std::ptr::read(&this.0) };
        Rc::try_unwrap(inner).map_err(Fd)
    }

    /// The operation that closes the file and reports what the system found.
    ///
    /// # Errors
    ///
    /// `self`, if operations or other handles still use it.
    pub fn into_close(self) -> Result<Close, Fd> {
        let inner = self.try_unwrap()?;
        let (kind, core) = (inner.kind, inner.core.clone());
        Ok(Close::new(inner.give_up(), kind, core))
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        if Rc::strong_count(&self.0) == 2
            && let Some(waker) = self.0.waker.take()
        {
            waker.wake();
        }
    }
}

impl Inner {
    /// Tells the driver and hands the number to the caller.
    fn give_up(self) -> i32 {
        let raw = self.raw;
        self.core.forget(raw);
        self.core.counters().descriptors.sub(1);
        let inner = std::mem::ManuallyDrop::new(self);
        // SAFETY: `inner` is never used or dropped again, so this moves the reference out.
        drop(unsafe { std::ptr::read(&inner.core) });
        // SAFETY: as above.
        drop(unsafe { std::ptr::read(&inner.waker) });
        raw
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.forget(self.raw);
        self.core.counters().descriptors.sub(1);
        let close = Close::new(self.raw, self.kind, self.core.clone());
        if self.kind == DescKind::File {
            // Closing a file may wait for a server, so it is left to the driver where one runs.
            // Where none does, the operation comes back, and closes the file as it is dropped.
            drop(crate::op::detach_close(&self.core, close));
        }
    }
}

/// Closes `raw` without a request.
pub(crate) fn close_now(core: &Rc<Core>, raw: i32, kind: DescKind) {
    if !is_virtual(raw) {
        sys::close(raw, kind);
        return;
    }
    #[cfg(feature = "sim")]
    if let Some(sim) = core.driver().simulation() {
        sim.calls().close(raw);
    }
    let _ = core;
}

/// Whether `raw` belongs to a simulated kernel, whose numbers no system reaches.
fn is_virtual(raw: i32) -> bool {
    #[cfg(feature = "sim")]
    return raw >= crate::driver::sim::FIRST_FD;
    #[cfg(not(feature = "sim"))]
    return raw == i32::MAX;
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fd({})", self.raw())
    }
}
