//! Little lockable memory: the runtime starts, does with less, and says so.

use crate::{is_child, run_child, set_limit, stderr_of};
use ringbolt::Builder;
use ringbolt::net::{TcpListener, TcpStream};

/// An unprivileged user: the limit does not count for others.
const NOBODY: u32 = 65534;

fn echo_once() {
    let runtime = Builder::new().build().expect("some driver starts with any limit");
    eprintln!("facts: {}", runtime.facts());
    runtime.block_on(async {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all("hello").await.0.unwrap();
        let chunk = server.recv().await.unwrap().expect("the client sent something");
        assert_eq!(&*chunk, b"hello");
    });
}

/// Runs the child `name` with `bytes` of lockable memory and returns its facts.
fn with_limit(name: &str, bytes: &str) -> Option<String> {
    if is_child(name) {
        let bytes = std::env::var("RINGBOLT_LIMITS_BYTES").unwrap().parse().unwrap();
        set_limit(libc::RLIMIT_MEMLOCK, bytes);
        // SAFETY: the call names no memory.
        let n = unsafe { libc::setuid(NOBODY) };
        assert_eq!(n, 0, "setuid: {}", std::io::Error::last_os_error());
        echo_once();
        return None;
    }
    // SAFETY: the call names no memory.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("SKIPPED: only root can become a user for whom the limit counts");
        return None;
    }
    let text = stderr_of(&run_child(name, &[("RINGBOLT_LIMITS_BYTES", bytes)]));
    eprint!("{bytes} bytes: {text}");
    Some(text)
}

#[test]
fn none_at_all() {
    if let Some(text) = with_limit("locked_memory::none_at_all", "0") {
        let uring = text.contains("facts: io_uring");
        assert!(uring || text.contains("RLIMIT_MEMLOCK"), "the reason is missing: {text}");
    }
}

#[test]
fn too_little_for_everything() {
    if let Some(text) = with_limit("locked_memory::too_little_for_everything", "16384") {
        assert!(text.contains("RLIMIT_MEMLOCK") || text.contains("no lent buffers"), "{text}");
    }
}

#[test]
fn enough() {
    if let Some(text) = with_limit("locked_memory::enough", "8388608") {
        assert!(!text.contains("RLIMIT_MEMLOCK"), "{text}");
    }
}
