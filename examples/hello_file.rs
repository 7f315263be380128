//! Writes a file, reads it back and prints it: the shortest program that does something.
//!
//! What it teaches: a runtime from an attribute, and buffers that are given away and come back.
//!
//! ```text
//! cargo run --example hello_file
//! ```

#![forbid(unsafe_code)]

use ringbolt::fs;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
Writes a greeting to a file, reads it back and prints it.

usage: hello_file [FILE]    (default: hello.txt in the directory for temporary files)";

#[ringbolt::main]
async fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let path = match arguments.as_slice() {
        [] => std::env::temp_dir().join("hello.txt"),
        [help] if help == "--help" || help == "-h" => {
            let _ = writeln!(io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        [path] if !path.as_encoded_bytes().starts_with(b"-") => path.into(),
        _ => {
            eprintln!("hello_file: at most one FILE is expected\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match greet(&path).await {
        Ok(text) => {
            // Whoever has closed the output does not want to know.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hello_file: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn greet(path: &Path) -> io::Result<String> {
    // The greeting is given away, and would come back with the result.
    fs::write(path, String::from("Hello, file!\n")).await.0?;
    fs::read_to_string(path).await
}
