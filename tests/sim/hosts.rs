//! Hosts of a simulated world: how they stop, what is between them, and whose panics count.

use ringbolt::fs::{self, File};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::sim::{self, Faults, Host, World};
use ringbolt::{now, sleep, timeout};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

const SEEDS: u64 = 100;
const MS: Duration = Duration::from_millis(1);

/// What a host received on port 7 from its only client.
#[derive(Clone, Default)]
struct Got {
    bytes: Rc<Cell<Vec<u8>>>,
    ended: Rc<Cell<bool>>,
}

fn sink() -> (Host, Got) {
    let (host, got) = (sim::host("sink"), Got::default());
    let so_far = got.clone();
    host.spawn(|| async move {
        let mut listener = TcpListener::bind("0.0.0.0:7").await?;
        let (mut stream, _) = listener.accept().await?;
        while let Some(chunk) = stream.recv().await? {
            let mut bytes = so_far.bytes.take();
            bytes.extend_from_slice(&chunk);
            so_far.bytes.set(bytes);
        }
        so_far.ended.set(true);
        io::Result::Ok(())
    });
    (host, got)
}

async fn connect(to: &str) -> TcpStream {
    loop {
        match TcpStream::connect(to).await {
            Ok(stream) => return stream,
            Err(_) => sleep(MS).await,
        }
    }
}

#[test]
fn what_a_cut_held_back_comes_before_what_was_sent_later() {
    World::new(0).explore(SEEDS, || async {
        let (host, got) = sink();
        let here = sim::this_host();
        let mut stream = connect("sink:7").await;
        let mut sent = Vec::new();
        for i in 0..60u8 {
            match sim::below(4) {
                0 => here.cut(&host),
                1 => here.heal(&host),
                _ => {}
            }
            stream.write_all([i].to_vec()).await.0.unwrap();
            sent.push(i);
            sleep(Duration::from_micros(sim::below(1500))).await;
        }
        drop(stream);
        sleep(Duration::from_micros(sim::below(1500))).await;
        here.heal(&host);
        while !got.ended.get() {
            sleep(MS).await;
        }
        assert_eq!(got.bytes.take(), sent);
    });
}

#[test]
fn a_program_that_ends_closes_its_connections_and_keeps_its_files() {
    World::new(0).faults(Faults::none()).explore(SEEDS, || async {
        let server = sim::host("server");
        let serve = || async {
            fs::write("/tmp/log", "not synced").await.0?;
            let mut listener = TcpListener::bind("0.0.0.0:7").await?;
            let mut streams = Vec::new();
            loop {
                streams.push(listener.accept().await?);
            }
            #[allow(unreachable_code)]
            io::Result::Ok(())
        };
        server.spawn(serve);
        let mut stream = connect("server:7").await;
        server.shutdown();
        assert!(!server.is_on());
        let end = timeout(Duration::from_secs(1), stream.recv()).await;
        assert!(end.expect("the system closes the connection").unwrap().is_none());
        let refused = TcpStream::connect("server:7").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        server.restart();
        let text = server.spawn(|| fs::read_to_string("/tmp/log")).await.unwrap();
        assert_eq!(text.unwrap(), "not synced");
    });
}

#[test]
fn another_host_is_crashed_and_restarted_at_once() {
    World::new(0).explore(SEEDS, || async {
        let host = sim::host("other");
        for round in 0..3 {
            let pending = host.spawn(std::future::pending::<()>);
            sleep(Duration::from_micros(sim::below(300))).await;
            host.crash();
            assert!(!host.is_on());
            host.restart();
            assert!(pending.await.unwrap_err().is_aborted());
            assert_eq!(host.spawn(move || async move { round }).await.unwrap(), round);
        }
    });
}

#[test]
fn a_start_knows_nothing_of_what_was_asked_before_it() {
    let mut faults = Faults::usual();
    // Cancels are on their way for long.
    faults.delay = Duration::ZERO..MS * 3;
    World::new(0).faults(faults).explore(SEEDS, || async {
        let host = sim::host("other");
        for _ in 0..5 {
            host.spawn(|| async {
                loop {
                    let _ = timeout(Duration::ZERO, fs::metadata("/tmp")).await;
                }
            });
            sleep(Duration::from_micros(sim::below(1500))).await;
            host.crash();
            host.restart();
            let asked = host.spawn(|| async {
                for _ in 0..5 {
                    fs::metadata("/tmp").await?;
                }
                io::Result::Ok(())
            });
            asked.await.unwrap().expect("nobody has cancelled this");
            host.crash();
            host.restart();
        }
    });
}

#[test]
fn a_host_that_crashes_itself_goes_no_further_than_its_turn() {
    World::new(0).explore(SEEDS, || async {
        let host = sim::host("other");
        let reached = Rc::new(Cell::new(0));
        let seen = reached.clone();
        host.spawn(|| async move {
            sim::this_host().crash();
            seen.set(1);
            sleep(Duration::ZERO).await;
            sleep(MS).await;
            seen.set(2);
        });
        while host.is_on() {
            sleep(MS).await;
        }
        sleep(MS * 9).await;
        assert_eq!(reached.get(), 1);
    });
}

#[test]
fn futures_are_made_on_their_host() {
    sim::run(1, || async {
        let host = sim::host("other");
        assert_eq!(sim::hosts(), [sim::this_host(), host.clone()]);
        let made = host.spawn(|| {
            let name = sim::this_host().name().to_string();
            async move { (name, sim::this_host().name().to_string()) }
        });
        assert_eq!(made.await.unwrap(), ("other".to_string(), "other".to_string()));
        assert_eq!(sim::this_host().name(), "main");
    });
}

#[test]
#[should_panic(expected = "there is a host \"twin\" already")]
fn names_are_unique() {
    sim::run(1, || async {
        sim::host("twin");
        sim::host("twin");
    });
}

#[test]
fn a_link_and_a_disk_have_their_own_speed() {
    sim::run(1, || async {
        let (near, far) = (sim::host("near"), sim::host("far"));
        for host in [&near, &far] {
            host.spawn(|| async {
                let _listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
                std::future::pending::<()>().await;
            });
        }
        let mut slow = Faults::none();
        slow.latency = MS * 400..MS * 401;
        slow.disk = MS * 70..MS * 71;
        slow.disk_len = 10;
        sim::this_host().set_link(&far, slow.clone());
        sleep(MS).await;
        let took = async |name| {
            let start = now();
            TcpStream::connect(name).await.unwrap();
            now() - start
        };
        // A lost packet of the usual network takes 200 ms more, or twice that.
        assert!(took("near:7").await < MS * 700);
        let far_away = took("far:7").await;
        assert!(far_away >= MS * 800 && far_away < MS * 803, "{far_away:?}");
        far.set_disk(slow);
        for (host, is_slow) in [(near, false), (far, true)] {
            host.spawn(move || async move {
                let start = now();
                let file = File::create("/tmp/file").await.unwrap();
                assert_eq!(now() - start >= MS * 70, is_slow);
                assert_eq!(file.write_all_at(vec![1; 11], 0).await.0.is_err(), is_slow);
            })
            .await
            .unwrap();
        }
    });
}

#[test]
fn an_isolated_host_reaches_itself_only() {
    sim::run(1, || async {
        let host = sim::host("island");
        host.spawn(|| async {
            let _listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            std::future::pending::<()>().await;
        });
        host.isolate();
        let alone = TcpStream::connect_timeout("island:7", Duration::from_secs(50)).await;
        assert_eq!(alone.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let own = host.spawn(|| TcpStream::connect_timeout("localhost:7", MS * 100)).await.unwrap();
        drop(own.unwrap());
        host.rejoin();
        drop(TcpStream::connect_timeout("island:7", Duration::from_secs(50)).await.unwrap());
    });
}

#[test]
fn a_task_is_aborted_from_another_host() {
    sim::run(1, || async {
        let host = sim::host("other");
        // The first tasks that a test starts on either side.
        let mine = ringbolt::spawn(async {
            sleep(MS * 50).await;
            7
        });
        let mut other = host.spawn(std::future::pending::<()>);
        sleep(MS).await;
        other.abort();
        assert!(other.await.unwrap_err().is_aborted());
        assert_eq!(mine.await.unwrap(), 7);
        let left = host.spawn(|| async { ringbolt::metrics().tasks }).await.unwrap();
        assert_eq!(left, 1, "the task that asks is the only one");
    });
}

#[test]
#[should_panic(expected = "planted")]
fn a_panic_on_a_host_fails_the_world() {
    sim::run(1, || async {
        sim::host("server").spawn(|| async {
            sleep(MS).await;
            panic!("planted");
        });
        sleep(Duration::from_secs(1000)).await;
        panic!("the world went on");
    });
}

#[test]
#[should_panic(expected = "planted")]
fn a_panic_behind_a_server_fails_the_world() {
    sim::run(1, || async {
        sim::host("server").spawn(|| async {
            drop(ringbolt::spawn(async { panic!("planted") }));
            std::future::pending::<()>().await;
        });
        sleep(Duration::from_secs(1000)).await;
        panic!("the world went on");
    });
}

#[test]
#[should_panic(expected = "planted")]
fn a_panic_whose_handle_is_kept_fails_the_world_in_the_end() {
    sim::run(1, || async {
        let host = sim::host("server");
        let (kept, keeper) = (host.spawn(|| async { panic!("planted") }), sim::host("keeper"));
        keeper.spawn(|| async move {
            let _kept: ringbolt::JoinHandle<()> = kept;
            std::future::pending::<()>().await;
        });
        sleep(MS).await;
    });
}

#[test]
fn a_panic_that_somebody_awaits_is_theirs() {
    sim::run(1, || async {
        let task = sim::host("server").spawn(|| async { panic!("planted") });
        sleep(MS).await;
        assert!(task.await.map(|()| "fine").unwrap_err().is_panic());
    });
    World::new(1).fail_on_panic(false).run(|| async {
        drop(ringbolt::spawn(async { panic!("planted") }));
        sleep(MS).await;
    });
}

#[test]
fn time_and_chance_come_from_the_world() {
    sim::run(3, || async {
        let start = sim::elapsed();
        sleep(MS * 20).await;
        assert!(sim::elapsed() - start >= MS * 20 && sim::elapsed() - start < MS * 30);
        assert!((0..100).all(|_| sim::below(3) < 3));
        assert!((0..100).all(|_| sim::chance(1.0) && !sim::chance(0.0)));
        let heads = (0..1000).filter(|_| sim::chance(0.25)).count();
        assert!((150..350).contains(&heads), "{heads}");
    });
    let seeds = Rc::new(Cell::new(0));
    let count = seeds.clone();
    World::new(50).explore(20, move || {
        count.set(count.get() + 1);
        std::future::ready(())
    });
    let expected = if std::env::var_os("RINGBOLT_SEED").is_some() { 1 } else { 20 };
    assert_eq!(seeds.get(), expected);
}
