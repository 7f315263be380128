#[ringbolt_macros::test]
#[test]
async fn case() {}

fn main() {}
