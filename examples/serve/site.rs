//! What the connections of one core share, and the list of them that a clean end needs.

use crate::connection::Connection;
use ringbolt::JoinHandle;
use ringbolt::net::TcpStream;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// A buffer holds the head of a response with the beginning of its body, then the rest part by
/// part.
pub(crate) const BUFFER_LEN: usize = 128 * 1024;
/// Buffers that are kept for the next response.
const BUFFERS_KEPT: usize = 64;

/// The served directory, as one core sees it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) root: PathBuf,
    pub(crate) requests: Cell<u64>,
    /// Connections are to end after the request that they are at.
    pub(crate) ending: Cell<bool>,
    buffers: RefCell<Vec<Vec<u8>>>,
    open: RefCell<HashMap<u64, Open>>,
    admitted: Cell<u64>,
}

/// A connection from outside.
#[derive(Debug)]
struct Open {
    task: JoinHandle<()>,
    /// Between two requests.
    idle: Rc<Cell<bool>>,
}

/// What a core has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    /// Connections that were still at a request when the time for it had passed.
    pub(crate) cut_off: u64,
}

impl Site {
    pub(crate) fn new(root: PathBuf) -> Rc<Site> {
        Rc::new(Site {
            root,
            requests: Cell::new(0),
            ending: Cell::new(false),
            buffers: RefCell::default(),
            open: RefCell::default(),
            admitted: Cell::new(0),
        })
    }

    /// An empty buffer with room for [`BUFFER_LEN`] bytes.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        let kept = self.buffers.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_LEN))
    }

    /// Keeps a buffer that is not used any more.
    pub(crate) fn put_back(&self, mut buf: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS_KEPT {
            buf.clear();
            buffers.push(buf);
        }
    }

    /// Serves a client in a task of its own.
    pub(crate) fn admit(self: &Rc<Site>, stream: TcpStream) {
        let id = self.admitted.get();
        self.admitted.set(id + 1);
        let (site, idle) = (self.clone(), Rc::new(Cell::new(true)));
        let listed = Listed { site: self.clone(), id };
        let mut connection = Connection::new(site, stream, idle.clone());
        let task = ringbolt::spawn(async move {
            let _listed = listed;
            connection.run().await;
        });
        self.open.borrow_mut().insert(id, Open { task, idle });
    }

    /// Closes the connections that are between two requests, and gives the others `limit` to
    /// finish.
    pub(crate) async fn end(&self, limit: Duration) -> Tally {
        self.ending.set(true);
        let mut open = self.open.take();
        for Open { task, .. } in open.values_mut().filter(|open| open.idle.get()) {
            task.abort();
        }
        let unfinished = Cell::new(open.len() as u64);
        let all = async {
            for (_, Open { task, .. }) in open {
                // It ends in an error for those that were closed, and for none but those.
                let _ = task.await;
                unfinished.set(unfinished.get() - 1);
            }
        };
        let _ = ringbolt::timeout(limit, all).await;
        Tally {
            connections: self.admitted.get(),
            requests: self.requests.get(),
            cut_off: unfinished.get(),
        }
    }
}

/// Takes a connection off the list when its task ends, whichever way that happens.
#[derive(Debug)]
struct Listed {
    site: Rc<Site>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.site.open.borrow_mut().remove(&self.id);
    }
}
