//! A listener whose process has no free descriptor waits without spinning and serves all in the
//! end.

use crate::{is_child, run_child, set_limit, stderr_of};
use ringbolt::net::TcpListener;
use ringbolt::{Builder, DriverKind};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CLIENTS: usize = 200;
const DESCRIPTORS: u64 = 64;
const STARVED: Duration = Duration::from_secs(3);

/// Processor time of this process.
fn cpu_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is valid for one write.
    let n = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(n, 0);
    // SAFETY: the call succeeded, so it wrote.
    let usage = unsafe { usage.assume_init() };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The server: holds every connection until it has none to give, stays so for a while, then
/// releases them and answers everybody.
fn serve(driver: DriverKind) {
    set_limit(libc::RLIMIT_NOFILE, DESCRIPTORS);
    let runtime = Builder::new().driver(driver).build().expect("64 descriptors are enough");
    runtime.block_on(async {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nlistening on {}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        let mut held = Vec::new();
        while ringbolt::metrics().accept_pauses == 0 {
            let next = ringbolt::timeout(Duration::from_millis(20), listener.accept()).await;
            if let Ok(accepted) = next {
                held.push(accepted.expect("a lack of descriptors is no error").0);
            }
        }
        let (cpu, start) = (cpu_time(), Instant::now());
        let starved = ringbolt::timeout(STARVED, async {
            loop {
                held.push(listener.accept().await.expect("a lack of descriptors is no error").0);
            }
        });
        assert!(starved.await.is_err());
        let share = (cpu_time() - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
        let pauses = ringbolt::metrics().accept_pauses;
        eprintln!("starved with {} held: {share:.2} % CPU, {pauses} pauses", held.len());
        let released = Instant::now();
        let mut served = 0;
        for mut stream in held {
            stream.write_all("done").await.0.unwrap();
            served += 1;
        }
        let mut first = None;
        while served < CLIENTS {
            let (mut stream, _) = listener.accept().await.unwrap();
            first.get_or_insert_with(|| released.elapsed());
            stream.write_all("done").await.0.unwrap();
            served += 1;
        }
        eprintln!(
            "served {served}, the first of the waiting {:?} after the release",
            first.unwrap()
        );
        assert!(share < 5.0, "{share} % CPU while starved");
    });
}

fn starve(name: &str, driver: DriverKind) {
    if is_child(name) {
        return serve(driver);
    }
    if let Err(error) = Builder::new().driver(driver).build() {
        eprintln!("SKIPPED: {driver:?} cannot start here: {error}");
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("RINGBOLT_LIMITS_CHILD", name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("the child says where it listens").unwrap();
        if let Some(address) = line.strip_prefix("listening on ") {
            break address.to_string();
        }
    };
    let clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| TcpStream::connect(&address).expect("the backlog is large")).collect();
    for mut client in clients {
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("everybody is answered");
        assert_eq!(answer, "done");
    }
    let output = child.wait_with_output().unwrap();
    let text = stderr_of(&output);
    eprint!("{driver:?}: {text}");
    let lines = text.lines().count();
    assert!(lines <= 10, "{lines} lines were written while starved");
}

#[test]
fn starved_listener_on_uring() {
    starve("descriptors::starved_listener_on_uring", DriverKind::Uring);
}

#[test]
fn starved_listener_on_readiness() {
    starve("descriptors::starved_listener_on_readiness", DriverKind::Readiness);
}

/// A child that cannot even start its runtime says so instead of panicking.
#[test]
fn no_descriptor_at_all_is_a_clear_error() {
    let name = "descriptors::no_descriptor_at_all_is_a_clear_error";
    if is_child(name) {
        set_limit(libc::RLIMIT_NOFILE, 3);
        let error = Builder::new().build().expect_err("there is no descriptor for a driver");
        eprintln!("error: {error}");
        return;
    }
    let text = stderr_of(&run_child(name, &[]));
    assert!(text.contains("error: "), "{text}");
}
