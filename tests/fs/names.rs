//! Opening, looking at, moving and removing.

use crate::support::*;
use ringbolt::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

#[test]
fn options_that_contradict_one_another() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let option = |set: fn(&mut OpenOptions) -> &mut OpenOptions| {
            let mut options = OpenOptions::new();
            set(&mut options);
            options
        };
        let bad = [
            (option(|o| o), "neither read, write nor append is set"),
            (option(|o| o.create(true)), "neither"),
            (option(|o| o.read(true).truncate(true)), "truncate needs write, and not append"),
            (option(|o| o.append(true).truncate(true)), "truncate"),
            (option(|o| o.append(true).write(true).truncate(true)), "truncate"),
            (option(|o| o.read(true).create(true)), "creating a file needs write or append"),
            (option(|o| o.read(true).create_new(true)), "creating"),
        ];
        for (options, text) in bad {
            let error = options.open(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{options:?}");
            assert!(error.to_string().contains(text), "{options:?}: {error}");
        }
        assert!(!path.exists());
    });
}

#[test]
fn options_do_what_they_say() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let content = || std::fs::read_to_string(&path).unwrap();
        let opened = async |set: fn(&mut OpenOptions) -> &mut OpenOptions| {
            let mut options = OpenOptions::new();
            set(&mut options).open(&path).await
        };
        assert_eq!(kind(opened(|o| o.write(true)).await), ErrorKind::NotFound);
        let file = opened(|o| o.write(true).create_new(true)).await.unwrap();
        file.write_all_at("0123456789", 0).await.unwrap();
        file.close().await.unwrap();
        let again = opened(|o| o.write(true).create_new(true)).await;
        assert_eq!(kind(again), ErrorKind::AlreadyExists);
        // Opening for writing keeps the content.
        let file = opened(|o| o.write(true).create(true)).await.unwrap();
        file.write_all_at("ab", 2).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(content(), "01ab456789");
        let file = opened(|o| o.append(true)).await.unwrap();
        file.write_all_at("+", 0).await.unwrap();
        file.write_all_at("+", 5).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(content(), "01ab456789++");
        opened(|o| o.write(true).truncate(true)).await.unwrap().close().await.unwrap();
        assert_eq!(content(), "");
    });
}

#[test]
fn what_is_known_of_a_file() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let before = SystemTime::now() - Duration::from_secs(3600);
        fs::write(&path, "content").await.unwrap();
        let known = fs::metadata(&path).await.unwrap();
        assert_eq!((known.len(), known.is_file(), known.is_dir()), (7, true, false));
        assert!(
            known.modified() > before && known.modified() < before + 2 * Duration::from_secs(3600)
        );
        let theirs = std::fs::metadata(&path).unwrap();
        let gap = match theirs.modified().unwrap().duration_since(known.modified()) {
            Ok(gap) => gap,
            Err(error) => error.duration(),
        };
        assert!(gap < Duration::from_millis(1), "{gap:?}");
        let open = File::open(&path).await.unwrap();
        assert_eq!(open.metadata().await.unwrap().id(), known.id());
        let folder = fs::metadata(dir.path()).await.unwrap();
        assert!(folder.is_dir() && !folder.is_file() && folder.id() != known.id());
        let mut old = std::fs::File::options();
        let early = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
        let set = old.write(true).open(&path).unwrap().set_modified(early);
        if set.is_ok() && std::fs::metadata(&path).unwrap().modified().unwrap() == early {
            assert_eq!(fs::metadata(&path).await.unwrap().modified(), early);
        } else {
            skipped("a file system that knows times before 1970");
        }
    });
}

#[test]
#[cfg(unix)]
fn links_and_modes() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        let file =
            OpenOptions::new().write(true).create(true).mode(0o600).open(&path).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().mode() & 0o777, 0o600);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(fs::metadata(&link).await.unwrap().is_file());
        let itself = fs::symlink_metadata(&link).await.unwrap();
        assert!(itself.file_type().is_symlink() && !itself.file_type().is_file());
        // A name that is no text.
        use std::os::unix::ffi::OsStrExt;
        let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"\xFF\xFEodd"));
        match fs::write(&odd, "odd").await.0 {
            Ok(()) => assert_eq!(fs::read(&odd).await.unwrap(), b"odd"),
            Err(_) => skipped("a file system that takes any bytes as a name"),
        }
        fs::remove_file(&link).await.unwrap();
        assert!(path.exists() && !link.exists());
    });
}

#[test]
fn renaming_and_removing() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a"), "a").await.unwrap();
        fs::write(path("b"), "b").await.unwrap();
        fs::rename(path("a"), path("b")).await.unwrap();
        assert_eq!(fs::read(path("b")).await.unwrap(), b"a");
        assert_eq!(kind(fs::metadata(path("a")).await), ErrorKind::NotFound);
        fs::create_dir(path("d")).await.unwrap();
        fs::rename(path("b"), path("d/b")).await.unwrap();
        fs::rename(path("d"), path("e")).await.unwrap();
        assert_eq!(fs::read(path("e/b")).await.unwrap(), b"a");
        fs::remove_file(path("e/b")).await.unwrap();
        fs::remove_dir(path("e")).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}

#[test]
fn all_directories_of_a_path() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c/d");
        fs::create_dir_all(&deep).await.unwrap();
        assert!(deep.is_dir());
        fs::create_dir_all(&deep).await.unwrap();
        fs::create_dir_all("").await.unwrap();
        fs::create_dir_all(".").await.unwrap();
        let many: Vec<_> =
            (0..8).map(|_| ringbolt::spawn(fs::create_dir_all(dir.path().join("x/y/z")))).collect();
        for one in many {
            one.await.unwrap().unwrap();
        }
        assert!(dir.path().join("x/y/z").is_dir());
        std::fs::write(dir.path().join("file"), "").unwrap();
        let onto = fs::create_dir_all(dir.path().join("file")).await;
        assert_eq!(kind(onto), ErrorKind::NotADirectory);
    });
}

#[test]
fn errors_name_the_path() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("none");
        let name = none.display().to_string();
        let texts = [
            (fs::read(&none).await.unwrap_err(), "cannot open "),
            (fs::metadata(&none).await.unwrap_err(), "cannot look at "),
            (fs::remove_file(&none).await.unwrap_err(), "cannot remove "),
            (fs::remove_dir(&none).await.unwrap_err(), "cannot remove directory "),
            (fs::rename(&none, "x").await.unwrap_err(), "cannot rename "),
            (fs::create_dir(none.join("x")).await.unwrap_err(), "cannot create directory "),
        ];
        for (error, start) in texts {
            let text = error.to_string();
            assert!(text.starts_with(start) && text.contains(&name), "{text}");
        }
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.join("x"), file] {
            let text = fs::create_dir_all(&path).await.unwrap_err().to_string();
            assert!(text.contains("file"), "{text}");
        }
    });
}
