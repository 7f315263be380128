//! Reads of 4 KiB from a file that is in the page cache, alone and 32 at a time.

mod shared;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringbolt::buffers::Pages;
use ringbolt::fs::File;
use ringbolt::spawn;
use shared::{DRIVERS, runtime, settings, time};
use std::io;
use std::rc::Rc;

const BLOCK: usize = 4096;
const BLOCKS: u64 = 1024;

fn reads(c: &mut Criterion) {
    let mut group = c.benchmark_group("file/read 4 KiB");
    let data = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(&data, vec![b'x'; BLOCK * BLOCKS as usize]).expect("room for 4 MiB");
    for driver in DRIVERS {
        for depth in [1, 32] {
            let runtime = runtime(driver);
            let open = runtime.block_on(File::open(&data));
            let file = Rc::new(open.expect("the file is there"));
            group.throughput(Throughput::Elements(depth));
            let name = format!("{depth} at a time");
            group.bench_function(BenchmarkId::new(format!("{driver:?}"), name), |b| {
                time(b, &runtime, async |rounds| {
                    let readers: Vec<_> =
                        (0..depth).map(|i| spawn(read(file.clone(), i * 31, rounds))).collect();
                    for reader in readers {
                        let result = reader.await.expect("it has no reason to panic");
                        result.expect("the file is long enough");
                    }
                });
            });
            // The file belongs to the runtime and goes before it.
            runtime.block_on(async { drop(file) });
        }
    }
    group.finish();
}

async fn read(file: Rc<File>, first: u64, rounds: u64) -> io::Result<()> {
    let mut buffer = Pages::new(BLOCK, BLOCK)?;
    for round in 0..rounds {
        let offset = (first + round * 7) % BLOCKS * BLOCK as u64;
        buffer = file.read_at(buffer, offset).await.into_result()?.1;
    }
    Ok(())
}

criterion_group! { name = benches; config = settings(); targets = reads }
criterion_main!(benches);
