//! The attributes `#[ringbolt::main]` and `#[ringbolt::test]`: an `async fn` that starts its own
//! runtime.
//!
//! Programs reach them through the `ringbolt` crate, which re-exports both; this crate is not meant
//! to be depended on directly. It only rewrites functions: everything that happens at run time is
//! in the runtime's `Builder` and `Runtime`.
//!
//! # Options
//!
//! Both attributes take the same options, in any order:
//!
//! | option | meaning |
//! |---|---|
//! | `driver = "auto"` | io_uring where it works and readiness elsewhere, as without the option |
//! | `driver = "uring"` | io_uring or nothing |
//! | `driver = "readiness"` | epoll, kqueue or their like, even where io_uring works |
//! | `crate = "path"` | where the `ringbolt` crate is, if it was renamed; `::ringbolt` otherwise |
//!
//! # Rules
//!
//! The function is `async`, has no parameters and is not generic, since nobody could supply either.
//! It may return what a plain `main` or test may: `()`, a `Result<(), E>` whose error has `Debug`,
//! and whatever else implements `Termination`. A breach is a compile error which points at the
//! part that is wrong.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod entry;
mod options;

/// Makes an `async fn main` a program: starts a runtime on this thread and runs the body on it.
///
/// ```text
/// #[ringbolt::main]
/// async fn main() -> std::io::Result<()> {
///     let greeting = ringbolt::fs::read("greeting.txt").await?;
///     println!("{} bytes", greeting.len());
///     Ok(())
/// }
/// ```
///
/// stands for
///
/// ```text
/// fn main() -> std::io::Result<()> {
///     async fn main() -> std::io::Result<()> {
///         /* the body */
///     }
///     match ::ringbolt::Builder::new().build() {
///         Ok(runtime) => runtime.block_on(main()),
///         Err(error) => {
///             eprintln!("error: {error}");
///             std::process::exit(1)
///         }
///     }
/// }
/// ```
///
/// With `#[ringbolt::main(driver = "readiness")]` the builder is told
/// `.driver(::ringbolt::DriverKind::Readiness)` as well. All options are in the
/// [crate documentation](crate#options).
///
/// A program that wants other settings, or more than one core, calls the builder itself: the
/// expansion above is all there is to replace.
///
/// # Errors
///
/// When the runtime cannot be built, the program prints `error: ` and the reason to standard error
/// and exits with code 1. An error that the body returns is reported as Rust reports one from any
/// `main`.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(entry::Kind::Main, args.into(), item.into()).into()
}

/// Makes an `async fn` a test: each run starts a runtime of its own on the test's thread.
///
/// ```text
/// #[ringbolt::test(driver = "readiness")]
/// #[should_panic(expected = "no such host")]
/// async fn an_unknown_host_is_refused() {
///     connect("nowhere.invalid").await.unwrap();
/// }
/// ```
///
/// stands for
///
/// ```text
/// #[::core::prelude::v1::test]
/// #[should_panic(expected = "no such host")]
/// fn an_unknown_host_is_refused() {
///     async fn an_unknown_host_is_refused() {
///         /* the body */
///     }
///     match ::ringbolt::Builder::new().driver(::ringbolt::DriverKind::Readiness).build() {
///         Ok(runtime) => runtime.block_on(an_unknown_host_is_refused()),
///         Err(error) => panic!("error: {error}"),
///     }
/// }
/// ```
///
/// Other attributes stay, so `#[should_panic]` and `#[cfg(...)]` work as usual. A plain `#[test]`
/// beside this one is refused, since the function would run twice. All options are in the
/// [crate documentation](crate#options).
///
/// # Panics
///
/// The test panics, and thus fails, when the runtime cannot be built.
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(entry::Kind::Test, args.into(), item.into()).into()
}
