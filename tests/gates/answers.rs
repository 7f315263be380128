//! Every method with every error number that a file system may answer with, and with fewer bytes
//! than were asked for.

use crate::gate::{Gate, LEN, PAGE};
use crate::methods::{METHODS, Method, file_for, settled, start};
use crate::remote::Server;
use crate::server::Rule;
use crate::support::*;
use crate::{SERVER, content, scale};
use ringbolt::{BufResult, Builder, DriverKind};
use std::io;
use std::panic::Location;
use std::time::Duration;

/// Whether somebody in between keeps this error: asks once more, and is answered, or does without
/// what the server says that it does not know.
fn is_kept(driver: DriverKind, method: Method, errno: i32) -> bool {
    use Method::*;
    let on_path = !method.needs_file();
    let moves = method.reads() || method.writes();
    let called = driver != DriverKind::Uring;
    match errno {
        // The kernel looks the way to the file up again; a call on the file itself has none.
        libc::ESTALE => on_path || (method == FileMetadata && !called),
        libc::ECHILD => matches!(method, Open | Create),
        // A file can be used without these, and the C library looks at a file in an older way.
        libc::ENOSYS => {
            matches!(method, Open | SyncAll | SyncData | Close)
                || (called && matches!(method, Metadata | FileMetadata))
        }
        // "Not here and now": the ring leaves the rest to a worker, and what a file system answers
        // so once is asked for again.
        libc::EAGAIN => moves,
        libc::EOPNOTSUPP => !called && moves,
        // What was interrupted before it did anything is asked for again (docs/errors.md).
        libc::EINTR => {
            moves || matches!(method, Open | Create | SyncAll | SyncData | Metadata | FileMetadata)
        }
        // A call at an offset is made again without it.
        libc::ESPIPE => called && moves,
        _ => false,
    }
}

/// Every method with every error number, or at the quick scale with some: the error comes out as
/// it is, buffers come back, and nothing stays behind.
pub(crate) fn every_errno(driver: DriverKind) -> Option<u64> {
    let step = scale::scaled(9, 1, 1) as usize;
    let runtime = Builder::new().driver(driver).build().expect("the driver starts");
    let (mut count, mut wrong) = (0, String::new());
    for method in METHODS {
        // Of a request that failed in some ways the kernel remembers not to make it again.
        let server = match Server::mount(SERVER) {
            Ok(server) => server,
            Err(error) => {
                skipped(&format!("a file system of our own (fuse): {error}"));
                return None;
            }
        };
        let _deadline = deadline(&format!("{method:?}"), Location::caller());
        let others = (1..=133).filter(|errno| *errno != libc::ENOSYS).step_by(step);
        for errno in others.chain([libc::ENOSYS]) {
            let met = runtime.block_on(meet(method, errno, &server));
            count += 1;
            let wanted = (!is_kept(driver, method, errno)).then_some(errno);
            if met != wanted {
                wrong += &format!("{method:?} with {errno}: {met:?}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "on {driver:?}:\n{wrong}");
    assert_eq!(runtime.shutdown(Duration::from_secs(20)).operations_leaked, 0);
    Some(count)
}

/// What comes of a method whose request fails with `errno`.
async fn meet(method: Method, errno: i32, server: &Server) -> Option<i32> {
    let gate = Gate::open(&method.memory());
    gate.release();
    let file = file_for(method, server).await;
    server.rule(method.request(), Rule::Fail(errno));
    let result = start(method, server, file, &gate).await;
    let (asked, ..) = server.report();
    assert!(asked, "{method:?} with {errno} does not ask for this");
    assert_eq!(gate.dropped(), method.buffers(), "buffers came back");
    settled().await;
    let error = result.err()?;
    // Errors of paths name the path, and the number only in the text.
    let errno = error.raw_os_error().or_else(|| {
        let text = error.to_string();
        let (_, rest) = text.rsplit_once("(os error ")?;
        rest.strip_suffix(')')?.parse().ok()
    })?;
    assert_eq!(error.kind(), io::Error::from_raw_os_error(errno).kind());
    Some(errno)
}

/// Reads and writes of which the server moves only a part: the count is its own, and what goes on
/// until all is moved gets there.
pub(crate) fn short_counts(driver: DriverKind) -> u64 {
    let Ok(server) = Server::mount(SERVER) else { return 0 };
    let runtime = Builder::new().driver(driver).build().expect("the driver starts");
    let mut count = 0;
    for method in [Method::Read, Method::ReadVectored, Method::Write, Method::WriteVectored] {
        // For a ring, the kernel's side of the file system calls a short write an error.
        if driver == DriverKind::Uring && method.writes() {
            continue;
        }
        for len in [1, PAGE - 1, PAGE, PAGE + 1, LEN - 1] {
            let _deadline = deadline(&format!("{method:?}, {len}"), Location::caller());
            runtime.block_on(async {
                short(method, len, &server).await;
                whole(method, len, &server).await;
                settled().await;
            });
            count += 2;
        }
    }
    assert_eq!(runtime.shutdown(Duration::from_secs(20)).operations_leaked, 0);
    count
}

async fn short(method: Method, len: usize, server: &Server) {
    let gate = Gate::open(&method.memory());
    gate.release();
    let file = file_for(method, server).await;
    server.rule(method.request(), Rule::Short(len));
    let n = start(method, server, file, &gate).await.expect("a part is moved");
    let (asked, written, _) = server.report();
    assert!(asked && n == len, "{n} of {len}");
    assert_eq!(written, if method.writes() { len } else { 0 });
    assert!(!method.reads() || gate.taken() == content(LEN)[..len]);
}

async fn whole(method: Method, len: usize, server: &Server) {
    let file = file_for(method, server).await.expect("the method needs a file");
    server.rule(method.request(), Rule::Short(len));
    if method.reads() {
        let BufResult(result, buf) = file.read_exact_at(Vec::with_capacity(LEN), 0).await;
        result.expect("the rest comes");
        assert!(buf == content(LEN));
    } else {
        file.write_all_at(content(LEN), 0).await.0.expect("the rest is taken");
    }
    let (asked, written, whole) = server.report();
    assert!(asked && (method.reads() || whole), "{written} bytes");
}
