//! Simulated worlds: what the simulator promises to programs, and the runtime on a hostile kernel.

mod errnos;
mod example;
mod fences;
mod files;
mod hosts;
mod late;
mod leave;
mod pauses;
#[path = "../support/scale.rs"]
mod scale;
mod schedules;
mod streams;
#[path = "../support/watched.rs"]
mod watched;
mod worlds;
