//! Receiving, sending, splitting and ending a stream.

use crate::support::*;
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{BufResult, io, timeout};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net;
use std::task::Poll;
use std::time::Duration;

/// Receives until `len` bytes are there.
async fn gather(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < len {
        got.extend_from_slice(&stream.recv().await.unwrap().expect("more bytes"));
    }
    got
}

#[test]
fn every_way_to_receive_continues_the_others() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let (mut stream, mut peer) = pair_with_std().await;
        let content = pattern(300_000);
        let sent = content.clone();
        let sender = std::thread::spawn(move || {
            for part in sent.chunks(7001) {
                peer.write_all(part).unwrap();
            }
        });
        let mut got = Vec::new();
        loop {
            let room = 1 + rng.below(3000);
            match rng.below(4) {
                0 => match stream.recv().await.unwrap() {
                    Some(chunk) => got.extend_from_slice(&chunk),
                    None => break,
                },
                1 => {
                    let (n, buf) = stream.read(Vec::with_capacity(room)).await.unwrap();
                    assert_eq!(n, buf.len());
                    got.extend_from_slice(&buf);
                }
                2 => {
                    let bufs = [Vec::with_capacity(room), Vec::with_capacity(10)];
                    let (n, [a, b]) = stream.read_vectored(bufs).await.unwrap();
                    assert_eq!(n, a.len() + b.len());
                    got.extend_from_slice(&a);
                    got.extend_from_slice(&b);
                }
                _ => {
                    let room = room.min(content.len() - got.len());
                    let BufResult(result, buf) =
                        io::Read::read_exact(&mut stream, Vec::with_capacity(room)).await;
                    result.unwrap();
                    got.extend_from_slice(&buf);
                }
            }
        }
        assert!(got == content, "{} of {} bytes", got.len(), content.len());
        // The end stays the end, however it is asked for.
        assert_eq!(stream.read(vec![1]).await.unwrap(), (0, vec![]));
        assert!(stream.recv().await.unwrap().is_none());
        assert_eq!(stream.read_vectored([vec![1]]).await.unwrap().0, 0);
        sender.join().unwrap();
    });
}

#[test]
fn a_buffer_without_room_receives_nothing() {
    on_every_driver(async |_| {
        let (mut stream, mut peer) = pair_with_std().await;
        assert_eq!(stream.read(Vec::new()).await.unwrap().0, 0);
        peer.write_all(b"x").unwrap();
        assert_eq!(stream.read(Vec::new()).await.unwrap().0, 0);
        assert_eq!(gather(&mut stream, 1).await, b"x");
        // What was received ahead is not lost by it either.
        peer.write_all(b"yz").unwrap();
        assert_eq!(gather(&mut stream, 2).await, b"yz");
        peer.write_all(b"end").unwrap();
        until_readable(&stream).await;
        let none: [Vec<u8>; 0] = [];
        timeout(Duration::from_secs(5), stream.read_vectored(none)).await.unwrap().unwrap();
        assert_eq!(gather(&mut stream, 3).await, b"end");
    });
}

async fn until_readable(stream: &TcpStream) {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    until("bytes have come", || stream.socket().peek(&mut byte).is_ok()).await;
}

#[test]
fn a_dropped_receive_loses_nothing() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let (mut stream, mut peer) = pair_with_std().await;
        let content = pattern(200_000);
        let sent = content.clone();
        let sender = std::thread::spawn(move || {
            for part in sent.chunks(997) {
                peer.write_all(part).unwrap();
            }
        });
        let mut got = Vec::new();
        while got.len() < content.len() {
            let limit = Duration::from_micros(rng.below(60) as u64);
            match rng.below(3) {
                0 => {
                    if let Ok(Ok(Some(chunk))) = timeout(limit, stream.recv()).await {
                        got.extend_from_slice(&chunk);
                    }
                }
                1 => {
                    // Dropped without the help of a time limit, at any of the first polls.
                    let mut read = Box::pin(stream.read(Vec::with_capacity(1500)));
                    for _ in 0..rng.below(4) {
                        if let Poll::Ready(done) = poll_once(&mut read).await {
                            got.extend_from_slice(&done.unwrap().1);
                            break;
                        }
                        ringbolt::yield_now().await;
                    }
                }
                _ => {
                    let read = stream.read(Vec::with_capacity(500));
                    if let Ok(BufResult(Ok(_), buf)) = timeout(limit, read).await {
                        got.extend_from_slice(&buf);
                    }
                }
            }
        }
        assert!(got == content);
        assert!(stream.recv().await.unwrap().is_none());
        sender.join().unwrap();
    });
}

/// Polls a few times, with a turn in between; the output if there is one.
async fn poll_some<F: Future + Unpin>(future: &mut F, waits: usize) -> Option<F::Output> {
    for _ in 0..waits {
        if let Poll::Ready(output) = poll_once(future).await {
            return Some(output);
        }
        ringbolt::yield_now().await;
    }
    match poll_once(future).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn leave<F>(future: F, forget: bool) {
    if forget {
        std::mem::forget(future);
    }
}

#[test]
fn a_dropped_receive_into_buffers_loses_nothing() {
    on_every_driver(async |case| {
        let mut rng = Rng::new();
        for vectored in [false, true] {
            let (mut stream, mut peer) = pair_with_std().await;
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for _ in 0..200 {
                let part = pattern(1 + rng.below(300));
                let early = rng.chance(1, 2);
                if early {
                    peer.write_all(&part).unwrap();
                }
                // Without the pool, which a call of `recv` would start. What a finished receive got
                // counts, what it gets after its future has gone has to come with the next.
                let waits = rng.below(4);
                if vectored {
                    let room = [Vec::with_capacity(7), Vec::with_capacity(90)];
                    let mut read = Box::pin(stream.read_vectored(room));
                    if let Some(done) = poll_some(&mut read, waits).await {
                        got.extend_from_slice(&done.unwrap().1.concat());
                    }
                    leave(read, rng.chance(1, 4));
                } else {
                    let mut read = Box::pin(stream.read(Vec::with_capacity(100)));
                    if let Some(done) = poll_some(&mut read, waits).await {
                        got.extend_from_slice(&done.unwrap().1);
                    }
                    leave(read, rng.chance(1, 4));
                }
                if !early {
                    peer.write_all(&part).unwrap();
                }
                sent.extend_from_slice(&part);
            }
            drop(peer);
            loop {
                match stream.read(Vec::with_capacity(999)).await.unwrap() {
                    (0, _) => break,
                    (_, bytes) => got.extend_from_slice(&bytes),
                }
            }
            let lost = sent.len() - got.len().min(sent.len());
            assert!(got == sent, "{lost} bytes lost, vectored: {vectored}, on {}", case.name);
        }
    });
}

#[test]
fn both_directions_at_a_time() {
    on_every_driver(async |_| {
        let (mut left, right) = pair().await;
        let content = pattern(2_000_000);
        let echo = ringbolt::spawn(async move {
            let (mut reader, mut writer) = right.into_split();
            let copied = io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
            let whole = writer.reunite(reader).expect("of one stream");
            assert!(whole.local_addr().is_ok());
            copied
        });
        let (reader, writer) = left.split();
        let send = async {
            let back = writer.write_all(content.clone()).await.unwrap().1;
            writer.shutdown().await.unwrap();
            back
        };
        let receive = async { io::Read::read_to_end(reader, Vec::new()).await.unwrap() };
        let (back, (n, got)) = join(send, receive).await;
        assert!(got == content && back == content);
        assert_eq!(n, content.len());
        assert_eq!(echo.await.unwrap(), content.len() as u64);
    });
}

#[test]
fn halves_of_different_streams_do_not_reunite() {
    on_every_driver(async |_| {
        let ((a, _a), (b, _b)) = (pair().await, pair().await);
        let ((a_read, a_write), (b_read, b_write)) = (a.into_split(), b.into_split());
        let error = a_write.reunite(b_read).unwrap_err();
        assert_eq!(error.to_string(), "the two halves are not of one stream");
        let (b_read, a_write) = (error.0, error.1);
        a_write.reunite(a_read).unwrap();
        b_write.reunite(b_read).unwrap();
    });
}

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    on_every_driver(async |_| {
        // Ours first.
        let (mut stream, mut peer) = pair_with_std().await;
        stream.write_all("question").await.unwrap();
        stream.shutdown(net::Shutdown::Write).await.unwrap();
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        peer.write_all(b"answer").unwrap();
        assert_eq!(gather(&mut stream, 6).await, b"answer");
        assert_eq!(stream.write_all("more").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(peer);
        assert!(stream.recv().await.unwrap().is_none());

        // The peer's first, then the drop of our sending half.
        let (stream, mut peer) = pair_with_std().await;
        let (mut reader, mut writer) = stream.into_split();
        peer.shutdown(net::Shutdown::Write).unwrap();
        assert!(reader.recv().await.unwrap().is_none());
        writer.write_all("late").await.unwrap();
        drop(writer);
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "late");
        assert!(reader.recv().await.unwrap().is_none());
    });
}

#[test]
fn dropping_a_stream_with_a_pending_receive_ends_it_at_once() {
    on_every_driver(async |_| {
        for one_shot in [false, true] {
            let (mut stream, mut peer) = pair_with_std().await;
            peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut peer_end = ringbolt::spawn_blocking(move || peer.read(&mut [0]));
            let task = ringbolt::spawn(async move {
                if one_shot {
                    drop(stream.read(Vec::with_capacity(8)).await);
                } else {
                    drop(stream.recv().await);
                }
            });
            turns(5).await;
            assert!(poll_once(&mut peer_end).await.is_pending());
            let mut task = task;
            task.abort();
            assert!(task.await.unwrap_err().is_aborted());
            assert_eq!(peer_end.await.unwrap().unwrap(), 0, "one shot: {one_shot}");
        }
    });
}

#[test]
fn what_was_sent_before_a_drop_arrives() {
    on_every_driver(async |_| {
        let (mut stream, mut peer) = pair_with_std().await;
        let content = pattern(50_000);
        stream.write_all(content.clone()).await.unwrap();
        drop(stream);
        let reader = ringbolt::spawn_blocking(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).map(|_| got)
        });
        assert!(reader.await.unwrap().unwrap() == content);
    });
}

#[test]
fn bytes_before_a_reset_come_first() {
    on_every_driver(async |_| {
        let (mut stream, mut peer) = pair_with_std().await;
        let mut recv = Box::pin(stream.recv());
        assert!(poll_once(&mut recv).await.is_pending());
        turns(3).await;
        peer.write_all(b"last words").unwrap();
        let chunk = recv.await.unwrap().expect("bytes");
        assert_eq!(&*chunk, b"last words");
        drop(chunk);
        reset(peer);
        let received = stream.recv().await.map(|chunk| chunk.map_or(0, |chunk| chunk.len()));
        assert!(is_reset(received));
    });
}

#[test]
fn streams_of_std_and_back() {
    on_every_driver(async |_| {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = connect_std(listener.local_addr().unwrap());
        let mut listener = TcpListener::from_std(listener).unwrap();
        let (mut stream, address) = listener.accept().await.unwrap();
        assert_eq!(address, peer.local_addr().unwrap());
        assert_eq!(stream.local_addr().unwrap(), peer.peer_addr().unwrap());
        stream.set_nodelay(true).unwrap();
        assert!(stream.socket().tcp_nodelay().unwrap());
        stream.write_all("to").await.unwrap();
        let std_stream = stream.into_std().unwrap();
        let mut stream = TcpStream::from_std(std_stream).unwrap();
        stream.write_all("gether").await.unwrap();
        let mut text = [0; 8];
        peer.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"together");

        // A receive that is in flight belongs to this core.
        let mut recv = Box::pin(stream.recv());
        assert!(poll_once(&mut recv).await.is_pending());
        drop(recv);
        let error = stream.into_std().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    });
}

#[test]
fn vectored_sends_keep_the_order() {
    on_every_driver(async |_| {
        let (mut stream, mut peer) = pair_with_std().await;
        let reader = ringbolt::spawn_blocking(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).map(|_| got)
        });
        let mut wanted = Vec::new();
        for round in 0..50_usize {
            let parts: Vec<Vec<u8>> = (0..round % 12).map(|i| pattern(i * 31 + round)).collect();
            let all = parts.concat();
            let (n, parts) = stream.write_vectored(parts).await.unwrap();
            assert_eq!(parts.concat(), all);
            wanted.extend_from_slice(&all[..n]);
        }
        drop(stream);
        assert!(reader.await.unwrap().unwrap() == wanted);
    });
}
