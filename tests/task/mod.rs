//! Tasks, timers, threads, and the beginning and end of runtimes.

mod blocking;
mod copy;
mod cores;
mod ends;
mod fair;
mod limits;
mod signals;
mod spawn;
mod time;
mod wakes;
