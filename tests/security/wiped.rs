//! What is left of received bytes in the memory of the process, read as a core dump would be.
//!
//! The sender is another process, so that the secret is in nobody else's memory, and the search
//! makes the secret up byte by byte, so that it does not find itself.

use crate::child::{command, figures_of, is, run};
use crate::scale::figure;
use crate::support::turns;
use crate::{drivers, passed};
use ringbolt::net::TcpListener;
use ringbolt::{Builder, DriverKind, PoolConfig};
use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

const TEST: &str = "wiped::nothing_is_left_of_returned_buffers";
const ADDRESS: &str = "RINGBOLT_SECURITY_ADDRESS";
const LEN: usize = 64 << 10;
/// How many bytes of the secret in a row, on one page, count as a find.
const RUN: usize = 24;
const PAGE: usize = 4096;

/// Byte `at` of the secret, which looks like no other data.
fn secret(at: usize) -> u8 {
    let mixed = (at as u64 ^ 0x5eed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()[5]
}

fn send() {
    let mut stream = TcpStream::connect(std::env::var(ADDRESS).unwrap()).unwrap();
    stream.write_all(&(0..LEN).map(secret).collect::<Vec<u8>>()).unwrap();
}

/// Pages for what is read from elsewhere, which are not searched themselves.
struct Scratch {
    start: NonNull<u8>,
    len: usize,
}

impl Scratch {
    fn new(len: usize) -> Scratch {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a free address touches nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Scratch { start: NonNull::new(start.cast()).expect("a mapping is not at zero"), len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the pages are mapped for ever, zeroed, and used through this value only.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Counts places of this process's memory that show the secret, up to `enough`, and the bytes that
/// were looked at.
fn search(scratch: &mut Scratch, enough: usize) -> (usize, usize) {
    // Where the secret has a run that begins with these two bytes.
    let mut runs = vec![Vec::new(); 1 << 16];
    for at in (0..LEN - RUN).step_by(RUN) {
        runs[usize::from(u16::from_le_bytes([secret(at), secret(at + 1)]))].push(at);
    }
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let own = scratch.start.as_ptr() as u64;
    let (mut found, mut searched) = (0, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (start, end) = words.next().and_then(|range| range.split_once('-')).expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (mut at, end) = (number(start), number(end));
        // Memory that can be written, other than what this reads into.
        if !words.next().is_some_and(|access| access.starts_with("rw")) || at == own {
            continue;
        }
        while at < end && found < enough {
            let want = scratch.len.min((end - at) as usize);
            // Rings and the like cannot be read this way; they hold no payload.
            let Ok(n) = memory.read_at(&mut scratch.bytes()[..want], at) else { break };
            searched += n;
            let pages = scratch.bytes()[..n].chunks(PAGE);
            for window in pages.filter(|page| **page != [0; PAGE]).flat_map(|p| p.windows(RUN)) {
                let runs = &runs[usize::from(u16::from_le_bytes([window[0], window[1]]))];
                let is_run = |at: &usize| (0..RUN).all(|i| window[i] == secret(at + i));
                found += usize::from(runs.iter().any(is_run));
            }
            at += n as u64;
            if n == 0 {
                break;
            }
        }
    }
    (found, searched)
}

fn receive(driver: DriverKind, zeroize: bool) {
    // With room for the secret, and little more to be searched.
    let pool = PoolConfig { buffers: 16, buffers_max: 16, zeroize, ..PoolConfig::default() };
    let runtime = Builder::new().driver(driver).pool(pool).build().unwrap();
    let mut scratch = Scratch::new(1 << 20);
    runtime.block_on(async {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut sender = command(TEST, "sender").env(ADDRESS, address).spawn().unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut held = Vec::new();
        let mut at = 0;
        while let Some(chunk) = stream.recv().await.unwrap() {
            assert!(chunk.is_pooled());
            assert!(chunk.iter().enumerate().all(|(i, byte)| *byte == secret(at + i)));
            at += chunk.len();
            held.push(chunk);
        }
        assert_eq!(at, LEN);
        assert!(sender.wait().unwrap().success());
        assert!(search(&mut scratch, 1).0 > 0, "the search does not find what is there");
        // Some go back on this thread, and some on another.
        for chunk in held.drain(..held.len() / 2) {
            std::thread::scope(|scope| {
                let bytes = chunk.into_bytes();
                scope.spawn(move || drop(bytes));
            });
        }
        drop(held);
        turns(2).await;
        let (found, searched) = search(&mut scratch, usize::MAX);
        assert_eq!(found == 0, zeroize, "{driver:?}: found in {found} places");
        if zeroize {
            figure("memory without a trace of returned buffers", searched >> 10, "KiB");
        }
    });
}

#[test]
fn nothing_is_left_of_returned_buffers() {
    if is(TEST, "sender") {
        return send();
    }
    for driver in drivers() {
        for zeroize in [true, false] {
            let role = format!("receiver {driver:?} {zeroize}");
            let child = run(TEST, &role, || receive(driver, zeroize));
            if let Some(output) = child {
                figures_of(&output);
                passed(1);
            }
        }
    }
}
