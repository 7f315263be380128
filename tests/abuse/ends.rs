//! The end of a thread or a process while operations of every kind are pending.

use crate::process::{Peer, count, hear, role, say};
use crate::{alone, drivers, figure, scaled, until, watchdog};
use ringbolt::fs::File;
use ringbolt::net::{ListenOptions, TcpListener, TcpStream};
use ringbolt::op::{Accept, Connect, Fd, Read, ReadVectored, Readable, Recv, RecvMsg};
use ringbolt::op::{Send, SendMsg, Submit, Writable};
use ringbolt::{Builder, DriverKind, Remote, Runtime, sleep, spawn};
use socket2::{Domain, SockAddr, Socket, Type};
use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

type Flight = Pin<Box<dyn Future<Output = ()>>>;

/// Operations that wait as long as the other ends are kept.
struct Waiting {
    flights: Vec<Flight>,
    peers: Vec<UnixStream>,
    pipes: Vec<std::io::PipeWriter>,
}

/// Those among them that own a stream or a listener; the first two have peers, the last ones.
const OWNERS: usize = 3;

fn flight<T>(future: impl Future<Output = T> + 'static) -> Flight {
    Box::pin(async move { drop(future.await) })
}

fn local() -> SockAddr {
    std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()
}

/// A listener that takes no more connections, and what fills it.
fn full_listener() -> (SockAddr, Vec<Socket>) {
    let new = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = new();
    listener.bind(&local()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = vec![listener];
    while filling.last().is_some() {
        let socket = new();
        let refused = socket.connect_timeout(&address, Duration::from_millis(30)).is_err();
        filling.push(socket);
        assert!(filling.len() < 100, "the backlog does not fill");
        if refused {
            break;
        }
    }
    (address, filling)
}

/// One operation of every kind that can wait, polled once.
async fn every_kind(full: &SockAddr) -> Waiting {
    let mut all = Waiting { flights: vec![], peers: vec![], pipes: vec![] };
    let mut pair = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        all.peers.push(theirs);
        ours
    };
    let idle = |ours: UnixStream| Fd::socket(OwnedFd::from(ours).into()).unwrap();
    let busy = |mut ours: UnixStream| {
        while ours.write(&[0; 4096]).is_ok() {}
        Fd::socket(OwnedFd::from(ours).into()).unwrap()
    };
    let room = || Vec::with_capacity(64);
    all.flights.push(flight(Submit::new(Recv::new(idle(pair()), room()))));
    all.flights.push(flight(Submit::new(RecvMsg::new(idle(pair()), [room(), room()]))));
    all.flights.push(flight(Submit::new(Readable::new(idle(pair())))));
    all.flights.push(flight(Submit::new(Send::new(busy(pair()), vec![1; 100_000]))));
    all.flights.push(flight(Submit::new(SendMsg::new(busy(pair()), [vec![1; 100_000]]))));
    all.flights.push(flight(Submit::new(Writable::new(busy(pair())))));
    let mut stream = TcpStream::from_std(OwnedFd::from(pair()).into()).unwrap();
    all.flights.push(flight(async move { stream.recv().await.map(drop) }));
    let mut stream = TcpStream::from_std(OwnedFd::from(pair()).into()).unwrap();
    all.flights.push(flight(async move { stream.read(vec![0; 64]).await }));
    for _ in 0..2 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&local()).unwrap();
        socket.listen(8).unwrap();
        all.flights.push(flight(Submit::new(Accept::new(Fd::socket(socket).unwrap()))));
    }
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    all.flights.push(flight(async move { listener.accept().await.map(drop) }));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let connect = Connect::new(Fd::socket(socket).unwrap(), full.clone());
    all.flights.push(flight(Submit::new(connect)));
    let mut pipe = || {
        let (reader, writer) = std::io::pipe().unwrap();
        all.pipes.push(writer);
        Fd::file(OwnedFd::from(reader).into())
    };
    all.flights.push(flight(Submit::new(Read::new(pipe(), room(), u64::MAX))));
    all.flights.push(flight(Submit::new(ReadVectored::new(pipe(), [room()], u64::MAX))));
    all.flights.push(flight(sleep(Duration::MAX)));
    all.flights.push(flight(ringbolt::timeout(Duration::MAX, pending::<()>())));
    poll_fn(|cx| {
        all.flights.iter_mut().for_each(|flight| assert!(flight.as_mut().poll(cx).is_pending()));
        Poll::Ready(())
    })
    .await;
    all
}

thread_local! {
    static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// How a thread leaves its runtime.
#[derive(Clone, Copy, Debug)]
enum Leave {
    /// The runtime first, then the futures.
    RuntimeFirst,
    FuturesFirst,
    /// The futures are forgotten.
    Forgotten,
    /// Tasks hold the futures.
    InTasks,
    /// By a panic in the main future.
    Panic,
}

fn leave(driver: DriverKind, how: Leave, full: &SockAddr) -> (Waiting, Instant) {
    let runtime = Builder::new().driver(driver).build().unwrap();
    let mut all = runtime.block_on(every_kind(full));
    runtime.block_on(until("all are in flight", || ringbolt::metrics().submitted > 10));
    let flights = std::mem::take(&mut all.flights);
    let start = Instant::now();
    match how {
        Leave::RuntimeFirst => {
            drop(runtime);
            drop(flights);
        }
        Leave::FuturesFirst => {
            drop(flights);
            drop(runtime);
        }
        Leave::Forgotten => {
            std::mem::forget(flights);
            drop(runtime);
        }
        Leave::InTasks => runtime.block_on(async {
            flights.into_iter().for_each(|flight| drop(spawn(flight)));
            ringbolt::yield_now().await;
        }),
        Leave::Panic => {
            let unwinding = std::panic::AssertUnwindSafe(|| {
                runtime.block_on(async move {
                    let _flights = flights;
                    std::panic::resume_unwind(Box::new("on purpose"));
                })
            });
            std::panic::catch_unwind(unwinding).unwrap_err();
        }
    }
    (all, start)
}

#[test]
fn a_thread_ends_with_every_operation_pending() {
    if !alone(module_path!(), "a_thread_ends_with_every_operation_pending") {
        return;
    }
    use Leave::*;
    let full = full_listener();
    for driver in drivers() {
        let mut ended = 0;
        let mut longest = Duration::ZERO;
        let mut before = None;
        let mut forgotten = 0;
        for round in 0..scaled(2, 20, 100) {
            for how in [RuntimeFirst, FuturesFirst, Forgotten, InTasks, Panic] {
                let _deadline = watchdog::deadline(&format!("{how:?}"), Location::caller());
                let address = full.0.clone();
                let thread = std::thread::spawn(move || {
                    let (others, left) = leave(driver, how, &address);
                    (others.peers, others.pipes, left)
                });
                let (mut peers, pipes, left) = thread.join().expect("the thread ends in peace");
                longest = longest.max(left.elapsed());
                if let Forgotten = how {
                    // What a forgotten future owns stays for ever; what it had put in flight ended.
                    forgotten += OWNERS;
                    peers.truncate(peers.len() - 2);
                }
                // Everybody sees that the sockets are closed.
                for mut peer in peers {
                    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    peer.read_to_end(&mut Vec::new()).unwrap_or_else(|e| panic!("{how:?}: {e}"));
                }
                drop(pipes);
                ended += 1;
            }
            let open = (0..1000).map(|_| count("fd")).min().unwrap() - forgotten;
            let before = *before.get_or_insert(open);
            assert!(round == 0 || open <= before, "{before} descriptors, then {open}");
        }
        let name = format!("{driver:?}");
        figure(&format!("threads that ended with all pending on {name}"), ended, "");
        figure(&format!("the longest end of a thread on {name}"), longest.as_millis(), "ms");
    }
}

/// Every handle there is, in the storage of a thread that ends; before and after the runtime's own.
#[test]
fn every_handle_may_outlive_its_runtime_in_thread_storage() {
    if !alone(module_path!(), "every_handle_may_outlive_its_runtime_in_thread_storage") {
        return;
    }
    let keep = |value: Box<dyn Any>| KEPT.with(|kept| kept.borrow_mut().push(value));
    for driver in drivers() {
        let mut kinds = 0;
        // Storage is given up in the order in which it was first used, or the other way round.
        for (ours_first, runtime_too) in
            [(true, true), (true, false), (false, true), (false, false)]
        {
            let thread = std::thread::spawn(move || {
                if ours_first {
                    keep(Box::new(()));
                }
                let runtime = Builder::new().driver(driver).build().unwrap();
                let kinds = runtime.block_on(async {
                    let handles = handles().await;
                    let kinds = handles.len();
                    handles.into_iter().for_each(&keep);
                    let full = full_listener();
                    let waiting = every_kind(&full.0).await;
                    keep(Box::new(waiting.flights));
                    keep(Box::new((waiting.peers, waiting.pipes, full)));
                    kinds
                });
                if runtime_too {
                    keep(Box::new(runtime));
                }
                kinds
            });
            kinds = thread.join().expect("the thread ends in peace");
        }
        figure(&format!("kinds of handles in thread storage on {driver:?}"), kinds, "");
    }
}

async fn handles() -> Vec<Box<dyn Any>> {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all("some bytes").await.unwrap();
    let mut chunk = server.recv().await.unwrap().expect("bytes");
    let bytes = bytes::Bytes::from(chunk.split_to(4));
    let (read, write) = TcpStream::connect(address).await.unwrap().into_split();
    let queued = TcpStream::connect(address).await.unwrap();
    let aborted = {
        let mut task = spawn(pending::<()>());
        task.abort();
        task
    };
    let finished = spawn(async { vec![1, 2, 3] });
    ringbolt::yield_now().await;
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let other = Runtime::new().unwrap();
    vec![
        Box::new(listener),
        Box::new((client, queued)),
        Box::new(server),
        Box::new(chunk),
        Box::new(bytes),
        Box::new(read),
        Box::new(write),
        Box::new(ListenOptions::new().reserve("127.0.0.1:0").await.unwrap()),
        Box::new(File::open("/proc/self/status").await.unwrap()),
        Box::new(Fd::file(std::fs::File::open("/dev/null").unwrap())),
        Box::new(spawn(pending::<()>())),
        Box::new(aborted),
        Box::new(finished),
        Box::new(ringbolt::spawn_blocking(|| 1)),
        Box::new(Remote::current().spawn(async || 1)),
        Box::new(Remote::current()),
        Box::new(waker),
        Box::new(sleep(Duration::MAX)),
        Box::new(ringbolt::interval(Duration::from_secs(1))),
        Box::new(ringbolt::timeout(Duration::from_secs(1), pending::<()>())),
        Box::new(ringbolt::signal::ctrl_c().unwrap()),
        Box::new(Submit::new(ringbolt::op::Nop)),
        Box::new(ringbolt::op::Lane::new()),
        Box::new(ringbolt::op::Fence::new()),
        Box::new(other),
    ]
}

#[test]
fn a_killed_process_is_gone_and_its_port_free() {
    if !alone(module_path!(), "a_killed_process_is_gone_and_its_port_free") {
        return;
    }
    if role().is_some() {
        return Builder::new().build().unwrap().block_on(wait_for_the_end());
    }
    for driver in drivers() {
        let name = if driver == DriverKind::Uring { "uring" } else { "readiness" };
        let _deadline = watchdog::deadline(name, Location::caller());
        let mut longest = Duration::ZERO;
        for _ in 0..scaled(3, 50, 500) {
            let mut victim = Peer::start("victim", &[("RINGBOLT_DRIVER", name)]);
            let address: std::net::SocketAddr = victim.hear().parse().unwrap();
            let mut clients: Vec<_> =
                (0..50).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            victim.tell("wait");
            assert_eq!(victim.hear(), "waiting");
            let start = Instant::now();
            victim.signal(libc::SIGKILL);
            victim.end();
            let again = loop {
                // The descriptors of a process may be closed a moment after it was reaped.
                match std::net::TcpListener::bind(address) {
                    Ok(listener) => break listener,
                    Err(error) => {
                        assert!(start.elapsed() < Duration::from_secs(10), "{error}");
                        std::thread::yield_now();
                    }
                }
            };
            for client in &mut clients {
                client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                // An end or a reset, but no silence.
                let end = client.read(&mut [0]).map_err(|error| error.kind());
                assert!(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{end:?}");
            }
            longest = longest.max(start.elapsed());
            drop(again);
        }
        figure(
            &format!("the longest end of a killed process on {name}"),
            longest.as_millis(),
            "ms",
        );
        assert!(longest < Duration::from_secs(2), "{longest:?} on {name}");
    }
}

/// A thousand operations and more, among them one of every kind.
async fn wait_for_the_end() {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(listener.local_addr().unwrap());
    assert_eq!(ringbolt::spawn_blocking(hear).await.unwrap().as_deref(), Some("wait"));
    let mut kept: Vec<Box<dyn Any>> = Vec::new();
    for _ in 0..50 {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(spawn(async move { stream.recv().await.map(drop) }));
    }
    let full = full_listener();
    for _ in 0..60 {
        kept.push(Box::new(every_kind(&full.0).await));
    }
    drop(spawn(async move { listener.accept().await.map(drop) }));
    let enough = || ringbolt::metrics().in_flight >= 850;
    until("a thousand wait, with the timers", enough).await;
    say("waiting");
    pending::<()>().await;
}
