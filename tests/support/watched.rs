//! A buffer that tells when it is dropped, and whether somebody wrote to it after that.

use ringbolt::{IoBuf, IoBufMut};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;

const GONE: u8 = 0xEE;

/// A buffer of fixed length. Its memory outlives it, filled with a pattern, so that a late write
/// is seen.
#[derive(Debug)]
pub(crate) struct Watched {
    memory: Option<Box<[u8]>>,
    len: usize,
    watch: Watch,
}

/// What is known of [`Watched`] buffers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    alive: Cell<usize>,
    graves: RefCell<Vec<Box<[u8]>>>,
}

impl Watched {
    /// The watch for a number of buffers.
    pub(crate) fn watch() -> Watch {
        Watch::default()
    }
}

impl Watch {
    /// A buffer that is empty and has room for `capacity` bytes.
    pub(crate) fn buffer(&self, capacity: usize) -> Watched {
        self.0.alive.set(self.0.alive.get() + 1);
        let memory = vec![0; capacity].into_boxed_slice();
        Watched { memory: Some(memory), len: 0, watch: self.clone() }
    }

    /// A buffer with this content.
    pub(crate) fn holding(&self, content: &[u8]) -> Watched {
        let mut buf = self.buffer(content.len());
        buf.memory = Some(content.into());
        buf.len = content.len();
        buf
    }

    /// Buffers that have not been dropped.
    pub(crate) fn alive(&self) -> usize {
        self.0.alive.get()
    }

    /// Whether the memory of every dropped buffer is as it was then.
    pub(crate) fn untouched(&self) -> bool {
        // The kernel may have written behind the compiler's back.
        let graves = self.0.graves.borrow();
        std::hint::black_box(&*graves).iter().all(|grave| grave.iter().all(|byte| *byte == GONE))
    }
}

impl Watched {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory()[..self.len]
    }

    fn memory(&self) -> &[u8] {
        self.memory.as_deref().expect("taken by the destructor only")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let inner = &self.watch.0;
        inner.alive.set(inner.alive.get() - 1);
        if let Some(mut memory) = self.memory.take() {
            memory.fill(GONE);
            inner.graves.borrow_mut().push(memory);
        }
    }
}

// SAFETY: the memory is on the heap, stays there also after the buffer is dropped, and is shared
// with nobody before that; pointer and length do not change.
unsafe impl IoBuf for Watched {
    fn io_parts(&self) -> (NonNull<u8>, usize) {
        (NonNull::from(self.memory()).cast(), self.len)
    }
}

// SAFETY: the buffer is the only owner of its memory, all of which is initialised.
unsafe impl IoBufMut for Watched {
    fn io_parts_mut(&mut self) -> (NonNull<u8>, usize) {
        let memory = self.memory.as_deref_mut().expect("taken by the destructor only");
        let len = memory.len();
        (NonNull::from(memory).cast(), len)
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.len = n;
    }
}
