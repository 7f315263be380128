#[ringbolt_macros::main]
async fn main(args: Vec<String>, env: Vec<String>) {
    drop((args, env));
}
