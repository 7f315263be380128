//! Nobody starves: neither tasks, nor operations, nor timers.

use crate::support::*;
use ringbolt::{metrics, sleep, spawn, yield_now};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Tasks that are always ready, until they are told to stop.
fn yielders(count: usize) -> (Rc<Cell<bool>>, Vec<ringbolt::JoinHandle<u64>>) {
    let stop = Rc::new(Cell::new(false));
    let tasks = (0..count)
        .map(|_| {
            let stop = stop.clone();
            spawn(async move {
                let mut rounds = 0;
                while !stop.get() {
                    yield_now().await;
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    (stop, tasks)
}

#[test]
fn tasks_that_are_always_ready_do_not_starve_an_echo() {
    on_every_driver(async |_| {
        for count in [1, 1000] {
            let (mut left, mut right) = pair().await;
            let echo = spawn(async move {
                while let Some(chunk) = right.recv().await.unwrap() {
                    right.write_all(chunk).await.unwrap();
                }
            });
            let (stop, tasks) = yielders(count);
            let before = metrics().turns;
            for round in 0..50_u8 {
                left.write_all(vec![round]).await.unwrap();
                let chunk = left.recv().await.unwrap().expect("an echo");
                assert_eq!(*chunk, [round]);
            }
            // With a share for everybody, a round trip takes a bounded number of turns. The
            // readiness driver looks at the poller once in 16 turns, and there are four waits in a
            // round.
            let turns = metrics().turns - before;
            assert!(turns < 50 * 6 * 20, "{turns} turns for 50 round trips");
            drop(left);
            stop.set(true);
            for task in tasks {
                task.await.unwrap();
            }
            echo.await.unwrap();
        }
    });
}

#[test]
fn tasks_that_are_always_ready_do_not_starve_timers_and_one_another() {
    on_every_driver(async |_| {
        let (stop, tasks) = yielders(600);
        for _ in 0..5 {
            sleep(Duration::from_millis(1)).await;
        }
        stop.set(true);
        let mut rounds = Vec::new();
        for task in tasks {
            rounds.push(task.await.unwrap());
        }
        let (least, most) = (rounds.iter().min().unwrap(), rounds.iter().max().unwrap());
        assert!(most - least <= 2, "from {least} to {most} rounds");
    });
}

#[test]
fn a_flood_does_not_starve_another_connection() {
    on_every_driver(async |_| {
        let (mut flooded, mut flood) = pair_with_std().await;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let theirs = stop.clone();
        let thread = std::thread::spawn(move || {
            let block = pattern(1 << 16);
            while !theirs.load(std::sync::atomic::Ordering::SeqCst) {
                std::io::Write::write_all(&mut flood, &block).unwrap();
            }
        });
        let total = Rc::new(Cell::new(0));
        let theirs = total.clone();
        let swallow = spawn(async move {
            while let Some(chunk) = flooded.recv().await.unwrap() {
                theirs.set(theirs.get() + chunk.len());
            }
        });
        until("the flood runs", || total.get() > 1 << 20).await;
        let (mut left, mut right) = pair().await;
        let before = metrics().turns;
        for round in 0..50_u8 {
            left.write_all(vec![round]).await.unwrap();
            assert_eq!(*right.recv().await.unwrap().expect("a byte"), [round]);
        }
        let turns = metrics().turns - before;
        assert!(turns < 50 * 6 * 20, "{turns} turns for 50 messages");
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        swallow.await.unwrap();
        thread.join().unwrap();
    });
}
