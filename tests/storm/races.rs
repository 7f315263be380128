//! Races: a cancel and the data that the operation waits for come at about the same time.
//!
//! Each pair has one outcome: the record was received by the operation, or it is still in the
//! channel. The book of the channel knows if it is in both or in neither.

use crate::channel::{Channel, Feed};
use crate::ledger;
use crate::round::Round;
use ringbolt::DriverKind;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Who sends, and when.
#[derive(Clone, Copy, Debug)]
enum Sender {
    Before,
    After,
    /// A thread of its own, at any time.
    Thread,
    /// The runtime, in the same turn.
    Runtime,
}

/// Many races on a few channels.
pub(crate) async fn run(round: Round) -> (impl FnOnce(), bool) {
    let mut channels: Vec<_> = (0..32).map(|_| Channel::socket(&round.arena)).collect();
    if round.driver == DriverKind::Uring {
        channels.extend((0..16).map(|_| Channel::pipe(&round.arena, round.driver)));
    }
    let rests: Vec<_> = channels.iter().map(Channel::rest).collect();
    let (work, jobs) = mpsc::channel::<Vec<Feed>>();
    let (done, results) = mpsc::channel();
    // It ends when `work` is dropped.
    let thread = std::thread::spawn(move || {
        while let Ok(feeds) = jobs.recv() {
            let sent: Vec<_> = feeds.iter().map(Feed::send).collect();
            if done.send(sent).is_err() {
                return;
            }
        }
    });
    for _ in 0..100 {
        let sender = match fastrand::u8(..4) {
            0 => Sender::Before,
            1 => Sender::After,
            2 => Sender::Thread,
            _ => Sender::Runtime,
        };
        race(&channels, sender, &work, &results).await;
    }
    drop(work);
    let last = move || {
        thread.join().expect("the sender does not fail");
        rests.into_iter().for_each(crate::channel::Rest::check);
    };
    (last, true)
}

/// One race on each channel.
async fn race(
    channels: &[Channel],
    sender: Sender,
    work: &mpsc::Sender<Vec<Feed>>,
    results: &mpsc::Receiver<Vec<std::io::Result<usize>>>,
) {
    let limited = fastrand::bool();
    let mut waits: Vec<Boxed> = Vec::with_capacity(channels.len());
    for channel in channels {
        ledger::note(|counts| counts.raced += 1);
        // A limit passes while the record is on its way, or the future is dropped below.
        let limit = match limited {
            true => Duration::from_nanos(fastrand::u64(..60_000)),
            false => Duration::from_secs(20),
        };
        let mut wait: Boxed = match (channel.is_pipe(), fastrand::bool()) {
            (true, _) => Box::pin(quietly(limit, channel.read())),
            (false, true) => Box::pin(quietly(limit, channel.recv())),
            (false, false) => Box::pin(quietly(limit, channel.recv_msg())),
        };
        crate::leave::poll_some(&mut wait, 1).await;
        waits.push(wait);
    }
    for _ in 0..fastrand::u8(..3) {
        ringbolt::yield_now().await;
    }
    let feeds = |channels: &[Channel]| channels.iter().map(Channel::feed).collect::<Vec<_>>();
    let feed = |channels: &[Channel]| {
        for (channel, feed) in channels.iter().zip(feeds(channels)) {
            channel.fed(&feed, feed.send());
        }
    };
    let mut pending = None;
    match sender {
        Sender::Before => feed(channels),
        Sender::After => {}
        Sender::Thread => {
            let feeds = feeds(channels);
            work.send(feeds.clone()).expect("the thread runs");
            pending = Some(feeds);
            for _ in 0..fastrand::u16(..300) {
                std::hint::spin_loop();
            }
        }
        Sender::Runtime => {
            let limit = Duration::from_secs(20);
            for channel in channels {
                let mut send: Boxed = match channel.is_pipe() {
                    true => Box::pin(quietly(limit, channel.write())),
                    false => Box::pin(quietly(limit, channel.send())),
                };
                crate::leave::poll_some(&mut send, fastrand::u32(1..3)).await;
            }
        }
    }
    if limited {
        for wait in waits {
            wait.await;
        }
    } else {
        drop(waits);
    }
    if let Sender::After = sender {
        feed(channels);
    }
    while ringbolt::metrics().in_flight > 0 {
        ringbolt::yield_now().await;
    }
    if let Some(feeds) = pending {
        let sent = results.recv().expect("the thread answers");
        for ((channel, feed), result) in channels.iter().zip(&feeds).zip(sent) {
            channel.fed(feed, result);
        }
    }
    for channel in channels {
        channel.receive_rest();
    }
}

async fn quietly<F: Future>(limit: Duration, future: F) {
    drop(ringbolt::timeout(limit, future).await);
}
