//! Replays the corpus of the fuzz target of an example; those of libraries are in their crates.

// Parts of the server that the target does without.
#![allow(dead_code)]

#[path = "../examples/serve/content_type.rs"]
mod content_type;
#[path = "../examples/serve/find.rs"]
mod find;
#[path = "../examples/serve/fuzzing.rs"]
mod fuzzing;
#[path = "../examples/serve/range.rs"]
mod range;
#[path = "../fuzz/replay.rs"]
mod replay;
#[path = "../examples/serve/reply.rs"]
mod reply;
#[path = "../examples/serve/request.rs"]
mod request;

#[test]
fn the_corpus_of_http_requests() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let site = fuzzing::Site::new(folder.path());
    replay::replay("http_request", |data| site.http_request(data), 1000);
}
