//! The conformance and behaviour tests of ringbolt: through its facade, on every driver.

mod conformance;
mod examples;
mod fs;
mod net;
mod regressions;
mod support;
mod task;
