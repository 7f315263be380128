#[ringbolt_macros::main(driver = "epoll")]
async fn main() {}
