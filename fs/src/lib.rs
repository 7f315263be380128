//! Files for ringbolt.
//!
//! A method here builds an operation and submits it. On io_uring the kernel executes it, elsewhere
//! a helper thread does; a core never waits for a disk.

#![forbid(unsafe_code)]

mod file;
mod open;
mod path;
mod whole;

pub use file::File;
pub use open::OpenOptions;
pub use path::symlink_metadata;
pub use path::{create_dir, create_dir_all, metadata, remove_dir, remove_file, rename};
pub use ringbolt_runtime::op::{FileType, Metadata};
pub use whole::{read, read_to_string, write};
