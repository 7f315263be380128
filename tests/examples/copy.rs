//! The file copier.

use super::drivers;
use super::program::{Ended, Program};
use crate::support::pattern;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory with files to copy, and the copier on one driver.
struct Place {
    dir: TempDir,
    driver: &'static str,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn copy(&self, from: &Path, to: &Path) -> Ended {
        Program::start("copy", self.driver, &[from, to]).end()
    }

    /// Copies, which must succeed without a word.
    fn copied(&self, from: &Path, to: &Path) {
        let ended = self.copy(from, to);
        assert_eq!((ended.code, &*ended.stderr, &*ended.stdout), (Some(0), "", ""));
    }

    /// Tries to copy, and gives the one line that says why not.
    fn refused(&self, from: &Path, to: &Path) -> String {
        let ended = self.copy(from, to);
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
        assert!(ended.stderr.starts_with("copy: "), "{ended:?}");
        ended.stderr
    }
}

fn places() -> impl Iterator<Item = Place> {
    drivers().into_iter().map(|driver| Place { dir: TempDir::new().unwrap(), driver })
}

#[test]
fn files_of_all_sizes() {
    for place in places() {
        let to = place.path("to");
        // Lengths around those of its buffers, over a longer file and over a shorter one.
        for len in [10_000_019, 0, 1, 16_383, 16_384, 16_385, 1 << 20, (1 << 20) + 1, 5_000_000] {
            let content = pattern(len);
            let from = place.write("from", &content);
            place.copied(&from, &to);
            assert!(fs::read(&to).unwrap() == content, "{len} bytes on {}", place.driver);
        }
    }
}

#[test]
fn holes_become_zeros() {
    for place in places() {
        let from = place.write("from", b"begin");
        File::options().append(true).open(&from).unwrap().set_len(40 << 20).unwrap();
        let to = place.path("to");
        place.copied(&from, &to);
        let content = fs::read(&to).unwrap();
        assert_eq!((content.len(), &content[..5]), (40 << 20, &b"begin"[..]));
        assert!(content[5..].iter().all(|&byte| byte == 0));
    }
}

#[cfg(unix)]
#[test]
fn a_new_file_gets_the_permissions() {
    use std::os::unix::fs::PermissionsExt;
    for place in places() {
        let from = place.write("from", b"#!/bin/true\n");
        fs::set_permissions(&from, fs::Permissions::from_mode(0o700)).unwrap();
        place.copied(&from, &place.path("to"));
        let mode = fs::metadata(place.path("to")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn a_file_is_not_copied_onto_itself() {
    for place in places() {
        let from = place.write("from", b"precious");
        fs::hard_link(&from, place.path("hard")).unwrap();
        fs::create_dir(place.path("sub")).unwrap();
        let mut names = vec![from.clone(), place.path("hard"), place.path("sub/../from")];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("from", place.path("soft")).unwrap();
            names.push(place.path("soft"));
        }
        #[cfg(not(unix))]
        names.truncate(3);
        for to in names {
            let text = place.refused(&from, &to);
            assert!(text.contains("same file"), "{text}");
            assert_eq!(fs::read(&from).unwrap(), b"precious");
        }
    }
}

#[test]
fn what_cannot_be_copied_is_said() {
    for place in places() {
        let (from, dir) = (place.write("from", b"x"), place.path("dir"));
        fs::create_dir(&dir).unwrap();
        let cases = [
            (place.path("none"), place.path("to"), "none"),
            (dir.clone(), place.path("to"), "dir"),
            (from.clone(), dir.clone(), "dir"),
            (from.clone(), place.path("no/such/place"), "place"),
        ];
        for (from, to, named) in &cases {
            let text = place.refused(from, to);
            assert!(text.contains(named), "{text}");
        }
        assert!(!place.path("to").exists());
    }
}

#[cfg(unix)]
#[test]
fn a_copy_that_fails_says_how_far_it_came() {
    use super::program::binary;
    use std::process::Command;
    for place in places() {
        let (from, to) = (place.write("from", &pattern(3_000_000)), place.path("to"));
        // A limit on the size of files stands for a disk that is full. The signal that comes with
        // it is ignored, so that the write fails.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$@\"", "sh"]);
        command.arg(binary("copy")).arg(&from).arg(&to).env("RINGBOLT_DRIVER", place.driver);
        let ended = Program::run(command).end();
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
        let len = fs::metadata(&to).unwrap().len();
        let said = format!("to is incomplete: {len} of 3000000 bytes were written");
        assert!(len < 3_000_000 && ended.stderr.contains(&said), "{len}: {ended:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_long_copy_tells_how_far_it_is_and_can_be_stopped() {
    for place in places() {
        let (from, to) = (place.write("from", b""), place.path("to"));
        // So much that it takes longer than the machine is willing to wait; mostly a hole.
        File::options().append(true).open(&from).unwrap().set_len(64 << 30).unwrap();
        let arguments = [Path::new("--progress"), &from, &to];
        let copy = Program::start("copy", place.driver, &arguments);
        let shown = copy.stderr.wait_for(|text| text.contains(" MiB/s"));
        assert!(shown.is_ok_and(|text| text.contains(" of 65536.0 MiB ")));
        copy.signal("TERM");
        let ended = copy.end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let last = ended.stderr.lines().last().unwrap_or_default();
        assert!(last.contains("stopped by a signal; ") && last.contains("incomplete"), "{last}");
    }
}
