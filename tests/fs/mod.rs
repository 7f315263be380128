//! Files, directories and names.

mod content;
mod fences;
mod names;
