//! Programs on streams: frames that arrive whole, in order and once, however they are sent and
//! read.

use crate::leave::{Leave, Left};
use crate::schedules::World;
use crate::watched::Watched;
use ringbolt::BufResult;
use ringbolt::net::{ReadHalf, TcpListener, TcpStream, WriteHalf};
use std::time::Duration;

/// A frame is its length, its number, and bytes that follow from both.
fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![len as u8, number];
    bytes.extend((0..len).map(|i| number.wrapping_mul(31).wrapping_add(i as u8)));
    bytes
}

/// What became of a frame that was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Arrives,
    /// Its future was left: it arrives whole, or not at all, or last and in part.
    Unknown,
    /// The stream broke.
    Lost,
}

/// Two directions of a connection, and all that can be done to them.
pub(crate) async fn exchange(world: World) {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.expect("ports are free");
    let address = listener.local_addr().expect("it is bound");
    let client = ringbolt::spawn(async move { TcpStream::connect(address).await });
    let server = loop {
        // An accept that is left loses no connection.
        if let Some(accepted) = world.run(world.leave(), listener.accept()).await.ready() {
            match accepted {
                Ok((stream, _)) => break stream,
                Err(error) => assert!(ringbolt::is_cancelled(&error), "{error}"),
            }
        }
    };
    let client = client.await.expect("it is not aborted").expect("somebody listens");
    if world.chance(1, 2) {
        drop(listener);
    }
    let (mut reader, mut writer) = server.into_split();
    let (mut client_reader, mut client_writer) = client.into_split();
    let w = world.clone();
    let sent = ringbolt::spawn(async move {
        let fates = send_frames(&w, &mut writer).await;
        drop(writer);
        fates
    });
    let w = world.clone();
    let back = ringbolt::spawn(async move {
        let fates = send_frames(&w, &mut client_writer).await;
        drop(client_writer);
        fates
    });
    let w = world.clone();
    let back_read = ringbolt::spawn(async move { read_all(&w, &mut reader).await });
    let received = read_all(&world, &mut client_reader).await;
    check(&received, &sent.await.expect("it is not aborted"));
    let received = back_read.await.expect("it is not aborted");
    check(&received, &back.await.expect("it is not aborted"));
}

async fn send_frames(world: &World, writer: &mut WriteHalf) -> Vec<(u8, usize, Fate)> {
    let mut fates = Vec::new();
    for number in 0..world.below(8) as u8 {
        let len = world.below(120);
        let bytes = frame(number, len);
        let leave = world.leave();
        let left = match world.below(3) {
            0 => {
                let buf = world.watch.holding(&bytes);
                world.run(leave, writer.write_all(buf)).await.ready().map(|r| r.0)
            }
            1 => send_by_parts(world, writer, &bytes, leave).await,
            _ => send_vectored(world, writer, &bytes, leave).await,
        };
        let fate = match left {
            None => Fate::Unknown,
            Some(Ok(())) => Fate::Arrives,
            // A limit that cancels the rest of a message leaves a part of it sent.
            Some(Err(error)) if ringbolt::is_cancelled(&error) => Fate::Unknown,
            Some(Err(_)) => Fate::Lost,
        };
        fates.push((number, len, fate));
    }
    fates
}

/// Sends with `write`, which may take less than all. Only the first send may be left, or the frame
/// would be torn by the program itself.
async fn send_by_parts(
    world: &World,
    writer: &mut WriteHalf,
    bytes: &[u8],
    mut leave: Leave,
) -> Option<std::io::Result<()>> {
    let mut sent = 0;
    while sent < bytes.len() {
        let buf = world.watch.holding(&bytes[sent..]);
        let BufResult(result, buf) = match world.run(leave, writer.write(buf)).await {
            Left::Ready(result) => result,
            _ => return None,
        };
        match result {
            Ok(n) => {
                assert_eq!(buf.bytes(), &bytes[sent..], "a sent buffer comes back as it was");
                sent += n;
            }
            Err(error) => return Some(Err(error)),
        }
        leave = Leave::Never;
    }
    Some(Ok(()))
}

async fn send_vectored(
    world: &World,
    writer: &mut WriteHalf,
    bytes: &[u8],
    leave: Leave,
) -> Option<std::io::Result<()>> {
    let cut = world.below(bytes.len());
    let parts = [world.watch.holding(&bytes[..cut]), world.watch.holding(&bytes[cut..])];
    let sent = match world.run(leave, writer.write_vectored(parts)).await {
        Left::Ready(BufResult(Ok(n), _)) => n,
        Left::Ready(BufResult(Err(error), _)) => return Some(Err(error)),
        _ => return None,
    };
    send_by_parts(world, writer, &bytes[sent..], Leave::Never).await
}

/// Reads to the end in every way there is, leaving receives as it likes.
async fn read_all(world: &World, reader: &mut ReadHalf) -> Vec<u8> {
    let mut all = Vec::new();
    let mut kept = Vec::new();
    loop {
        let leave = world.leave();
        let ended = match world.below(3) {
            0 => match world.run(leave, reader.recv()).await {
                Left::Ready(Ok(Some(chunk))) => {
                    all.extend_from_slice(&chunk);
                    if world.chance(1, 8) {
                        kept.push((chunk.to_vec(), chunk));
                    }
                    false
                }
                Left::Ready(Ok(None)) => true,
                Left::Ready(Err(error)) => !ringbolt::is_cancelled(&error),
                _ => false,
            },
            1 => {
                let buf = world.watch.buffer(1 + world.below(200));
                match world.run(leave, reader.read(buf)).await {
                    Left::Ready(BufResult(Ok(n), buf)) => {
                        assert_eq!(buf.bytes().len(), n);
                        all.extend_from_slice(buf.bytes());
                        n == 0
                    }
                    Left::Ready(BufResult(Err(error), _)) => !ringbolt::is_cancelled(&error),
                    _ => false,
                }
            }
            _ => {
                let bufs = [world.watch.buffer(1 + world.below(20)), world.watch.buffer(50)];
                match world.run(leave, reader.read_vectored(bufs)).await {
                    Left::Ready(BufResult(Ok(n), bufs)) => {
                        let before = all.len();
                        bufs.iter().for_each(|buf| all.extend_from_slice(buf.bytes()));
                        assert_eq!(all.len() - before, n);
                        n == 0
                    }
                    Left::Ready(BufResult(Err(error), _)) => !ringbolt::is_cancelled(&error),
                    _ => false,
                }
            }
        };
        if ended {
            break;
        }
        if world.chance(1, 4) {
            kept.pop();
        }
    }
    for (copy, chunk) in &kept {
        assert_eq!(copy, &**chunk, "a lent buffer was written to");
    }
    all
}

/// Compares what arrived with what was sent.
fn check(received: &[u8], fates: &[(u8, usize, Fate)]) {
    let mut rest = received;
    for (number, len, fate) in fates {
        let bytes = frame(*number, *len);
        if let Some(after) = rest.strip_prefix(&*bytes) {
            rest = after;
            continue;
        }
        match fate {
            Fate::Arrives => {
                panic!("frame {number} was sent, and is not what arrives: {fates:?} {rest:?}")
            }
            // In part only as the last that arrives.
            Fate::Unknown | Fate::Lost if bytes.starts_with(rest) => rest = &[],
            Fate::Unknown | Fate::Lost => {}
        }
    }
    assert!(rest.is_empty(), "{} bytes arrive that nobody sent: {fates:?}", rest.len());
}

/// Attempts that fail, end early or come to nothing.
pub(crate) async fn odds(world: World) {
    for _ in 0..1 + world.below(4) {
        match world.below(5) {
            0 => {
                let refused = world.run(world.leave(), TcpStream::connect("127.0.0.1:9")).await;
                assert!(refused.ready().is_none_or(|result| result.is_err()));
            }
            1 => {
                let mut listener = TcpListener::bind("127.0.0.1:0").await.expect("ports are free");
                let address = listener.local_addr().expect("it is bound");
                let leave = Leave::Drop(1 + world.below(4));
                let connected = world.run(leave, TcpStream::connect(address)).await;
                let limit = Duration::from_micros(world.below(3000) as u64);
                drop(ringbolt::timeout(limit, listener.accept()).await);
                drop(connected);
            }
            2 => {
                let sleeps = (0..world.below(20)).map(|i| Duration::from_micros(i as u64 * 70));
                for sleep in sleeps {
                    world.run(world.leave(), ringbolt::sleep(sleep)).await;
                }
            }
            3 => {
                let mut task = ringbolt::spawn(ringbolt::sleep(Duration::from_millis(3)));
                if world.chance(1, 2) {
                    task.abort();
                }
                world.run(world.leave(), task).await;
            }
            _ => {
                // A connection that breaks with bytes on both sides, or on their way.
                let Some((a, mut b)) = pair().await else { continue };
                let (mut reader, mut writer) = a.into_split();
                let limit = |us| Leave::Limit(Duration::from_micros(us));
                let buf: Watched = world.watch.holding(&[7; 90]);
                drop(world.run(limit(300), writer.write_all(buf)).await);
                drop(world.run(limit(300), b.write_all(vec![1u8; 30])).await);
                if world.chance(1, 2) {
                    drop(world.run(limit(500), reader.recv()).await.ready());
                }
                drop((reader, b));
                drop(world.run(limit(900), writer.write_all(vec![2u8; 200])).await);
            }
        }
    }
}

async fn pair() -> Option<(TcpStream, TcpStream)> {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.ok()?;
    let client = ringbolt::spawn(TcpStream::connect(listener.local_addr().ok()?));
    let (server, _) = listener.accept().await.ok()?;
    Some((client.await.ok()?.ok()?, server))
}
