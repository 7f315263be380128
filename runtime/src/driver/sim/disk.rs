//! Virtual files: what the page cache holds, what the disk holds, and what a power cut leaves.
//!
//! A write goes to the cache and to a journal of what the disk has not got yet; a sync makes the
//! cache of one file durable. Names have a journal of their own, which a sync of any directory
//! makes durable. A power cut keeps any part of a file's journal, torn at sectors, and the first
//! entries of that of the names, however many.

use crate::sys::mirror::{Wish, errno};
use crate::sys::{FileKind, errno as common};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

pub(super) type Number = u64;

#[derive(Debug)]
struct Write {
    at: usize,
    data: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    directory: bool,
    cache: Vec<u8>,
    durable: Vec<u8>,
    journal: Vec<Write>,
    /// Seconds and nanoseconds since the world began.
    modified: (i64, u32),
    handles: u32,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, Number),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

type Names = BTreeMap<PathBuf, Number>;

/// The disk of one host.
#[derive(Debug)]
pub(super) struct Disk {
    nodes: BTreeMap<Number, Node>,
    names: Names,
    durable_names: Names,
    name_journal: Vec<NameChange>,
    next: Number,
    /// Bytes in all files.
    used: u64,
}

fn apply(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Link(path, number) => {
            names.insert(path.clone(), *number);
        }
        NameChange::Unlink(path) => {
            names.remove(path);
        }
        NameChange::Rename(from, to) => {
            let moved: Vec<PathBuf> =
                names.keys().filter(|name| name.starts_with(from)).cloned().collect();
            for name in moved {
                let rest = name.strip_prefix(from).expect("it starts with it");
                let whole = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                let number = names.remove(&name).expect("it was there");
                names.insert(whole, number);
            }
        }
    }
}

impl Disk {
    pub(super) fn new() -> Disk {
        let mut disk = Disk {
            nodes: BTreeMap::new(),
            names: Names::new(),
            durable_names: Names::new(),
            name_journal: Vec::new(),
            next: 1,
            used: 0,
        };
        for path in ["/", "/tmp"] {
            disk.add(Path::new(path), true, (0, 0));
        }
        disk.sync_names();
        disk
    }

    fn add(&mut self, path: &Path, directory: bool, now: (i64, u32)) -> Number {
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, Node { directory, modified: now, ..Node::default() });
        self.change(NameChange::Link(path.to_path_buf(), number));
        number
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.name_journal.push(change);
    }

    fn sync_names(&mut self) {
        for change in self.name_journal.drain(..) {
            apply(&mut self.durable_names, &change);
        }
    }

    /// The node behind `path`, or why there is none.
    fn find(&self, path: &Path) -> Result<Number, i32> {
        self.parent(path)?;
        self.names.get(path).copied().ok_or(-common::NOENT)
    }

    /// Whether `path` could be the name of something.
    fn parent(&self, path: &Path) -> Result<(), i32> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.names.get(parent) {
            None => Err(self.parent(parent).err().unwrap_or(-common::NOENT)),
            Some(number) if self.nodes[number].directory => Ok(()),
            Some(_) => Err(-errno::NOTDIR),
        }
    }

    pub(super) fn open(
        &mut self,
        path: &Path,
        wish: &Wish,
        now: (i64, u32),
    ) -> Result<Number, i32> {
        let number = match self.find(path) {
            Ok(_) if wish.create_new => return Err(-errno::EXIST),
            Ok(number) if self.nodes[&number].directory && wish.write => {
                return Err(-errno::ISDIR);
            }
            Ok(number) => number,
            Err(error) if error == -common::NOENT && wish.create => {
                self.parent(path)?;
                self.add(path, false, now)
            }
            Err(error) => return Err(error),
        };
        let node = self.nodes.get_mut(&number).expect("it was found");
        node.handles += 1;
        if wish.truncate && wish.write && !node.cache.is_empty() {
            // The disk may learn of the shorter length at any time; here it does at once.
            self.used -= node.cache.len() as u64;
            node.cache.clear();
            node.durable.clear();
            node.journal.clear();
            node.modified = now;
        }
        Ok(number)
    }

    /// A descriptor of `number` was closed.
    pub(super) fn release(&mut self, number: Number) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.handles -= 1;
        }
        self.collect();
    }

    /// Forgets files that neither a name nor a descriptor leads to.
    fn collect(&mut self) {
        let (names, durable) = (&self.names, &self.durable_names);
        let journal = &self.name_journal;
        let used = &mut self.used;
        self.nodes.retain(|number, node| {
            let named = |names: &Names| names.values().any(|n| n == number);
            let keep = node.handles > 0
                || named(names)
                || named(durable)
                || journal.iter().any(|c| matches!(c, NameChange::Link(_, n) if n == number));
            if !keep {
                *used -= node.cache.len() as u64;
            }
            keep
        });
    }

    /// Reads at most `len` bytes at `offset`.
    pub(super) fn read(&self, number: Number, offset: u64, len: usize) -> Result<Vec<u8>, i32> {
        let node = &self.nodes[&number];
        if node.directory {
            return Err(-errno::ISDIR);
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(node.cache.len());
        let end = start.saturating_add(len).min(node.cache.len());
        Ok(node.cache[start..end].to_vec())
    }

    /// Writes `data` at `offset`, as much as there is room for.
    pub(super) fn write(
        &mut self,
        number: Number,
        offset: u64,
        data: &[u8],
        room: u64,
        now: (i64, u32),
    ) -> Result<usize, i32> {
        let node = self.nodes.get_mut(&number).expect("a descriptor keeps its file");
        let at = usize::try_from(offset).map_err(|_| -errno::INVAL)?;
        let old = node.cache.len();
        let free = usize::try_from(room.saturating_sub(self.used)).unwrap_or(usize::MAX);
        let end_max = old.max(old.saturating_add(free));
        let n = data.len().min(end_max.saturating_sub(at));
        if n == 0 && !data.is_empty() {
            return Err(-errno::NOSPC);
        }
        let end = at + n;
        if end > old {
            node.cache.resize(end, 0);
            self.used += (end - old) as u64;
        }
        node.cache[at..end].copy_from_slice(&data[..n]);
        node.journal.push(Write { at, data: data[..n].to_vec() });
        node.modified = now;
        Ok(n)
    }

    pub(super) fn len(&self, number: Number) -> u64 {
        self.nodes[&number].cache.len() as u64
    }

    /// Makes what was written durable, or loses it to the disk when that fails: the cache looks
    /// clean either way.
    pub(super) fn sync(&mut self, number: Number, fails: bool) {
        let node = self.nodes.get_mut(&number).expect("a descriptor keeps its file");
        node.journal.clear();
        if !fails {
            node.durable.clone_from(&node.cache);
            if node.directory {
                self.sync_names();
            }
        }
    }

    pub(super) fn stat(&self, number: Number) -> (u64, FileKind, (i64, u32)) {
        let node = &self.nodes[&number];
        let kind = if node.directory { FileKind::Directory } else { FileKind::File };
        (node.cache.len() as u64, kind, node.modified)
    }

    pub(super) fn lookup(&self, path: &Path) -> Result<Number, i32> {
        self.find(path)
    }

    pub(super) fn mkdir(&mut self, path: &Path, now: (i64, u32)) -> Result<(), i32> {
        match self.find(path) {
            Ok(_) => Err(-errno::EXIST),
            Err(error) if error == -common::NOENT => {
                self.parent(path)?;
                self.add(path, true, now);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn unlink(&mut self, path: &Path, directory: bool) -> Result<(), i32> {
        let number = self.find(path)?;
        match (self.nodes[&number].directory, directory) {
            (true, false) => return Err(-errno::ISDIR),
            (false, true) => return Err(-errno::NOTDIR),
            (true, true) if self.has_children(path) => return Err(-errno::NOTEMPTY),
            _ => {}
        }
        self.change(NameChange::Unlink(path.to_path_buf()));
        self.collect();
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), i32> {
        let moved = self.find(from)?;
        self.parent(to)?;
        if from == to {
            return Ok(());
        }
        if to.starts_with(from) {
            return Err(-errno::INVAL);
        }
        if let Some(target) = self.names.get(to) {
            match (self.nodes[&moved].directory, self.nodes[target].directory) {
                (false, true) => return Err(-errno::ISDIR),
                (true, false) => return Err(-errno::NOTDIR),
                (true, true) if self.has_children(to) => return Err(-errno::NOTEMPTY),
                _ => {}
            }
        }
        self.change(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        self.collect();
        Ok(())
    }

    fn has_children(&self, path: &Path) -> bool {
        self.names.keys().any(|name| name != path && name.starts_with(path))
    }

    /// The power fails: what the disk got of what was not synced is a matter of luck.
    pub(super) fn cut_power(&mut self, rng: &mut fastrand::Rng) {
        let kept = rng.usize(..=self.name_journal.len());
        for change in self.name_journal.drain(..).take(kept) {
            apply(&mut self.durable_names, &change);
        }
        self.names.clone_from(&self.durable_names);
        for node in self.nodes.values_mut() {
            node.handles = 0;
            for write in std::mem::take(&mut node.journal) {
                let mut from = 0;
                while from < write.data.len() {
                    let at = write.at + from;
                    // The end of the sector that this byte is in.
                    let n = (SECTOR - at % SECTOR).min(write.data.len() - from);
                    if rng.bool() {
                        if node.durable.len() < at + n {
                            node.durable.resize(at + n, 0);
                        }
                        node.durable[at..at + n].copy_from_slice(&write.data[from..from + n]);
                    }
                    from += n;
                }
            }
            node.cache.clone_from(&node.durable);
        }
        self.used = self.nodes.values().map(|node| node.cache.len() as u64).sum();
        self.collect();
    }
}
