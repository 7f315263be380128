//! A numbered stream of bytes under random time limits: each byte arrives once and in order.

use crate::scale::{figure, scaled};
use crate::{Random, alone, on_every_driver, setting};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{BufResult, Builder, PoolConfig};
use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How the receiving side asks for bytes.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Lent,
    Owned,
    Both,
}

/// The stream repeats after a prime number of bytes, so that a loss of whole buffers shows.
const PERIOD: u64 = 1_000_003;
/// No piece is longer than this.
const PIECE_MAX: u64 = 64 * 1024;

/// The stream, one period and one piece long.
fn pattern() -> Arc<[u8]> {
    let mut random = Random(42);
    let mut bytes: Vec<u8> = (0..PERIOD).map(|_| random.next() as u8).collect();
    bytes.extend_from_within(..PIECE_MAX as usize);
    bytes.into()
}

/// What the stream holds at `position`.
fn expected(pattern: &[u8], position: u64, len: usize) -> &[u8] {
    &pattern[(position % PERIOD) as usize..][..len]
}

/// Sends `total` bytes of the stream in pieces of random size, from a plain thread. Every fourth
/// piece or so is sent just when a limit passes on the other side.
fn sender(
    address: std::net::SocketAddr,
    pattern: Arc<[u8]>,
    total: u64,
    seed: u64,
    limits: mpsc::Receiver<Instant>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).expect("the listener accepts");
        let mut random = Random(seed | 1);
        let mut position = 0;
        while position < total {
            if random.below(4) == 0 {
                while limits.try_recv().is_ok() {}
                let limit = limits.recv().expect("the receiver waits for more");
                hit(limit, &mut random);
            }
            let len = (1 + random.below(PIECE_MAX)).min(total - position);
            let piece = expected(&pattern, position, len as usize);
            stream.write_all(piece).expect("the receiver reads to the end");
            position += len;
        }
    })
}

/// Waits until a moment that is close to `limit`, or some time after it.
fn hit(limit: Instant, random: &mut Random) {
    let after = match random.below(4) {
        0 => Duration::from_micros(random.below(200)),
        _ => Duration::from_nanos(random.below(20_000)),
    };
    while Instant::now() < limit + after {
        std::thread::yield_now();
    }
}

/// How a receive ends whose time is over.
#[derive(Clone, Copy, Debug)]
enum End {
    /// By `timeout`, which waits for its end.
    Limit,
    /// By a drop, as the branch of a `select` that lost.
    Drop,
    /// It is forgotten in flight.
    Forget,
}

/// Runs `future` until it is ready or `limit` is over; `None` if it was left.
async fn within<F: Future>(limit: Duration, end: End, future: F) -> Option<F::Output> {
    if let End::Limit = end {
        return ringbolt::timeout(limit, future).await.ok();
    }
    let mut future = Box::pin(future);
    let mut sleep = pin!(ringbolt::sleep(limit));
    let won = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await;
    if won.is_none() && matches!(end, End::Forget) {
        std::mem::forget(future);
    }
    won
}

async fn receive(
    mut stream: TcpStream,
    pattern: &[u8],
    ask: Ask,
    random: &mut Random,
    limits: mpsc::Sender<Instant>,
) -> (u64, u64) {
    let (mut position, mut expired) = (0u64, 0u64);
    let mut check = |bytes: &[u8]| {
        let right = bytes == expected(pattern, position, bytes.len());
        assert!(right, "bytes are wrong, lost or twice there after {position}");
        position += bytes.len() as u64;
    };
    loop {
        let limit = Duration::from_nanos(1000 + random.below(999_000));
        // The sender may have sent its last piece.
        let _ = limits.send(Instant::now() + limit);
        let end = match random.below(16) {
            0 => End::Forget,
            n if n % 2 == 0 => End::Drop,
            _ => End::Limit,
        };
        let mut left = false;
        let lent = match ask {
            Ask::Lent => true,
            Ask::Owned => false,
            Ask::Both => random.below(2) == 0,
        };
        if lent {
            match within(limit, end, stream.recv()).await {
                Some(Ok(Some(chunk))) => check(&chunk),
                Some(Ok(None)) => break,
                Some(Err(error)) if ringbolt::is_cancelled(&error) => expired += 1,
                Some(Err(error)) => panic!("{error}"),
                None => left = true,
            }
        } else {
            let buf = Vec::with_capacity(1 + random.below(64 * 1024) as usize);
            match within(limit, end, stream.read(buf)).await {
                Some(BufResult(Ok(0), _)) => break,
                Some(BufResult(Ok(n), buf)) => {
                    assert_eq!(n, buf.len());
                    check(&buf);
                }
                Some(BufResult(Err(error), _)) if ringbolt::is_cancelled(&error) => expired += 1,
                Some(BufResult(Err(error), _)) => panic!("{error}"),
                None => left = true,
            }
        }
        expired += u64::from(left);
        if left && random.below(4) == 0 {
            // What was left may go on meanwhile, and may have received when the next one comes.
            ringbolt::sleep(Duration::from_micros(random.below(300))).await;
        }
    }
    (position, expired)
}

/// Streams that are received at a time, whose limits pass independently of one another.
const STREAMS: u64 = 4;

/// One stream: how many bytes came and how many limits were reached.
async fn stream(ask: Ask, total: u64, pattern: Arc<[u8]>, seed: u64) -> (u64, u64) {
    let mut random = Random(seed | 1);
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (announce, limits) = mpsc::channel();
    let address = listener.local_addr().unwrap();
    let sending = sender(address, pattern.clone(), total, random.next(), limits);
    let (stream, _) = listener.accept().await.unwrap();
    let counts = receive(stream, &pattern, ask, &mut random, announce).await;
    sending.join().expect("the sender does not fail");
    counts
}

fn run(ask: Ask, mib: u64) {
    let _alone = alone();
    let mut random = Random::new("ledger");
    let total = mib << 20;
    let pattern = pattern();
    let pool =
        PoolConfig { buffer_len: 8192, buffers: 16, buffers_max: 64, ..PoolConfig::default() };
    on_every_driver(&Builder::new().pool(pool), |runtime| {
        let start = Instant::now();
        let (received, expired) = runtime.block_on(async {
            let one = |_| {
                let (pattern, seed) = (pattern.clone(), random.next());
                ringbolt::spawn(stream(ask, total / STREAMS, pattern, seed))
            };
            let streams: Vec<_> = (0..STREAMS).map(one).collect();
            let (mut received, mut expired) = (0, 0);
            for stream in streams {
                let counts = stream.await.expect("no byte is wrong");
                (received, expired) = (received + counts.0, expired + counts.1);
            }
            (received, expired)
        });
        assert_eq!(received, total);
        assert!(expired > mib, "{expired} limits were reached, which is too few to test anything");
        let name = format!("{ask:?} receives on {}", runtime.facts().driver).to_lowercase();
        figure(
            &format!("bytes under time limits, none lost or doubled, {name}"),
            received,
            "bytes",
        );
        figure(&format!("time limits reached, {name}"), expired, "limits");
        eprintln!("ledger {name}: {mib} MiB in {:.1?}", start.elapsed());
    });
}

#[test]
fn lent_receives_lose_nothing_under_time_limits() {
    run(Ask::Lent, setting("RINGBOLT_STRESS_MIB", scaled(64, 2048, 204_800)));
}

#[test]
fn owned_receives_lose_nothing_under_time_limits() {
    run(Ask::Owned, setting("RINGBOLT_STRESS_MIB", scaled(64, 2048, 204_800)));
}

#[test]
fn mixed_receives_lose_nothing_under_time_limits() {
    run(Ask::Both, setting("RINGBOLT_STRESS_MIB", scaled(32, 1024, 102_400)));
}
