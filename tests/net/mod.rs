//! TCP streams, listeners and names.

mod flow;
mod listener;
mod names;
mod stream;
mod torn;
