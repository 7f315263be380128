#[ringbolt_macros::main]
fn main() {}
