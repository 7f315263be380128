//! A directory to serve, with what tends to be in one, and another that must stay hidden.

use super::{Program, drivers};
use crate::support::pattern;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;

/// What no answer may contain.
pub(super) const SECRET: &str = "the secret";

pub(super) struct Site {
    pub(super) dir: TempDir,
    outside: TempDir,
    pub(super) big: Vec<u8>,
}

impl Site {
    pub(super) fn new() -> Site {
        let site =
            Site { dir: TempDir::new().unwrap(), outside: TempDir::new().unwrap(), big: big() };
        site.write("index.html", b"<h1>index</h1>\n");
        site.write("hello.txt", b"0123456789");
        site.write("empty", b"");
        site.write("with space and 100%.txt", b"space");
        site.write("gr\u{fc}n.txt", b"umlaut");
        site.write("big.bin", &site.big);
        site.write("sub/index.html", b"sub");
        site.write("sub/deep/file.css", b"deep");
        fs::create_dir(site.path("bare")).unwrap();
        fs::write(site.outside.path().join("secret.txt"), SECRET).unwrap();
        #[cfg(unix)]
        site.link();
        site
    }

    #[cfg(unix)]
    fn link(&self) {
        use std::os::unix::fs::symlink;
        let outside = self.outside.path();
        symlink("hello.txt", self.path("inside")).unwrap();
        symlink("sub", self.path("inside-dir")).unwrap();
        symlink(outside.join("secret.txt"), self.path("out")).unwrap();
        symlink(outside, self.path("out-dir")).unwrap();
        symlink(format!("../{}", self.outside_name()), self.path("out-relative")).unwrap();
        symlink("loop", self.path("loop")).unwrap();
        symlink("nowhere", self.path("broken")).unwrap();
        symlink("inside", self.path("twice")).unwrap();
    }

    /// How the hidden directory is called; both lie in one place.
    pub(super) fn outside_name(&self) -> String {
        self.outside.path().file_name().unwrap().to_str().unwrap().into()
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs `body` with a server of this directory, on each driver.
    pub(super) fn on_every_driver(&self, body: impl Fn(SocketAddr)) {
        for driver in drivers() {
            eprintln!("on {driver}");
            let server = start(self.dir.path(), driver, &["--cores", "2"]);
            body(server.address());
            server.stop();
        }
    }
}

/// More than a server sends at a time, and no multiple of anything.
fn big() -> Vec<u8> {
    pattern(3_000_017)
}

pub(super) fn start(dir: &Path, driver: &str, more: &[&str]) -> Program {
    let mut arguments = vec!["--dir", dir.to_str().unwrap(), "--addr", "127.0.0.1:0"];
    arguments.extend(more);
    Program::start("serve", driver, &arguments)
}
