//! What the kernel said meanwhile: dmesg(1).

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// Words that a healthy kernel does not say.
const BAD: [&str; 6] = ["WARNING:", "BUG:", "Oops", "general protection", "KASAN", "refcount_t: "];

/// The kernel's log from a moment on.
#[derive(Debug)]
pub(crate) struct KernelLog(Option<File>);

impl KernelLog {
    pub(crate) fn from_now() -> KernelLog {
        let options = File::options().read(true).custom_flags(libc::O_NONBLOCK).clone();
        let log = options.open("/dev/kmsg").and_then(|mut log| {
            log.seek(SeekFrom::End(0))?;
            Ok(log)
        });
        if let Err(error) = &log {
            crate::skipped(&format!("the kernel's log cannot be read: {error}"));
        }
        KernelLog(log.ok())
    }

    /// Fails if the kernel complained.
    pub(crate) fn check(mut self) {
        let Some(log) = &mut self.0 else { return };
        let complaints = complaints(log);
        assert!(complaints.is_empty(), "the kernel complained:\n{}", complaints.join(""));
    }
}

/// Reads records until there is none left, and keeps the bad ones. One read gives one record.
fn complaints(log: &mut impl Read) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return complaints,
            Ok(n) => {
                let text = String::from_utf8_lossy(&record[..n]);
                // A program that crashes is none of the kernel's faults.
                let program = text.contains("traps: ");
                if !program && BAD.iter().any(|bad| text.contains(bad)) {
                    complaints.push(text.into_owned());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return complaints,
            // Records were overwritten before they were read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => panic!("the kernel's log: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_found() {
        let mut log: &[u8] = b"4,1,2,-;WARNING: CPU: 0 PID: 1 at io_uring/poll.c:1\n";
        assert_eq!(complaints(&mut log).len(), 1);
        let mut log: &[u8] = b"4,1,2,-;Oops: general protection fault, 0000 [#1] SMP\n";
        assert_eq!(complaints(&mut log).len(), 1);
        let mut log: &[u8] = b"6,1,2,-;traps: a[7] general protection fault ip:1 sp:2 error:0\n";
        assert_eq!(complaints(&mut log).len(), 0);
        let mut log: &[u8] = b"6,1,2,-;device lo entered promiscuous mode\n";
        assert_eq!(complaints(&mut log).len(), 0);
    }
}
