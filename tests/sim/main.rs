//! Simulated worlds: what the simulator promises to programs, and the runtime on a hostile kernel.

mod worlds;
