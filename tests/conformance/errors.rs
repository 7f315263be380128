//! Every documented error that can be provoked, with the buffer given back.

use crate::support::*;
use ringbolt::fs::{self, File, OpenOptions};
use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::op::{Accept, Connect, Fd, Recv, Send, Shutdown, Submit};
use std::io::ErrorKind::{self, *};
use std::net;

#[test]
fn names_and_files() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        std::fs::create_dir_all(path("full/inner")).unwrap();
        std::fs::create_dir(path("empty")).unwrap();
        let create_new = |at| async move {
            OpenOptions::new().write(true).create_new(true).open(at).await.map(drop)
        };
        let long = "n".repeat(300);
        let all: Vec<(&str, Try, ErrorKind)> = vec![
            ("open nothing", io(File::open(path("none"))), NotFound),
            ("open below nothing", io(File::create(path("none/file"))), NotFound),
            ("create what is there", io(create_new(path("file"))), AlreadyExists),
            ("a zero byte", io(File::open(path("a\0b"))), InvalidInput),
            ("stat nothing", io(fs::metadata(path("none"))), NotFound),
            ("stat a zero byte", io(fs::metadata(path("\0"))), InvalidInput),
            ("mkdir over a file", io(fs::create_dir(path("file"))), AlreadyExists),
            ("mkdir over a directory", io(fs::create_dir(path("full"))), AlreadyExists),
            ("mkdir below nothing", io(fs::create_dir(path("none/dir"))), NotFound),
            ("all of a file", io(fs::create_dir_all(path("file/dir"))), NotADirectory),
            ("remove nothing", io(fs::remove_file(path("none"))), NotFound),
            ("remove no directory", io(fs::remove_dir(path("none"))), NotFound),
            ("remove a full directory", io(fs::remove_dir(path("full"))), DirectoryNotEmpty),
            ("rename nothing", io(fs::rename(path("none"), path("x"))), NotFound),
            ("rename to nowhere", io(fs::rename(path("file"), path("no/x"))), NotFound),
            ("write nowhere", buf(fs::write(path("none/file"), "text")), NotFound),
            ("read nothing", io(fs::read(path("none"))), NotFound),
        ];
        #[cfg(unix)]
        let all = {
            let mut all = all;
            std::os::unix::fs::symlink("loop", path("loop")).unwrap();
            let full = path("full");
            all.extend([
                ("a long name", io(File::open(path(&long))), InvalidFilename),
                ("write a directory", io(File::create(path("full"))), IsADirectory),
                ("read a directory", io(fs::read(path("full"))), IsADirectory),
                ("below a file", io(File::open(path("file/x"))), NotADirectory),
                ("stat below a file", io(fs::metadata(path("file/x"))), NotADirectory),
                ("mkdir below a file", io(fs::create_dir(path("file/x"))), NotADirectory),
                ("remove a file as dir", io(fs::remove_dir(path("file"))), NotADirectory),
                ("rename onto a full one", io(fs::rename(path("empty"), full)), DirectoryNotEmpty),
                ("dir onto a file", io(fs::rename(path("empty"), path("file"))), NotADirectory),
                ("file onto a dir", io(fs::rename(path("file"), path("empty"))), IsADirectory),
            ]);
            all
        };
        let _ = long;
        for (name, future, wanted) in all {
            let error = future.await.expect_err(name);
            assert_eq!(error.kind(), wanted, "{name}: {error}");
        }
        let error = File::open(path("none")).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot open ") && error.contains("none"), "{error}");
    });
}

#[test]
#[cfg(unix)]
fn names_of_links() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("link", &link).unwrap();
        assert_eq!(File::open(&link).await.unwrap_err().raw_os_error(), None);
        let text = File::open(&link).await.unwrap_err().to_string();
        assert!(text.contains("symbolic link"), "{text}");
        assert!(fs::symlink_metadata(&link).await.unwrap().file_type().is_symlink());
    });
}

#[test]
#[cfg(unix)]
fn descriptors_that_cannot_do_it() {
    use std::os::fd::OwnedFd;
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let read_only = File::open(&path).await.unwrap();
        let write_only = OpenOptions::new().write(true).open(&path).await.unwrap();
        let folder = File::open(dir.path()).await.unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let pipe_in = File::from_std(OwnedFd::from(reader).into());
        let pipe_out = File::from_std(OwnedFd::from(writer).into());
        let buffer = || Vec::with_capacity(8);
        // EBADF has no kind of its own.
        let bad = |error: &std::io::Error| error.raw_os_error() == Some(9);
        let ringbolt::BufResult(result, text) = read_only.write_at("text", 0).await;
        assert!(bad(&result.unwrap_err()) && text == "text");
        let ringbolt::BufResult(result, room) = write_only.read_at(buffer(), 0).await;
        assert!(bad(&result.unwrap_err()) && room.capacity() == 8);
        assert!(bad(&write_only.read_vectored_at([buffer()], 0).await.0.unwrap_err()));
        assert!(bad(&read_only.write_vectored_at(["text"], 0).await.0.unwrap_err()));
        assert_eq!(kind(folder.read_at(buffer(), 0).await.0), IsADirectory);
        assert_eq!(kind(pipe_out.sync_all().await), InvalidInput);
        let again = pipe_out.sync_all().await.unwrap_err();
        assert!(again.to_string().contains("an earlier sync of this file failed"), "{again}");
        drop(pipe_in);
        until("the reader is closed", || ringbolt::metrics().in_flight == 0).await;
        // An error, and no signal that ends the process.
        assert_eq!(kind(pipe_out.write_at("x", u64::MAX).await.0), BrokenPipe);
        assert_eq!(kind(pipe_out.write_vectored_at(["x"], 0).await.0), BrokenPipe);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn files_of_the_system() {
    on_every_driver(async |_| {
        let full = OpenOptions::new().write(true).open("/dev/full").await.unwrap();
        let ringbolt::BufResult(result, back) = full.write_all_at(pattern(10_000), 0).await;
        assert_eq!((kind(result), back), (StorageFull, pattern(10_000)));
        assert_eq!(kind(full.write_vectored_at(["a", "b"], 0).await.0), StorageFull);
        let program = std::env::current_exe().unwrap();
        let open = OpenOptions::new().write(true).open(program).await;
        assert_eq!(kind(open), ExecutableFileBusy);
    });
}

#[test]
fn sockets_without_a_peer() {
    on_every_driver(async |_| {
        let domain = socket2::Domain::IPV4;
        let new = || socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        let lone = || Fd::socket(new()).unwrap();
        let (address, _nobody) = dead_address();
        let refused = Submit::new(Connect::new(lone(), address.into())).await;
        assert_eq!(kind(refused), ConnectionRefused);
        let text = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(text.kind(), ConnectionRefused);
        assert!(text.to_string().contains(&format!("cannot connect to {address}")), "{text}");

        let ringbolt::BufResult(result, back) =
            Submit::new(Recv::new(lone(), Vec::with_capacity(8))).await;
        assert_eq!((kind(result), back.capacity()), (NotConnected, 8));
        let result = Submit::new(Shutdown::new(lone(), net::Shutdown::Both)).await;
        assert_eq!(kind(result), NotConnected);
        let ringbolt::BufResult(result, back) = Submit::new(Send::new(lone(), "text")).await;
        let kind_of_send = kind(result);
        let as_reset = cfg!(windows) && kind_of_send == ConnectionReset;
        assert!(as_reset || matches!(kind_of_send, NotConnected | BrokenPipe));
        assert_eq!(back, "text");
        assert_eq!(kind(Submit::new(Accept::new(lone())).await), InvalidInput);
    });
}

#[test]
fn ports_and_addresses() {
    on_every_driver(async |_| {
        let (_listener, address) = listen().await;
        let error = TcpListener::bind(address).await.unwrap_err();
        assert_eq!(error.kind(), AddrInUse);
        assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
        // An address for documentation, which no machine has (RFC 5737).
        assert_eq!(kind(TcpListener::bind("192.0.2.1:0").await), AddrNotAvailable);
        let connected = Submit::new(Connect::new(fd_pair().0, address.into())).await;
        connected.expect_err("a socket connects once");
    });
}

#[test]
fn a_peer_that_resets() {
    on_every_driver(async |_| {
        let (mut stream, peer) = pair_with_std().await;
        reset(peer);
        let received = stream.recv().await.map(|chunk| chunk.map_or(0, |chunk| chunk.len()));
        assert!(is_reset(received));
        // The error was handed out; what is left is the end, or a broken pipe for a sender.
        assert!(matches!(stream.recv().await, Ok(None) | Err(_)));
        let sent = kind(stream.write_all("x").await.0);
        let others = [ConnectionReset, ConnectionAborted];
        assert!(sent == BrokenPipe || cfg!(windows) && others.contains(&sent), "{sent:?}");

        let (fd, peer) = fd_pair();
        let recv = Submit::new(Recv::new(fd.clone(), Vec::with_capacity(8)));
        let waiting = ringbolt::spawn(recv);
        turns(3).await;
        reset(peer);
        assert!(is_reset(waiting.await.unwrap().0));
    });
}

#[test]
fn a_peer_that_went() {
    on_every_driver(async |_| {
        let (mut stream, peer) = pair_with_std().await;
        drop(peer);
        // The first send makes the peer's system answer with a reset; a later one meets it.
        let error = loop {
            match stream.write_all("bytes that nobody reads").await.0 {
                Ok(()) => pause().await,
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind(), BrokenPipe | ConnectionReset), "{error}");
        let ringbolt::BufResult(result, parts) = stream.write_vectored(["a", "b"]).await;
        assert!(matches!(kind(result), BrokenPipe | ConnectionReset));
        assert_eq!(parts, ["a", "b"]);
    });
}
