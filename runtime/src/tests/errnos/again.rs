//! Requests that have to be made again: how often, and what if they are given up meanwhile.

use super::bench::*;
use super::expect::Seen;
use super::{subjects_file::*, subjects_net::*};
use crate::driver::uring::inject;
use crate::{Runtime, timeout, yield_now};
use std::pin::pin;
use std::time::Duration;

/// `times` requests fail with `number`, and the operation is seen to end so.
fn ends<S: Subject>(runtime: &Runtime, number: i32, times: u32, wanted: Seen, requests: u32) {
    println!("{}, {number}, {times} times", S::KIND.name);
    let bench = Bench::new();
    inject::clear();
    force(S::KIND.opcode, 0, times, -number);
    runtime.block_on(async {
        let mut subject = S::new(&bench);
        assert_eq!(seen(&subject.attempt().await), wanted);
        assert_eq!(inject::replaced(), requests);
        inject::clear();
        assert_eq!(seen(&subject.attempt().await), Seen::Done, "the next one");
        drop(subject);
        at_rest(&bench).await;
    });
}

#[test]
fn an_interrupted_request_is_made_again_as_often_as_it_takes() {
    let Some(runtime) = runtime() else { return };
    ends::<RecvOnce>(&runtime, libc::EINTR, 1000, Seen::Done, 1000);
    ends::<SendMsgInLane>(&runtime, libc::EINTR, 1000, Seen::Done, 1000);
    ends::<WriteParts>(&runtime, libc::EINTR, 1000, Seen::Done, 1000);
    ends::<RecvMany>(&runtime, libc::EINTR, 1000, Seen::Done, 1000);
    ends::<AcceptMany>(&runtime, libc::ECONNABORTED, 1000, Seen::Done, 1000);
    inject::clear();
}

#[test]
fn a_file_that_will_not_wait_is_asked_a_few_times() {
    let Some(runtime) = runtime() else { return };
    ends::<ReadAt>(&runtime, libc::EAGAIN, 8, Seen::Done, 8);
    ends::<ReadAt>(&runtime, libc::EAGAIN, 100, Seen::Error(libc::EAGAIN), 9);
    ends::<WriteParts>(&runtime, libc::EAGAIN, 8, Seen::Done, 8);
    ends::<WriteParts>(&runtime, libc::EAGAIN, 100, Seen::Error(libc::EAGAIN), 9);
    inject::clear();
}

/// A receive without the pool takes over, and the pool is tried again later.
#[test]
fn an_empty_pool_stops_nobody() {
    let Some(runtime) = runtime() else { return };
    ends::<RecvMany>(&runtime, libc::ENOBUFS, 2, Seen::Done, 2);
    inject::clear();
}

#[test]
fn a_limit_ends_a_request_that_never_succeeds() {
    async fn limited<S: Subject>(bench: &Bench, number: i32) -> Result<Seen, crate::Elapsed> {
        inject::clear();
        force(S::KIND.opcode, 0, u32::MAX, -number);
        let mut subject = S::new(bench);
        let result = timeout(Duration::from_millis(3), subject.attempt()).await;
        inject::clear();
        assert_eq!(seen(&subject.attempt().await), Seen::Done, "the next one");
        drop(subject);
        at_rest(bench).await;
        result.map(|result| seen(&result))
    }
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    let cancelled = Ok(Seen::Error(libc::ECANCELED));
    runtime.block_on(async {
        assert_eq!(limited::<RecvOnce>(&bench, libc::EINTR).await, cancelled);
        assert_eq!(limited::<SendInLane>(&bench, libc::EINTR).await, cancelled);
        assert_eq!(limited::<ReadAt>(&bench, libc::EINTR).await, cancelled);
        assert!(limited::<RecvMany>(&bench, libc::EINTR).await.is_err());
        assert!(limited::<AcceptMany>(&bench, libc::EMFILE).await.is_err());
    });
    inject::clear();
}

/// The lane has to know the request that was made last.
#[test]
fn a_request_that_was_made_again_can_be_given_up() {
    async fn given_up<S: Subject>(bench: &Bench) {
        inject::clear();
        force(S::KIND.opcode, 0, 1, -libc::EINTR);
        let mut subject = S::new(bench);
        {
            let mut attempt = pin!(subject.attempt());
            assert!(poll_once(attempt.as_mut()).await.is_pending());
            yield_now().await;
            assert!(poll_once(attempt.as_mut()).await.is_pending());
            assert_eq!(inject::replaced(), 1);
        }
        assert_eq!(seen(&subject.attempt().await), Seen::Done, "the next one");
        drop(subject);
        at_rest(bench).await;
    }
    let Some(runtime) = runtime() else { return };
    let bench = Bench::new();
    runtime.block_on(async {
        given_up::<RecvInLane>(&bench).await;
        given_up::<RecvMsgInLane>(&bench).await;
        given_up::<SendInLane>(&bench).await;
        given_up::<SendMsgInLane>(&bench).await;
    });
    inject::clear();
}
