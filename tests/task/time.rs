//! Timers.

use crate::support::*;
use ringbolt::{Missed, interval, metrics, sleep, sleep_until, spawn};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

#[test]
fn timers_fire_in_order_and_never_early() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let fired = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let tasks: Vec<_> = (0..300)
            .map(|_| {
                let (deadline, fired) = (start + MS * rng.below(40) as u32, fired.clone());
                spawn(async move {
                    let mut timer = sleep_until(deadline);
                    // What has passed already is not set, and so has no place in the order.
                    if poll_once(&mut timer).await.is_pending() {
                        timer.await;
                        fired.borrow_mut().push((deadline, Instant::now()));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let fired = fired.borrow();
        assert!(fired.iter().all(|(deadline, now)| now >= deadline));
        assert!(fired.is_sorted_by_key(|(deadline, _)| *deadline));
        assert_eq!(metrics().timers, 0);
    });
}

#[test]
fn ten_thousand_timers() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let start = Instant::now();
        let tasks: Vec<_> = (0..10_000)
            .map(|_| {
                let delay = Duration::from_micros(rng.below(60_000) as u64);
                spawn(async move {
                    sleep_until(start + delay).await;
                    assert!(start.elapsed() >= delay);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(start.elapsed() >= 50 * MS);
        assert_eq!(metrics().timers, 0);
    });
}

#[test]
fn dropped_timers_are_gone() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let mut timers = Vec::new();
        for _ in 0..10_000 {
            let mut timer = sleep(Duration::from_millis(1000 + rng.below(1 << 30) as u64));
            assert!(poll_once(&mut timer).await.is_pending());
            timers.push(timer);
        }
        assert_eq!(metrics().timers, 10_000);
        while timers.len() > 5_000 {
            drop(timers.swap_remove(rng.below(timers.len())));
        }
        assert_eq!(metrics().timers, 5_000);
        drop(timers);
        assert_eq!(metrics().timers, 0);
        // One that was never polled was never set.
        drop(sleep(Duration::from_secs(1)));
        let fired = metrics().timers_fired;
        sleep(MS).await;
        assert_eq!(metrics().timers_fired, fired + 1);
    });
}

#[test]
fn the_shortest_and_the_longest() {
    on_every_driver(async |_| {
        sleep(Duration::ZERO).await;
        sleep_until(Instant::now() - Duration::from_millis(5)).await;
        assert_eq!(metrics().timers, 0);
        for long in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 40)] {
            let mut timer = sleep(long);
            assert!(poll_once(&mut timer).await.is_pending());
            assert!(timer.deadline() > Instant::now() + Duration::from_secs(1 << 29));
            sleep(MS).await;
            assert!(poll_once(&mut timer).await.is_pending());
        }
        let mut rare = interval(Duration::MAX);
        rare.tick().await;
        let mut tick = Box::pin(rare.tick());
        assert!(poll_once(&mut tick).await.is_pending());
    });
}

#[test]
fn a_timer_is_moved() {
    on_every_driver(async |_| {
        let start = Instant::now();
        let mut timer = sleep(Duration::from_secs(3600));
        assert!(poll_once(&mut timer).await.is_pending());
        timer.reset(start + 2 * MS);
        assert_eq!(timer.deadline(), start + 2 * MS);
        (&mut timer).await;
        assert!(start.elapsed() >= 2 * MS);
        // Also after its end, and to later.
        let start = Instant::now();
        timer.reset(start + 2 * MS);
        (&mut timer).await;
        assert!(start.elapsed() >= 2 * MS);
        timer.reset(Instant::now() + Duration::from_secs(3600));
        assert!(poll_once(&mut timer).await.is_pending());
        assert_eq!(metrics().timers, 1);
    });
}

#[test]
fn ticks_come_in_their_rhythm() {
    on_every_driver(async |_| {
        let start = Instant::now();
        let mut clock = interval(3 * MS);
        assert_eq!(clock.period(), 3 * MS);
        let first = clock.tick().await;
        assert!(first >= start && start.elapsed() < Duration::from_secs(1));
        let mut last = first;
        for _ in 0..5 {
            // A tick that nobody waited for to its end is not lost.
            let mut tick = Box::pin(clock.tick());
            let _ = poll_once(&mut tick).await;
            drop(tick);
            let due = clock.tick().await;
            let now = Instant::now();
            assert!(due <= now && due > last);
            assert_eq!((due - first).as_nanos() % (3 * MS).as_nanos(), 0);
            last = due;
        }
    });
}

/// Keeps the core busy, so that ticks are missed.
fn block_until(end: Instant) {
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

#[test]
fn what_becomes_of_missed_ticks() {
    on_every_driver(async |_| {
        for mode in [Missed::Skip, Missed::Delay, Missed::Burst] {
            let mut clock = interval(2 * MS).missed(mode);
            let first = clock.tick().await;
            block_until(first + 7 * MS);
            let late = clock.tick().await;
            assert_eq!(late, first + 2 * MS, "{mode:?}");
            let now = Instant::now();
            let next = clock.tick().await;
            match mode {
                Missed::Skip => {
                    assert!(next + 2 * MS > now, "{mode:?}: an old tick");
                    assert_eq!((next - first).as_nanos() % (2 * MS).as_nanos(), 0, "{mode:?}");
                }
                Missed::Delay => assert!(next > first + 9 * MS - MS / 10, "{mode:?}"),
                Missed::Burst => {
                    assert_eq!(next, first + 4 * MS);
                    assert_eq!(clock.tick().await, first + 6 * MS);
                }
            }
        }
    });
}

#[test]
fn a_period_of_zero_is_refused() {
    on_every_driver(async |_| {
        let refused = spawn(async { interval(Duration::ZERO).tick().await }).await.unwrap_err();
        assert!(refused.to_string().contains("must not be zero"), "{refused}");
    });
}
