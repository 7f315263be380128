//! What every driver promises, and what every operation does.

mod errors;
mod laws;
mod lifecycle;
mod parity;
mod results;
