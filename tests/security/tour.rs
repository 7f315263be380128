//! Everything that the runtime does, once.

use ringbolt::net::{TcpListener, TcpStream};
use ringbolt::{Builder, Runtime, fs};
use std::sync::Mutex;
use std::time::Duration;

/// Sockets, files, names, timers and helper threads, on one core.
pub(crate) fn of_one_core(runtime: &Runtime) {
    runtime.block_on(async {
        sockets().await;
        files().await;
        ringbolt::sleep(Duration::from_millis(1)).await;
        assert_eq!(ringbolt::spawn_blocking(|| 6 * 7).await.expect("a helper runs it"), 42);
    });
    assert_eq!(runtime.metrics().in_flight, 0);
}

/// Two cores that wake each other, as each sleeps while the other works.
pub(crate) fn of_two_cores(builder: &Builder) {
    let (sender, receiver) = futures_channel::oneshot::channel();
    let (sender, receiver) = (Mutex::new(Some(sender)), Mutex::new(Some(receiver)));
    let cores = ringbolt::cores(2).pin(false).builder(builder.clone());
    let run = cores.run(async |worker| {
        if worker.index() == 1 {
            let asked = receiver.lock().unwrap().take().expect("taken once");
            return asked.await.expect("the other core says when it is done");
        }
        for round in 0..50 {
            let answer = worker.remotes()[1].spawn(move || async move { round }).await;
            assert_eq!(answer.expect("it runs"), round);
        }
        let done = sender.lock().unwrap().take().expect("taken once");
        done.send(50).expect("the other core waits");
        50
    });
    assert_eq!(run.expect("two cores start"), [50, 50]);
}

async fn sockets() {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all("lent").await.0.unwrap();
    assert_eq!(&*server.recv().await.unwrap().expect("more to come"), b"lent");
    server.write_vectored([&b"two"[..], b"parts"]).await.0.unwrap();
    let (n, bufs) = client.read_vectored([vec![0; 3], vec![0; 5]]).await.unwrap();
    assert_eq!((n, &bufs.concat()[..]), (8, &b"twoparts"[..]));
    client.shutdown(std::net::Shutdown::Write).await.unwrap();
    assert!(server.recv().await.unwrap().is_none());
}

async fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("inner")).await.unwrap();
    fs::write(path("inner/file"), "content").await.0.unwrap();
    let file = fs::File::open(path("inner/file")).await.unwrap();
    file.sync_all().await.unwrap();
    let (n, bufs) = file.read_vectored_at([vec![0; 3], vec![0; 4]], 0).await.unwrap();
    assert_eq!((n, &bufs.concat()[..]), (7, &b"content"[..]));
    file.close().await.unwrap();
    assert_eq!(fs::metadata(path("inner/file")).await.unwrap().len(), 7);
    fs::rename(path("inner/file"), path("file")).await.unwrap();
    assert_eq!(fs::read(path("file")).await.unwrap(), b"content");
    fs::remove_file(path("file")).await.unwrap();
    fs::remove_dir(path("inner")).await.unwrap();
}
