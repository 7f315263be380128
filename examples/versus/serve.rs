//! The servers.

use crate::arguments::Arguments;
use crate::{Stop, builder};
use ringbolt::PoolConfig;
use ringbolt::net::{ListenOptions, OwnedReadHalf, OwnedWriteHalf, TcpStream};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";
const HEADERS_MAX: usize = 32;
/// A head that is longer than this is not worth waiting for.
const HEAD_MAX: usize = 64 * 1024;
/// Bytes that the pool may lend to all connections together.
const POOL_BYTES: usize = 64 << 20;

/// What is done with each connection.
#[derive(Clone, Copy)]
enum Service {
    Echo,
    Http,
    Proxy(SocketAddr),
}

/// Serves until the process is killed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Stop> {
    let port = arguments.count("port", 0)?;
    let service = match arguments.workload() {
        "echo" => Service::Echo,
        "http" => Service::Http,
        _ => Service::Proxy((Ipv4Addr::LOCALHOST, arguments.count("backend", 0)?).into()),
    };
    let buffer_len: usize = arguments.count("buf", 4096)?;
    let buffers_max = (POOL_BYTES / buffer_len).clamp(1024, 16384);
    let pool = PoolConfig { buffer_len, buffers_max, ..PoolConfig::default() };
    let runtime = builder(arguments).pool(pool).build()?;
    runtime.block_on(listen(port, service))?;
    Ok(())
}

async fn listen(port: u16, service: Service) -> io::Result<()> {
    let options = ListenOptions::new().backlog(16384).nodelay(true);
    let mut listener = options.listen((Ipv4Addr::LOCALHOST, port)).await?;
    println!("READY");
    io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that fails is dropped, as its peer will notice.
        match service {
            Service::Echo => drop(ringbolt::spawn(echo(stream))),
            Service::Http => drop(ringbolt::spawn(http(stream))),
            Service::Proxy(backend) => drop(ringbolt::spawn(proxy(stream, backend))),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.write_all(chunk).await.0?;
    }
    Ok(())
}

/// Whole requests are answered from where they lie; only a torn one is copied.
async fn http(mut stream: TcpStream) -> io::Result<()> {
    let mut torn = Vec::new();
    let mut out = Vec::new();
    while let Some(chunk) = stream.recv().await? {
        if torn.is_empty() {
            let used = answer(&chunk, &mut out)?;
            torn.extend_from_slice(&chunk[used..]);
        } else {
            torn.extend_from_slice(&chunk);
            let used = answer(&torn, &mut out)?;
            torn.drain(..used);
        }
        drop(chunk);
        if torn.len() > HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if !out.is_empty() {
            out = stream.write_all(out).await.into_result()?.1;
            out.clear();
        }
    }
    Ok(())
}

/// Appends a response to `out` for each complete request at the start of `input`, and returns how
/// many bytes those took.
fn answer(input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
    let mut used = 0;
    while used < input.len() {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&input[used..]) {
            Ok(httparse::Status::Complete(len)) => {
                used += len;
                out.extend_from_slice(RESPONSE);
            }
            Ok(httparse::Status::Partial) => break,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(used)
}

async fn proxy(client: TcpStream, backend: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(backend).await?;
    server.set_nodelay(true)?;
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    drop(ringbolt::spawn(relay(server_reads, client_writes)));
    relay(client_reads, server_writes).await
}

/// Dropping the sending half at the end tells the receiver that nothing more comes.
async fn relay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    while let Some(chunk) = from.recv().await? {
        to.write_all(chunk).await.0?;
    }
    Ok(())
}
