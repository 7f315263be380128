//! What is read is what was written.

use crate::support::*;
use ringbolt::buffers::Pages;
use ringbolt::fs::{self, File, OpenOptions};
use ringbolt::io::{self, Read as _, Write as _};
use ringbolt::{BufResult, IoBuf, IoBufMut};
use std::io::ErrorKind;

#[test]
fn whole_files() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for len in [0, 1, 31, 4096, 100_000, 5_000_000] {
            let content = pattern(len);
            let (_, back) = fs::write(&path, content.clone()).await.unwrap();
            assert!(back == content);
            assert!(fs::read(&path).await.unwrap() == content);
            assert_eq!(fs::metadata(&path).await.unwrap().len(), len as u64);
        }
        fs::write(&path, "täxt").await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "täxt");
        fs::write(&path, vec![0xFF, 0xFE]).await.unwrap();
        assert_eq!(kind(fs::read_to_string(&path).await), ErrorKind::InvalidData);
    });
}

#[test]
fn random_reads_and_writes_match_a_model() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let dir = tempfile::tempdir().unwrap();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(dir.path().join("file")).await.unwrap();
        let mut model: Vec<u8> = Vec::new();
        for round in 0..300 {
            let (at, len) = (rng.below(50_000), rng.below(5_000));
            let part: Vec<u8> = (0..len).map(|i| (i + round) as u8).collect();
            match rng.below(5) {
                0 | 1 => {
                    file.write_all_at(part.clone(), at as u64).await.unwrap();
                    if len > 0 {
                        model.resize(model.len().max(at + len), 0);
                        model[at..at + len].copy_from_slice(&part);
                    }
                }
                2 => {
                    let (n, back) = file
                        .write_vectored_at(
                            (part[..len / 3].to_vec(), part[len / 3..].to_vec()),
                            at as u64,
                        )
                        .await
                        .unwrap();
                    assert_eq!((n, back.0.len() + back.1.len()), (len, len));
                    if len > 0 {
                        model.resize(model.len().max(at + len), 0);
                        model[at..at + len].copy_from_slice(&part);
                    }
                }
                3 => {
                    let (n, buf) = file.read_at(Vec::with_capacity(len), at as u64).await.unwrap();
                    let wanted = &model[at.min(model.len())..(at + len).min(model.len())];
                    assert!(n == wanted.len() && buf == wanted);
                }
                _ => {
                    let room = [Vec::with_capacity(len / 2), Vec::with_capacity(len - len / 2)];
                    let (n, bufs) = file.read_vectored_at(room, at as u64).await.unwrap();
                    let wanted = &model[at.min(model.len())..(at + len).min(model.len())];
                    assert!(n == wanted.len() && bufs.concat() == wanted);
                }
            }
        }
        assert_eq!(file.metadata().await.unwrap().len(), model.len() as u64);
        file.close().await.unwrap();
    });
}

#[test]
fn the_end_of_a_file() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let file = File::open(&path).await.unwrap();
        // A read says how little there was, and the old content of its buffer is gone.
        let (n, buf) = file.read_at(vec![7; 100], 4).await.unwrap();
        assert_eq!((n, &buf[..]), (6, &b"456789"[..]));
        assert_eq!(file.read_at(vec![7; 100], 10).await.unwrap(), (0, vec![]));
        let BufResult(result, buf) = file.read_exact_at(Vec::with_capacity(8), 4).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(error.to_string(), "the source ended after 6 of 8 bytes");
        assert_eq!(buf, b"456789");
        let (_, buf) = file.read_exact_at(Vec::with_capacity(6), 4).await.unwrap();
        assert_eq!(buf, b"456789");
        file.read_exact_at(Vec::new(), 1000).await.unwrap();
        // A part of a buffer keeps what is around it.
        let part = b"..........".to_vec().slice_mut(2..5);
        let (_, part) = file.read_exact_at(part, 0).await.unwrap();
        assert_eq!(part.into_inner(), b"..012.....");
        let (_, pages) = file.read_exact_at(Pages::new(4, 512).unwrap(), 6).await.unwrap();
        assert_eq!(&pages[..], b"6789");
    });
}

#[test]
fn offsets_beyond_four_gigabytes() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        let file =
            OpenOptions::new().read(true).write(true).create(true).open(&path).await.unwrap();
        let far = (5 << 30) + 3;
        file.write_all_at("far away", far).await.unwrap();
        file.write_vectored_at(["and", " further"], far + 8).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), far + 19);
        let (n, buf) = file.read_at(Vec::with_capacity(100), far + 4).await.unwrap();
        assert_eq!((n, &buf[..]), (15, &b"awayand further"[..]));
        let room = [Vec::with_capacity(4), Vec::with_capacity(4)];
        let (n, bufs) = file.read_vectored_at(room, far - 4).await.unwrap();
        assert_eq!((n, bufs.concat()), (8, b"\0\0\0\0far ".to_vec()));
        // What no file can have.
        file.read_at(Vec::with_capacity(4), u64::MAX - 1).await.0.unwrap_err();
        file.write_at("x", u64::MAX - 1).await.0.unwrap_err();
    });
}

#[test]
fn a_file_is_read_and_written_in_order() {
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = File::create(&path).await.unwrap();
        for word in ["one ", "two ", "three"] {
            file.write_all(word).await.unwrap();
        }
        file.flush().await.unwrap();
        file.shutdown().await.unwrap();
        file.close().await.unwrap();
        let mut file = File::open(&path).await.unwrap();
        let (_, word) = file.read_exact(Vec::with_capacity(4)).await.unwrap();
        assert_eq!(word, b"one ");
        let (n, rest) = file.read_to_end(word).await.unwrap();
        assert_eq!((n, &rest[..]), (9, &b"one two three"[..]));
        assert_eq!(file.read_to_end(Vec::new()).await.unwrap().0, 0);
    });
}

#[test]
fn copies_are_equal() {
    on_every_driver(async |_| {
        let mut rng = Rng::new();
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let mut sizes = vec![0, 1, 16 * 1024, 64 * 1024];
        sizes.extend((0..4).map(|_| rng.below(3_000_000)));
        for size in sizes {
            let content = pattern(size);
            std::fs::write(&from, &content).unwrap();
            let mut source = File::open(&from).await.unwrap();
            let mut sink = File::create(&to).await.unwrap();
            assert_eq!(io::copy(&mut source, &mut sink).await.unwrap(), size as u64);
            sink.close().await.unwrap();
            assert!(std::fs::read(&to).unwrap() == content, "{size} bytes");
        }
    });
}

#[test]
#[cfg(unix)]
fn pipes_are_read_to_their_end() {
    use std::os::fd::OwnedFd;
    on_every_driver(async |_| {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut source = File::from_std(OwnedFd::from(reader).into());
        let mut sink = File::from_std(OwnedFd::from(writer).into());
        let content = pattern(300_000);
        let sent = content.clone();
        let writing = ringbolt::spawn(async move {
            let (sent, rest) = (sent[..200_000].to_vec(), sent[200_000..].to_vec());
            sink.write_all(sent).await.unwrap();
            // No pipe has places, so that an offset means nothing to it.
            let mut at = 0;
            while at < rest.len() {
                at += sink.write_vectored_at([rest[at..].to_vec()], 12345).await.unwrap().0;
            }
            sink.close().await.unwrap();
        });
        let (n, got) = source.read_to_end(Vec::new()).await.unwrap();
        assert!(n == content.len() && got == content);
        writing.await.unwrap();
    });
}

#[test]
#[cfg(target_os = "linux")]
fn files_without_a_size() {
    on_every_driver(async |_| {
        let status = fs::read_to_string("/proc/self/status").await.unwrap();
        assert!(status.contains("Pid:") && status.ends_with('\n'));
        assert_eq!(fs::metadata("/proc/self/status").await.unwrap().len(), 0);
        let maps = fs::read("/proc/self/maps").await.unwrap();
        assert!(maps.len() > 4096 && maps.ends_with(b"\n"));
        let zero = File::open("/dev/zero").await.unwrap();
        let (_, zeroes) = zero.read_exact_at(vec![1; 1 << 20], 0).await.unwrap();
        assert!(zeroes.iter().all(|byte| *byte == 0));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn direct_io_with_aligned_pages() {
    // O_DIRECT of x86 and most others; where the file system does not know it, open says so.
    const O_DIRECT: i32 = if cfg!(target_arch = "aarch64") { 0o200_000 } else { 0o40_000 };
    on_every_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).custom_flags(O_DIRECT);
        let Ok(file) = options.open(&path).await else {
            return skipped("a file system with direct I/O for temporary files");
        };
        let mut pages = Pages::new(8192, 4096).unwrap();
        io::fill(&mut pages, &pattern(8192));
        let (_, _) = file.write_all_at(pages, 4096).await.unwrap();
        let (_, pages) = file.read_exact_at(Pages::new(8192, 4096).unwrap(), 4096).await.unwrap();
        assert!(pages[..] == pattern(8192)[..]);
        let odd = file.read_at(Pages::new(4096, 4096).unwrap().slice_mut(1..513), 0).await;
        if odd.0.is_ok() {
            skipped("a file system that insists on alignment");
        }
    });
}

#[test]
fn one_big_transfer() {
    on_every_roomy_driver(async |_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let content = pattern(48 << 20);
        let file = File::create(&path).await.unwrap();
        let (_, content) = file.write_all_at(content, 0).await.unwrap();
        file.close().await.unwrap();
        let file = File::open(&path).await.unwrap();
        let room = Vec::with_capacity(content.len());
        let (_, got) = file.read_exact_at(room, 0).await.unwrap();
        assert!(got == content);
        let part = content.slice(1 << 20..(1 << 20) + 10);
        let (n, _) = file.read_at(Vec::with_capacity(part.len()), 1 << 20).await.unwrap();
        assert_eq!(n, 10);
    });
}
