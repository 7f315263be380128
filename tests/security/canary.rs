//! Two tenants of one core: what one of them sent lies in the buffers that the other receives into,
//! and the other never sees a byte of it, however it looks.
//!
//! The pool has four buffers. One tenant fills them all with its secret, and the heap as well; then
//! the other sends a little, and what was received is looked at through everything that safe code
//! can call. Every look has to show exactly what the other sent.

use crate::passed;
use crate::scale::figure;
use crate::support::{Rng, SHORT, deadline, fd_pair, on_every_roomy_driver, pattern, reset, turns};
use bytes::{Buf, Bytes, BytesMut};
use ringbolt::buffers::Pages;
use ringbolt::net::TcpStream;
use ringbolt::op::{Recv, Submit};
use ringbolt::{BufResult, Builder, Chunk, DriverKind, IoBuf, IoBufMut, PoolConfig, metrics};
use std::io::Write;
use std::net;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

const BUFFER: usize = 1024;
const BUFFERS: usize = 4;
const SECRET: u8 = 0xa5;
/// What the other tenant sends has no byte of the secret in it.
const OTHER: u8 = b'x';

/// Sees what the second tenant sees.
struct Eye {
    looks: u64,
}

impl Eye {
    #[track_caller]
    fn look(&mut self, seen: &[u8], expected: usize) {
        assert_eq!(seen.len(), expected, "{seen:?}");
        assert!(seen.iter().all(|byte| *byte == OTHER), "{seen:?}");
        self.looks += 1;
    }

    /// What must not be possible at all.
    #[track_caller]
    fn refused<T>(&mut self, call: impl FnOnce() -> T) {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "this leads out of the buffer");
        self.looks += 1;
    }

    /// Everything that can be done with a chunk of `n` bytes.
    fn chunk(&mut self, mut chunk: Chunk, n: usize) {
        self.look(&chunk, n);
        self.look(chunk.as_ref(), n);
        assert_eq!((chunk.len(), chunk.io_parts().1), (n, n));
        let kind = if chunk.is_pooled() { "pooled" } else { "heap" };
        assert_eq!(format!("{chunk:?}"), format!("Chunk {{ kind: {kind:?}, len: {n} }}"));
        self.refused(|| chunk.split_to(n + 1));
        self.refused(|| chunk.advance(n + 1));
        self.refused(|| chunk[n]);
        let none = chunk.split_to(0);
        self.look(&none, 0);
        self.look(&none.into_bytes(), 0);
        chunk.truncate(BUFFER);
        self.look(&chunk, n);
        let mut first = chunk.split_to(n / 2);
        first.truncate(n);
        self.look(&first, n / 2);
        chunk.truncate(n);
        self.look(&chunk, n - n / 2);
        let part = first.slice(..);
        self.look(&part, n / 2);
        let first = part.into_inner();
        self.refused(|| Chunk::copied(&first).slice(n..n + 1));
        self.bytes(first.into_bytes(), n / 2);
        let mut rest = chunk.split_to(n - n / 2);
        self.look(&chunk, 0);
        self.refused(|| chunk.advance(1));
        rest.advance(1);
        self.look(&rest, n - n / 2 - 1);
        self.look(&Chunk::copied(&rest), n - n / 2 - 1);
        self.bytes(Bytes::from(rest), n - n / 2 - 1);
    }

    fn bytes(&mut self, mut bytes: Bytes, n: usize) {
        self.look(&bytes, n);
        self.look(&bytes.clone(), n);
        self.look(&Bytes::slice(&bytes, ..), n);
        self.refused(|| Bytes::slice(&bytes, ..n + 1));
        self.refused(|| bytes.clone().split_to(n + 1));
        self.look(&Vec::from(bytes.clone()), n);
        let mut own = BytesMut::from(bytes.clone());
        self.look(&own, n);
        own.resize(n + 64, OTHER);
        self.look(&own, n + 64);
        self.look(&bytes.copy_to_bytes(n), n);
        match bytes.try_into_mut() {
            Ok(own) => self.look(&own, 0),
            Err(bytes) => self.look(&bytes, 0),
        }
    }

    fn vec(&mut self, mut vec: Vec<u8>, n: usize) {
        self.look(&vec, n);
        let more = n + (vec.capacity() - n).min(64);
        vec.resize(more, OTHER);
        self.look(&vec, more);
    }
}

/// Sends `len` bytes of the secret and has them received in every way, so that the pool and the
/// heap are full of them.
async fn first_tenant(stream: &mut TcpStream, peer: &mut net::TcpStream) {
    let secret = [SECRET; BUFFER];
    for _ in 0..BUFFERS {
        // All buffers are lent at a time, so each of them is written.
        let mut chunks = Vec::new();
        let mut got = 0;
        peer.write_all(&secret.repeat(BUFFERS)).unwrap();
        while got < BUFFER * BUFFERS {
            let chunk = stream.recv().await.unwrap().expect("there is more");
            assert!(chunk.iter().all(|byte| *byte == SECRET));
            got += chunk.len();
            chunks.push(chunk);
        }
        peer.write_all(&secret).unwrap();
        let mut got = 0;
        while got < BUFFER {
            let (n, buf) = stream.read(Vec::with_capacity(BUFFER)).await.unwrap();
            assert_eq!(buf, vec![SECRET; n]);
            got += n;
        }
    }
}

/// Receives `n` bytes at a time in every way.
async fn second_tenant(eye: &mut Eye, stream: &mut TcpStream, peer: &mut net::TcpStream, n: usize) {
    let mut send = || peer.write_all(&vec![OTHER; n]).unwrap();
    // By lent buffers; more at a time than there are, so that copies and receives without the pool
    // are among them.
    let mut chunks: Vec<Chunk> = Vec::new();
    for _ in 0..BUFFERS + 2 {
        send();
        chunks.push(stream.recv().await.unwrap().expect("there is more"));
    }
    chunks.into_iter().for_each(|chunk| eye.chunk(chunk, n));

    // Into memory that held the secret a moment ago.
    let emptied = || {
        let mut vec = vec![SECRET; BUFFER];
        vec.clear();
        vec
    };
    send();
    let (got, vec) = stream.read(emptied()).await.unwrap();
    assert_eq!(got, n);
    eye.vec(vec, n);
    send();
    let (_, vec) = stream.read(Vec::with_capacity(BUFFER)).await.unwrap();
    eye.vec(vec, n);
    send();
    let (_, bytes) = stream.read(BytesMut::with_capacity(BUFFER)).await.unwrap();
    eye.bytes(bytes.freeze(), n);
    send();
    let mut begun = emptied();
    begun.push(OTHER);
    let (_, slice) = stream.read(begun.slice_mut(1..)).await.unwrap();
    eye.look(&slice, n);
    eye.vec(slice.into_inner(), n + 1);
    send();
    let mut begun = emptied();
    begun.push(OTHER);
    let (_, slice) = stream.read(begun.slice_mut(1..BUFFER)).await.unwrap();
    eye.look(&slice, n);
    eye.vec(slice.into_inner(), n + 1);
    // Buffers of fixed length show their own content behind what was received.
    send();
    let (_, fixed) = stream.read(vec![OTHER; BUFFER].into_boxed_slice()).await.unwrap();
    eye.look(&fixed, BUFFER);
    send();
    let (_, pages) = stream.read(Pages::new(BUFFER, 4096).unwrap()).await.unwrap();
    eye.look(&pages[..n], n);
    assert!(pages[n..].iter().all(|byte| *byte == 0));
    // Into several buffers, of which the second gets little and the third nothing.
    send();
    let small = Vec::with_capacity(n.div_ceil(2).max(1));
    let (got, parts) = stream.read_vectored([small, emptied(), emptied()]).await.unwrap();
    let lens: Vec<usize> = parts.iter().map(Vec::len).collect();
    assert_eq!((got, lens.iter().sum::<usize>(), lens[2]), (n, n, 0));
    for (part, len) in parts.into_iter().zip(lens) {
        eye.vec(part, len);
    }
}

/// An operation that fails or ends gives the buffer back as empty as it was.
async fn nothing_received(eye: &mut Eye, stream: &mut TcpStream, peer: net::TcpStream) {
    let emptied = || {
        let mut vec = vec![SECRET; BUFFER];
        vec.clear();
        vec
    };
    let (fd, _silent) = fd_pair();
    let cancelled = ringbolt::timeout(SHORT, Submit::new(Recv::new(fd, emptied()))).await;
    let BufResult(result, vec) = cancelled.expect("an operation was awaited");
    assert!(ringbolt::is_cancelled(&result.unwrap_err()));
    eye.vec(vec, 0);
    reset(peer);
    let BufResult(result, vec) = stream.read(emptied()).await;
    assert!(result.is_err());
    eye.vec(vec, 0);
    let BufResult(result, vec) = stream.read(emptied()).await;
    assert_eq!(result.unwrap(), 0);
    eye.vec(vec, 0);
}

#[test]
fn one_connection_sees_nothing_of_another() {
    let looks = std::cell::Cell::new(0);
    for zeroize in [false, true] {
        let pool =
            PoolConfig { buffer_len: BUFFER, buffers: BUFFERS, buffers_max: BUFFERS, zeroize };
        for driver in crate::drivers() {
            let runtime = Builder::new().driver(driver).pool(pool).build().unwrap();
            runtime.block_on(both_tenants(driver, &looks));
            passed(1);
        }
    }
    figure("looks for another tenant's bytes", looks.get(), "looks");
}

async fn both_tenants(driver: DriverKind, looks: &std::cell::Cell<u64>) {
    let _deadline = deadline(&format!("{driver:?}"), Location::caller());
    let mut eye = Eye { looks: 0 };
    let mut rng = Rng::new();
    let (mut first, mut first_peer) = crate::load::stream();
    let (mut second, mut second_peer) = crate::load::stream();
    for round in 0..20 {
        first_tenant(&mut first, &mut first_peer).await;
        turns(2).await;
        assert_eq!(metrics().buffers_leased, 0);
        let n = if round < 5 { 1 } else { 1 + rng.below(BUFFER / 2) };
        second_tenant(&mut eye, &mut second, &mut second_peer, n).await;
    }
    let now = metrics();
    assert!(now.copied_out > 0 || now.received_alone > 0, "the pool never ran low: {now:?}");
    nothing_received(&mut eye, &mut second, second_peer).await;
    eprintln!("{driver:?}: {} looks", eye.looks);
    looks.set(looks.get() + eye.looks);
}

/// A read of a file that is shorter than the buffer, in memory that held something else.
#[test]
fn a_short_read_of_a_file_shows_the_file_only() {
    on_every_roomy_driver(async |_| {
        let mut eye = Eye { looks: 0 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for len in [0, 1, 100, 5000] {
            std::fs::write(&path, vec![OTHER; len]).unwrap();
            let file = ringbolt::fs::File::open(&path).await.unwrap();
            let mut buf = pattern(8192);
            buf.clear();
            let (n, buf) = file.read_at(buf, 0).await.unwrap();
            assert_eq!(n, len);
            eye.vec(buf, len);
            let mut more = vec![SECRET; 64];
            more.clear();
            let BufResult(result, more) = file.read_exact_at(more, len as u64).await;
            assert!(result.is_err());
            eye.vec(more, 0);
            eye.look(&ringbolt::fs::read(&path).await.unwrap(), len);
            file.close().await.unwrap();
        }
        assert_eq!(eye.looks, 4 * 5);
        passed(4);
    });
}
