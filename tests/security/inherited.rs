//! What other processes get of a runtime: no descriptor after exec(3), and no memory after fork(2).

use crate::child::{command, figures_of, is, is_any, run};
use crate::filter::{SEND_MESSAGE, deny_register};
use crate::scale::figure;
use crate::{drivers, passed};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{Builder, DriverKind};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Output;

/// The descriptors of this process, each with what it leads to. Reading them takes one.
fn descriptors() -> BTreeSet<(i32, String)> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("procfs is mounted");
    let all = entries.map(|entry| {
        let entry = entry.unwrap();
        let number = entry.file_name().to_string_lossy().parse().expect("a number");
        // The one that reads the directory.
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        (number, link.to_string_lossy().into_owned())
    });
    all.filter(|(_, link)| !link.ends_with("/fd")).collect()
}

/// Prints what this process has.
fn list() -> ! {
    for (number, link) in descriptors() {
        println!("descriptor {number} {link}");
    }
    std::process::exit(0);
}

fn listed(output: &Output) -> BTreeSet<i32> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.strip_prefix("descriptor "));
    lines.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

const DESCRIPTORS: &str = "inherited::a_program_that_is_started_gets_no_descriptor";

/// With a runtime in use: starts this program in two ways, and returns how many descriptors the
/// runtime had that it did not get.
fn start_a_program(driver: DriverKind, before: &BTreeSet<(i32, String)>) -> usize {
    let runtime = Builder::new().driver(driver).build().unwrap();
    runtime.block_on(async {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let file = ringbolt::fs::File::open("/proc/self/stat").await.unwrap();
        client.write_all("x").await.0.unwrap();
        server.recv().await.unwrap().expect("the client sent");
        let ours: Vec<_> = descriptors().difference(before).cloned().collect();
        let shared = if driver == DriverKind::Uring { "[io_uring]" } else { "[eventpoll]" };
        assert!(ours.iter().any(|(_, link)| link.contains(shared)), "{ours:?}");
        // The two ways in which `std` starts programs: posix_spawn, and fork with exec.
        let plain = command(DESCRIPTORS, "program").output().unwrap();
        let mut command = command(DESCRIPTORS, "program");
        // SAFETY: nothing is done between fork and exec.
        unsafe { command.pre_exec(|| Ok(())) };
        for output in [plain, command.output().unwrap()] {
            let got = listed(&output);
            let leaked: Vec<_> = ours.iter().filter(|(n, _)| *n > 2 && got.contains(n)).collect();
            assert!(leaked.is_empty(), "{driver:?}: {leaked:?}");
        }
        drop((client, server, file));
        ours.len()
    })
}

#[test]
fn a_program_that_is_started_gets_no_descriptor() {
    if is(DESCRIPTORS, "program") {
        list();
    }
    for lacks_message_wake in [false, true] {
        let role = if lacks_message_wake { "parent with a counter" } else { "parent" };
        let output = run(DESCRIPTORS, role, || {
            if lacks_message_wake {
                deny_register(SEND_MESSAGE, libc::EINVAL);
            }
            for driver in drivers() {
                let kept = start_a_program(driver, &descriptors());
                figure(
                    &format!("descriptors kept from a program, {driver:?}"),
                    kept,
                    "descriptors",
                );
            }
        });
        if let Some(output) = output {
            figures_of(&output);
            passed(2 * drivers().len());
        }
    }
}

/// The line `VmFlags` of each mapping of this process whose first line or range `wanted` picks.
fn flags_of(wanted: impl Fn(&str, std::ops::Range<usize>) -> bool) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/smaps").expect("procfs is mounted");
    let number = |text: &str| usize::from_str_radix(text, 16).expect("an address");
    let (mut picked, mut flags) = (false, Vec::new());
    for line in text.lines() {
        let range = line.split(' ').next().and_then(|first| first.split_once('-'));
        if let Some((start, end)) = range {
            picked = wanted(line, number(start)..number(end));
        } else if let Some(found) = line.strip_prefix("VmFlags:").filter(|_| picked) {
            flags.push(found.to_string());
        }
    }
    flags
}

/// "Do not copy on fork", in /proc/self/smaps (proc_pid_smaps(5)).
fn is_kept(flags: &str) -> bool {
    flags.split_whitespace().any(|flag| flag == "dc")
}

#[test]
fn a_forked_child_gets_neither_rings_nor_buffers() {
    if is_any() {
        return;
    }
    for driver in drivers() {
        let runtime = Builder::new().driver(driver).build().unwrap();
        runtime.block_on(async {
            let (mut stream, mut peer) = crate::load::stream();
            std::io::Write::write_all(&mut peer, b"lent").unwrap();
            let chunk = stream.recv().await.unwrap().expect("the peer sent");
            assert!(chunk.is_pooled());
            let at = chunk.as_ptr().addr();
            let pool = flags_of(|_, range| range.contains(&at));
            assert!(pool.len() == 1 && is_kept(&pool[0]), "{driver:?}: {pool:?}");
            let rings = flags_of(|line, _| line.ends_with("[io_uring]"));
            // Other tests of this process may have rings as well.
            assert!(driver != DriverKind::Uring || rings.len() >= 2, "{rings:?}");
            assert!(rings.iter().all(|flags| is_kept(flags)), "{rings:?}");
            passed(1);
        });
    }
}
