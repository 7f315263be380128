//! Open files, from the sources of `fs`, so that they run on a driver with hooks.

#[allow(dead_code, unreachable_pub)]
#[path = "../../../../fs/src/file.rs"]
mod file;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../../fs/src/open.rs"]
mod open;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../../fs/src/path.rs"]
mod path;

use crate::op::Metadata;
pub(super) use file::File;
use open::OpenOptions;
