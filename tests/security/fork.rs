//! A fork with a hundred operations in flight: whatever the child does with what it inherited, and
//! however it ends, the parent does not notice.

use crate::child::{run, stderr_of};
use crate::load::{ALL, Load, stream};
use crate::support::{deadline, fd_pair, no_operation, pattern, poll_once, turns};
use crate::{drivers, passed, tour};
use ringbolt::op::{Fd, Recv, Submit};
use ringbolt::{Builder, Chunk, DriverKind, PoolConfig, Runtime, ShutdownReport, metrics};
use std::fs::File;
use std::io::{Read, Write};
use std::net;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::Location;
use std::time::Duration;

/// What a child does with the runtime of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Nothing.
    Leave,
    /// Drops every future and stream, a lent chunk, and a file.
    Drop,
    /// Polls every future, once.
    Poll,
    /// Polls and drops.
    PollAndDrop,
    /// Wakes a task of the parent, and sends it another.
    Wake,
    /// Ends the parent's `block_on`, and drops the runtime.
    DropRuntime,
    /// The same by `Runtime::shutdown`.
    ShutDown,
    /// Starts an operation.
    Start,
    /// Lets the core turn.
    Turn,
    /// Ends the parent's `block_on`, and calls it again.
    BlockOn,
    /// Builds a runtime inside of the parent's.
    BuildInside,
    /// Builds a runtime after the parent's `block_on`.
    BuildAfter,
}

const ACTS: [Act; 12] = [
    Act::Leave,
    Act::Drop,
    Act::Poll,
    Act::PollAndDrop,
    Act::Wake,
    Act::DropRuntime,
    Act::ShutDown,
    Act::Start,
    Act::Turn,
    Act::BlockOn,
    Act::BuildInside,
    Act::BuildAfter,
];

impl Act {
    /// Whether the runtime has to put an end to it.
    fn is_wrong(self) -> bool {
        matches!(self, Act::Start | Act::Turn | Act::BlockOn)
    }
}

/// How a child is made, and how it ends if it is let.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// fork(3), and an end without destructors and handlers.
    Plain,
    /// fork(3), and an ordinary end: handlers, and the destructors of the thread.
    Exit,
    /// clone(2), of which libraries do not hear.
    Clone,
}

const WAYS: [Way; 3] = [Way::Plain, Way::Exit, Way::Clone];

/// What a child goes on with after the parent's `block_on`.
type Rest = Option<(Act, Way)>;

/// What a child inherits besides the operations.
struct Handles {
    load: Load,
    /// A socket that was waited for, so that the poller knows it, and is not any more.
    idle: (Fd, net::TcpStream),
    chunk: Chunk,
    file: ringbolt::fs::File,
    task: ringbolt::JoinHandle<()>,
    wake: futures_channel::oneshot::Sender<()>,
}

async fn handles() -> Handles {
    let load = Load::start().await;
    let mut idle = fd_pair();
    receive_on(&mut idle).await;
    let (mut stream, mut peer) = stream();
    peer.write_all(&pattern(1000)).unwrap();
    let chunk = stream.recv().await.unwrap().expect("the peer sends");
    let (wake, woken) = futures_channel::oneshot::channel();
    // A helper thread of the readiness driver opens the file, and waits for more.
    let file = ringbolt::fs::File::open("/proc/self/stat").await.unwrap();
    let task = ringbolt::spawn(async move { woken.await.expect("the parent wakes it") });
    // The stream goes, the chunk stays.
    drop(stream);
    turns(4).await;
    assert_eq!(metrics().in_flight, ALL);
    Handles { load, idle, chunk, file, task, wake }
}

/// One byte for which a receive has to wait.
async fn receive_on((fd, peer): &mut (Fd, net::TcpStream)) {
    let mut recv = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(8)));
    assert!(poll_once(&mut recv).await.is_pending());
    turns(4).await;
    peer.write_all(b"!").unwrap();
    assert_eq!(recv.await.unwrap(), (1, b"!".to_vec()));
}

fn fork(way: Way) -> libc::pid_t {
    let pid = match way {
        // SAFETY: the child has this one thread, as has the parent but for the test harness and
        // idle helpers, which hold no lock that the child needs.
        Way::Plain | Way::Exit => unsafe { libc::fork() },
        // SAFETY: as above; with these arguments it is the same as fork.
        Way::Clone => unsafe {
            libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t
        },
    };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    pid
}

fn end(way: Way) -> ! {
    match way {
        Way::Exit => std::process::exit(0),
        // SAFETY: always allowed.
        Way::Plain | Way::Clone => unsafe { libc::_exit(0) },
    }
}

/// In the child: what it writes goes to the parent, and it does not hang for ever.
fn settle(stderr: &OwnedFd) {
    // SAFETY: both are open descriptors.
    assert!(unsafe { libc::dup2(stderr.as_raw_fd(), 2) } == 2);
    // SAFETY: always allowed.
    unsafe { libc::alarm(20) };
}

/// What the child does inside of the parent's `block_on`. `None` if it ends that.
async fn child_inside(act: Act, way: Way, handles: Handles) -> Rest {
    let Handles { mut load, idle, chunk, file, task, wake } = handles;
    if matches!(act, Act::Poll | Act::PollAndDrop) {
        for future in &mut load.pending {
            assert!(poll_once(future).await.is_pending());
        }
    }
    match act {
        Act::Leave | Act::Poll => end(way),
        Act::Drop | Act::PollAndDrop => {
            drop((load, idle, chunk, file, task, wake));
            end(way)
        }
        Act::Wake => {
            let remote = ringbolt::Remote::current();
            let thread = std::thread::spawn(move || {
                let _ = wake.send(());
                drop(remote.spawn(|| async {}));
            });
            thread.join().unwrap();
            end(way)
        }
        Act::Start => {
            // Any operation would do, as this one is not even submitted yet.
            let mut start = Submit::new(ringbolt::op::Nop);
            let _ = poll_once(&mut start).await;
        }
        Act::Turn => ringbolt::yield_now().await,
        Act::BuildInside => {
            own_runtime();
            end(way)
        }
        Act::DropRuntime | Act::ShutDown | Act::BlockOn | Act::BuildAfter => {}
    }
    std::mem::forget((load, idle, chunk, file, task, wake));
    Some((act, way))
}

/// What the child does after the parent's `block_on`.
fn child_after(act: Act, way: Way, runtime: Runtime) -> ! {
    match act {
        Act::DropRuntime => drop(runtime),
        Act::ShutDown => {
            let left = runtime.shutdown(Duration::from_secs(5)).operations_leaked;
            assert_eq!(u64::from(left), ALL, "they are left to the parent");
        }
        Act::BlockOn => runtime.block_on(async {}),
        _ => own_runtime(),
    }
    end(way)
}

/// A child may have a runtime, of its own.
fn own_runtime() {
    for driver in drivers() {
        let runtime = Builder::new().driver(driver).build().unwrap();
        tour::of_one_core(&runtime);
    }
}

/// In the parent: how the child ended, and what it said.
fn await_child(pid: libc::pid_t, stderr: File, what: &str, act: Act) {
    let mut text = String::new();
    (&stderr).read_to_string(&mut text).unwrap();
    let mut status = 0;
    // SAFETY: the status is one integer.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if act.is_wrong() {
        let aborted = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT;
        assert!(aborted, "{what}: ended with {status:#x}: {text}");
        assert!(text.contains("child of fork(2)"), "{what}: {text}");
        assert_eq!(text.lines().count(), 1, "{what}: {text}");
    } else {
        assert_eq!(status, 0, "{what}: {text}");
        assert_eq!(text, "", "{what} had nothing to say");
    }
}

fn disturb(driver: DriverKind) {
    // Wiping a buffer is what a child must not try.
    let pool = PoolConfig { zeroize: true, ..PoolConfig::default() };
    let runtime = Builder::new().driver(driver).pool(pool).build().unwrap();
    for act in ACTS {
        for way in WAYS {
            let what = format!("{act:?} {way:?} on {driver:?}");
            let _deadline = deadline(&what, Location::caller());
            let rest = runtime.block_on(async {
                let mut handles = handles().await;
                let descriptors = metrics().descriptors;
                let (reader, writer) = std::io::pipe().unwrap();
                let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
                let pid = fork(way);
                if pid == 0 {
                    settle(&writer);
                    return child_inside(act, way, handles).await;
                }
                drop(writer);
                await_child(pid, reader.into(), &what, act);
                turns(4).await;
                let now = metrics();
                assert_eq!((now.in_flight, now.descriptors), (ALL, descriptors), "{what}");
                assert_eq!(handles.chunk[..], pattern(1000), "{what}");
                assert!(!handles.task.is_finished(), "{what}");
                handles.wake.send(()).unwrap();
                handles.task.await.unwrap();
                assert!(handles.file.metadata().await.is_ok(), "{what}");
                receive_on(&mut handles.idle).await;
                handles.load.finish().await;
                drop((handles.file, handles.chunk));
                no_operation().await;
                None
            });
            if let Some((act, way)) = rest {
                child_after(act, way, runtime);
            }
            let now = runtime.metrics();
            assert_eq!((now.in_flight, now.stale_completions), (0, 0), "{what}: {now:?}");
        }
    }
    assert_eq!(runtime.shutdown(Duration::from_secs(10)), ShutdownReport::default());
}

#[test]
fn a_child_does_not_disturb_its_parent() {
    let output = run("fork::a_child_does_not_disturb_its_parent", "parent", || {
        drivers().into_iter().for_each(disturb);
    });
    stderr_of(&output.expect("the only role"));
    passed(drivers().len() * ACTS.len() * WAYS.len());
}

/// Waits until the thread `id` of this process sleeps.
fn until_asleep(id: libc::pid_t) {
    let _deadline = deadline("a core that falls asleep", Location::caller());
    let state = || {
        let line = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap();
        line.rsplit_once(") ").expect("a name in parentheses").1.starts_with('S')
    };
    while !state() {
        std::thread::yield_now();
    }
}

/// Another core of the parent sleeps, and the child has closed what it shares with it, as daemons
/// do: it has nothing to ring, and must not try for ever.
fn spawn_on_sleeping_core(driver: DriverKind) {
    let (sender, started) = std::sync::mpsc::channel();
    let (end_core, core_ended) = futures_channel::oneshot::channel::<()>();
    let core = std::thread::spawn(move || {
        let runtime = Builder::new().driver(driver).build().unwrap();
        // SAFETY: always allowed.
        sender.send((runtime.remote(), unsafe { libc::gettid() })).unwrap();
        runtime.block_on(core_ended).unwrap();
    });
    let (remote, id) = started.recv().unwrap();
    for way in WAYS {
        let (reader, writer) = std::io::pipe().unwrap();
        until_asleep(id);
        let pid = fork(way);
        if pid == 0 {
            settle(&writer.into());
            // SAFETY: nothing in this process uses any of them again.
            unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
            drop(remote.spawn(|| async {}));
            end(way);
        }
        drop(writer);
        let what = format!("{way:?} on {driver:?}");
        await_child(pid, OwnedFd::from(reader).into(), &what, Act::Wake);
    }
    let seven = Builder::new().driver(DriverKind::Readiness).build().unwrap();
    assert_eq!(seven.block_on(remote.spawn(|| async { 7 })).unwrap(), 7);
    end_core.send(()).unwrap();
    core.join().unwrap();
}

/// A runtime at rest, of which a child drops the last handle.
fn drop_at_rest(driver: DriverKind) {
    let runtime = Builder::new().driver(driver).build().unwrap();
    tour::of_one_core(&runtime);
    for way in WAYS {
        let what = format!("{way:?} on {driver:?}");
        let _deadline = deadline(&what, Location::caller());
        let (reader, writer) = std::io::pipe().unwrap();
        let pid = fork(way);
        if pid == 0 {
            settle(&writer.into());
            drop(runtime);
            end(way);
        }
        drop(writer);
        await_child(pid, OwnedFd::from(reader).into(), &what, Act::DropRuntime);
        // Helper threads still wake it, and it still hears of its sockets.
        tour::of_one_core(&runtime);
    }
}

#[test]
fn a_child_does_not_end_what_is_at_rest() {
    let output = run("fork::a_child_does_not_end_what_is_at_rest", "parent", || {
        drivers().into_iter().for_each(drop_at_rest);
    });
    stderr_of(&output.expect("the only role"));
    passed(drivers().len() * WAYS.len());
}

#[test]
fn a_child_does_not_ring_its_parent() {
    let output = run("fork::a_child_does_not_ring_its_parent", "parent", || {
        drivers().into_iter().for_each(spawn_on_sleeping_core);
    });
    stderr_of(&output.expect("the only role"));
    passed(drivers().len() * WAYS.len());
}
