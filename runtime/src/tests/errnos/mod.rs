//! What becomes of every error, for every operation, wherever it hits.
//!
//! The requests travel through a real ring; the driver's unit-test hook makes one of them end with
//! the number that is tried (`driver/uring/inject.rs`). [`expect`] and [`numbers`] say what is
//! tried and what has to come out, without regard to the driver; the rest makes it happen on
//! io_uring.

mod again;
mod bench;
mod cancels;
mod counts;
mod document;
mod enters;
mod expect;
mod files;
mod halves;
mod matrix;
mod numbers;
mod subjects_file;
mod subjects_name;
mod subjects_net;
