//! A program that gives up its rights after its runtime was built: what it asks for from then on is
//! asked with what is left, also by the workers of the ring and the helper threads.

use crate::child::{command, figures_of, run};
use crate::scale::figure;
use crate::support::{poll_once, turns};
use crate::{drivers, passed};
use ringbolt::fs::{self, File, OpenOptions};
use ringbolt::op::{Open, OpenWish, Submit};
use ringbolt::{Builder, DriverKind};
use std::io::ErrorKind::PermissionDenied;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Tells the child where the files are.
const FOLDER: &str = "RINGBOLT_SECURITY_FOLDER";

/// "nobody", who owns nothing.
const NOBODY: u32 = 65534;

/// Files of root in a folder that everybody can enter: one for root alone, and one for all.
fn prepare(folder: &Path) {
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (secret, public) = (folder.join("secret"), folder.join("public"));
    for (path, mode) in [(&secret, 0o600), (&public, 0o644)] {
        std::fs::write(path, "content").unwrap();
        set(path, mode);
    }
    set(folder, 0o755);
}

fn become_nobody() {
    // SAFETY: the calls name no memory. This one changes every thread of the process.
    assert_eq!(unsafe { libc::setgid(NOBODY) }, 0, "{}", io::Error::last_os_error());
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setuid(NOBODY) }, 0, "{}", io::Error::last_os_error());
}

#[track_caller]
fn is_denied<T: std::fmt::Debug>(result: io::Result<T>) -> u32 {
    assert_eq!(result.unwrap_err().kind(), PermissionDenied);
    1
}

fn give_up(driver: DriverKind, folder: &Path) {
    let (secret, public) = (folder.join("secret"), folder.join("public"));
    let runtime = Builder::new().driver(driver).build().unwrap();
    let denied = runtime.block_on(async {
        // Workers and helpers are there, with the rights of root, and files are open.
        let opened = File::open(&secret).await.unwrap();
        for _ in 0..4 {
            let reads: Vec<_> = (0..8).map(|_| ringbolt::spawn(fs::read(secret.clone()))).collect();
            for read in reads {
                assert_eq!(read.await.unwrap().unwrap(), b"content");
            }
        }
        // Operations wait, one of which would open the file. It has been started, and has not been
        // handed to the system before this task waits.
        let (mut stream, mut peer) = crate::load::stream();
        let mut receive = Box::pin(stream.recv());
        assert!(poll_once(&mut receive).await.is_pending());
        turns(4).await;
        let wish = OpenWish { read: true, ..OpenWish::default() };
        let mut queued = Submit::new(Open::new(&secret, &wish).unwrap());
        assert!(poll_once(&mut queued).await.is_pending());

        become_nobody();

        let mut denied = is_denied(queued.await);
        // Opening for writing always goes through a worker of the ring.
        for _ in 0..8 {
            denied += is_denied(File::open(&secret).await);
            denied += is_denied(OpenOptions::new().write(true).truncate(true).open(&secret).await);
            denied += is_denied(File::create(folder.join("new")).await);
            denied += is_denied(fs::create_dir(folder.join("inner")).await);
            denied += is_denied(fs::rename(&secret, folder.join("other")).await);
            denied += is_denied(fs::remove_file(&secret).await);
        }
        // Both are the process's own business: what it may read, and what it opened before.
        assert_eq!(fs::read(&public).await.unwrap(), b"content");
        assert_eq!(opened.read_at(vec![0; 7], 0).await.unwrap(), (7, b"content".to_vec()));
        peer.write_all(b"go on").unwrap();
        assert_eq!(receive.await.unwrap().expect("the peer sent")[..], *b"go on");
        denied
    });
    // A core that is started from now on asks as nobody, too.
    let late = ringbolt::cores(2).pin(false).builder(Builder::new().driver(driver));
    let results = late.run(async |_| File::open(&secret).await.map(drop)).unwrap();
    let denied = denied + results.into_iter().map(is_denied).sum::<u32>();
    figure(&format!("requests denied after setuid, {driver:?}"), denied, "requests");
}

#[test]
fn rights_that_were_given_up_are_gone() {
    // SAFETY: always allowed.
    if unsafe { libc::geteuid() } != 0 {
        return crate::support::skipped("root, who has rights to give up");
    }
    let test = "credentials::rights_that_were_given_up_are_gone";
    if let Some(folder) = std::env::var_os(FOLDER) {
        for driver in drivers() {
            run(test, &format!("{driver:?}"), || give_up(driver, Path::new(&folder)));
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    for driver in drivers() {
        let output = command(test, &format!("{driver:?}")).env(FOLDER, folder.path()).output();
        figures_of(&output.expect("this program can be started again"));
        passed(1);
    }
    // Nothing was truncated, renamed or made.
    assert_eq!(std::fs::read(folder.path().join("secret")).unwrap(), b"content");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
