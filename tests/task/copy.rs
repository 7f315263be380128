//! Copying reads on while it writes.

use crate::support::*;
use ringbolt::io::{Read, Write, copy, fill};
use ringbolt::{BufResult, IoBuf, IoBufMut, metrics, yield_now};
use std::io;

/// Turns of the core stand for time: an end that needs ten of them for each block.
async fn take_time() {
    let end = metrics().turns + 10;
    while metrics().turns < end {
        yield_now().await;
    }
}

/// A source of a number of blocks, of any size.
struct Slow<'a> {
    content: &'a [u8],
    block: usize,
}

impl Read for Slow<'_> {
    async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
        take_time().await;
        let n = fill(&mut buf, &self.content[..self.block.min(self.content.len())]);
        self.content = &self.content[n..];
        BufResult(Ok(n), buf)
    }
}

/// A sink that takes at most so much at a time, and fails after so many bytes.
#[derive(Default)]
struct Sink {
    got: Vec<u8>,
    most: Option<usize>,
    fails_at: Option<usize>,
    slow: bool,
    flushed: usize,
}

impl Write for Sink {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        if self.slow {
            take_time().await;
        }
        if self.fails_at.is_some_and(|at| self.got.len() >= at) {
            return BufResult(Err(io::ErrorKind::StorageFull.into()), buf);
        }
        let len = buf.io_parts().1;
        let part = buf.slice(..len.min(self.most.unwrap_or(usize::MAX)));
        self.got.extend_from_slice(&part);
        BufResult(Ok(part.len()), part.into_inner())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.flushed += 1;
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        unreachable!("a copy does not end its sink")
    }
}

#[test]
fn reading_goes_on_while_writing_takes_its_time() {
    on_every_driver(async |_| {
        const BLOCKS: u64 = 50;
        let content = pattern(BLOCKS as usize * 1000);
        let mut source = Slow { content: &content, block: 1000 };
        let mut sink = Sink { slow: true, ..Sink::default() };
        let start = metrics().turns;
        assert_eq!(copy(&mut source, &mut sink).await.unwrap(), content.len() as u64);
        let turns = metrics().turns - start;
        assert!(sink.got == content);
        // Each side alone takes ten turns for a block: together the longer of the two, not the sum.
        assert!(turns >= BLOCKS * 10, "{turns}");
        assert!(turns < BLOCKS * 15, "{turns} turns: the sides took turns");
    });
}

#[test]
fn copies_are_equal_whatever_the_sizes() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        for _ in 0..20 {
            let content = pattern(rng.below(200_000));
            let mut source = Slow { content: &content, block: 1 + rng.below(100_000) };
            let most = (rng.chance(1, 2)).then(|| 1000 + rng.below(50_000));
            let mut sink = Sink { most, slow: rng.chance(1, 2), ..Sink::default() };
            assert_eq!(copy(&mut source, &mut sink).await.unwrap(), content.len() as u64);
            assert!(sink.got == content && sink.flushed == 1);
        }
    });
}

#[test]
fn buffers_grow_with_what_a_read_yields() {
    struct Endless {
        left: usize,
        largest: usize,
    }
    impl Read for Endless {
        async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
            let capacity = buf.io_parts_mut().1;
            self.largest = self.largest.max(capacity);
            let n = fill(&mut buf, &vec![1; capacity.min(self.left)]);
            self.left -= n;
            BufResult(Ok(n), buf)
        }
    }
    on_every_driver(async |_| {
        let mut source = Endless { left: 20 << 20, largest: 0 };
        let mut sink = Sink::default();
        assert_eq!(copy(&mut source, &mut sink).await.unwrap(), 20 << 20);
        assert_eq!(source.largest, 1 << 20);
    });
}

#[test]
fn the_first_error_ends_a_copy() {
    struct Broken(usize);
    impl Read for Broken {
        async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
            if self.0 == 0 {
                return BufResult(Err(io::ErrorKind::ConnectionReset.into()), buf);
            }
            self.0 -= 1;
            BufResult(Ok(fill(&mut buf, b"block")), buf)
        }
    }
    on_every_driver(async |_| {
        let mut sink = Sink::default();
        let error = copy(&mut Broken(2), &mut sink).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let content = pattern(100_000);
        let mut source = Slow { content: &content, block: 1000 };
        let mut sink = Sink { fails_at: Some(3000), ..Sink::default() };
        let error = copy(&mut source, &mut sink).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(sink.got, content[..3000]);
        let mut stuck = Sink { most: Some(0), ..Sink::default() };
        let mut source = Slow { content: &content, block: 1000 };
        let error = copy(&mut source, &mut stuck).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    });
}
