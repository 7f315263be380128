//! A thousand signals in a second, and a process that is stopped again and again: nothing is lost.

use crate::process::{Peer, hear, role, say, send_signal};
use crate::{alone, at_rest, figure, on_every_driver, scaled, until};
use ringbolt::fs::OpenOptions;
use ringbolt::net::{ListenOptions, TcpStream};
use ringbolt::{Builder, spawn};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Sends this process SIGALRM a thousand times in a second, and lets it interrupt system calls.
fn start_signals() {
    // SAFETY: all zeros are a valid value, with no flags: calls are not restarted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count_signal as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the action is passed by a valid pointer, and its function only adds to an atomic.
    let set = unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let period = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: period, it_value: period };
    // SAFETY: the timer is passed by a valid pointer.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

/// The other process: stops the one that started it, for two milliseconds out of ten.
fn stopper() {
    static OVER: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let _ = hear();
        OVER.store(true, Ordering::SeqCst);
    });
    let mut stops = 0u64;
    while !OVER.load(Ordering::SeqCst) {
        let victim = std::os::unix::process::parent_id();
        send_signal(victim, libc::SIGSTOP);
        std::thread::park_timeout(Duration::from_millis(2));
        send_signal(victim, libc::SIGCONT);
        std::thread::park_timeout(Duration::from_millis(8));
        stops += 1;
    }
    say(stops);
}

#[test]
fn signals_and_stops_cost_no_byte() {
    if !alone(module_path!(), "signals_and_stops_cost_no_byte") {
        return;
    }
    if role().is_some() {
        return stopper();
    }
    let rounds = scaled(300, 20_000, 100_000);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    start_signals();
    on_every_driver(&Builder::new(), |runtime, name| {
        let before = SIGNALS.load(Ordering::Relaxed);
        let mut stopper = Peer::start("stopper", &[]);
        runtime.block_on(async {
            let options = ListenOptions::new().nodelay(true);
            let mut listener = options.listen("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut serving = spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    drop(spawn(async move {
                        while let Some(chunk) = stream.recv().await.unwrap() {
                            stream.write_all(chunk).await.unwrap();
                        }
                    }));
                }
            });
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true);
            let file = options.open(&path).await.unwrap();
            let mut stream = TcpStream::connect(address).await.unwrap();
            for round in 0..rounds {
                if round % 16 == 0 {
                    stream = TcpStream::connect(address).await.unwrap();
                }
                let len = 1 + (round * 7919 % 20_000) as usize;
                let sent: Vec<u8> = (0..len).map(|n| (n as u64 * 31 + round) as u8).collect();
                let sent = stream.write_all(sent).await.unwrap().1;
                let mut got = Vec::with_capacity(len);
                while got.len() < len {
                    got.extend_from_slice(&stream.recv().await.unwrap().expect("an echo"));
                }
                assert_eq!(got, sent, "round {round}");
                let sent = file.write_all_at(sent, round * 64).await.unwrap().1;
                let room = Vec::with_capacity(len);
                let (_, got) = file.read_exact_at(room, round * 64).await.unwrap();
                assert_eq!(got, sent, "round {round}");
                if round % 64 == 0 {
                    file.sync_data().await.unwrap();
                    ringbolt::fs::metadata(&path).await.unwrap();
                    let start = Instant::now();
                    ringbolt::sleep(Duration::from_millis(3)).await;
                    assert!(start.elapsed() >= Duration::from_millis(3), "a timer was early");
                }
            }
            until("signals have come", || SIGNALS.load(Ordering::Relaxed) > before + 100).await;
            stopper.tell("end");
            let stops = stopper.heard().await;
            figure(&format!("signals on {name}"), SIGNALS.load(Ordering::Relaxed) - before, "");
            figure(&format!("stops on {name}"), &stops, "");
            assert!(stops.parse::<u64>().unwrap() > 0);
            file.close().await.unwrap();
            drop(stream);
            until("all have gone", || ringbolt::metrics().tasks == 1).await;
            serving.abort();
            drop(serving.await);
            at_rest().await;
        });
        assert!(stopper.end().success());
    });
}
