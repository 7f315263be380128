#![no_main]
// Parts of the server that the target does without.
#![allow(dead_code)]

#[path = "../../examples/serve/content_type.rs"]
mod content_type;
#[path = "../../examples/serve/find.rs"]
mod find;
#[path = "../../examples/serve/fuzzing.rs"]
mod fuzzing;
#[path = "../../examples/serve/range.rs"]
mod range;
#[path = "../../examples/serve/reply.rs"]
mod reply;
#[path = "../../examples/serve/request.rs"]
mod request;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::TempDir::new().expect("a folder");
    static SITE: fuzzing::Site = FOLDER.with(|folder| fuzzing::Site::new(folder.path()));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| SITE.with(|site| site.http_request(data)));
