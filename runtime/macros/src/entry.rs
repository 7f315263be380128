//! Rewrites one `async fn` as a function that starts a runtime and runs it.
//!
//! The original stays whole, as a function inside the new one. That keeps its return type where the
//! compiler expects it, so that `?` and coercions behave as written, and errors in the body
//! point into the body.
//!
//! Whatever is wrong ends as exactly one `compile_error!`: a function that was refused is still
//! handed on, unused, so that no "`main` not found" or "unused import" follows it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, Error, ItemFn, Result, Safety};

use crate::options::Options;

/// Which attribute stood above the function.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Main,
    Test,
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Kind::Main => "`#[ringbolt::main]`",
            Kind::Test => "`#[ringbolt::test]`",
        }
    }
}

/// What the attribute expands to, given what stands in its parentheses and below it.
pub(crate) fn expand(kind: Kind, args: TokenStream, item: TokenStream) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        // Editors complete names in unfinished code, so it must not vanish.
        Err(error) => return with_error(&error, item),
    };
    match check(kind, &function).and_then(|()| Options::parse(args)) {
        Ok(options) => entry(kind, &options, function),
        Err(error) => with_error(&error, refused(kind, function)),
    }
}

fn with_error(error: &Error, rest: TokenStream) -> TokenStream {
    let mut tokens = error.to_compile_error();
    tokens.extend(rest);
    tokens
}

/// # Errors
///
/// Points at the first part of the function that rules it out.
fn check(kind: Kind, function: &ItemFn) -> Result<()> {
    let sig = &function.sig;
    let refuse = |part: &dyn ToTokens, what: &str| {
        Err(Error::new_spanned(part, format!("{} {what}", kind.attribute())))
    };
    if sig.asyncness.is_none() {
        return refuse(&sig.fn_token, "needs an `async fn`");
    }
    if !sig.inputs.is_empty() {
        return refuse(&sig.inputs, "needs a function without parameters");
    }
    if let Some(variadic) = &sig.variadic {
        return refuse(variadic, "needs a function without parameters");
    }
    if !sig.generics.params.is_empty() {
        return refuse(&sig.generics, "needs a function without generic parameters");
    }
    if let Some(clause) = &sig.generics.where_clause {
        return refuse(clause, "needs a function without a `where` clause");
    }
    if let Some(constness) = &sig.constness {
        return refuse(constness, "needs a function that is not `const`");
    }
    if let Some(abi) = &sig.abi {
        return refuse(abi, "needs a function that is not `extern`");
    }
    match &sig.safety {
        Safety::Default => {}
        Safety::Safe(token) => return refuse(token, "needs a function that is not `safe`"),
        Safety::Unsafe(token) => return refuse(token, "needs a function that is not `unsafe`"),
    }
    match function.attrs.iter().find(|attr| is_test(attr)) {
        Some(attr) if kind == Kind::Test => {
            refuse(attr, "makes a test already: with this attribute the function would run twice")
        }
        _ => Ok(()),
    }
}

/// Whether an attribute is `#[test]` or another crate's, such as `#[other::test]`.
fn is_test(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|segment| segment.ident == "test")
}

/// The function that starts a runtime, with the original inside.
fn entry(kind: Kind, options: &Options, mut function: ItemFn) -> TokenStream {
    // Attributes and visibility belong to the function that the outside sees. An attribute such as
    // #[allow] covers what is inside as well.
    let attrs = std::mem::take(&mut function.attrs);
    let vis = std::mem::replace(&mut function.vis, syn::Visibility::Inherited);
    let name = function.sig.ident.clone();
    let output = function.sig.output.clone();
    let marker = match kind {
        Kind::Main => None,
        Kind::Test => Some(quote!(#[::core::prelude::v1::test])),
    };
    let krate = &options.krate;
    let driver =
        options.driver.as_ref().map(|variant| quote!(.driver(#krate::DriverKind::#variant)));
    // Names of our own, invisible to the user's code.
    let runtime = Ident::new("runtime", Span::mixed_site());
    let error = Ident::new("error", Span::mixed_site());
    let failure = match kind {
        Kind::Main => quote! {{
            ::std::eprintln!("error: {}", #error);
            ::std::process::exit(1)
        }},
        Kind::Test => quote!(::core::panic!("error: {}", #error)),
    };
    quote! {
        #marker
        #(#attrs)*
        #vis fn #name() #output {
            #function
            match #krate::Builder::new() #driver .build() {
                ::core::result::Result::Ok(#runtime) => #runtime.block_on(#name()),
                ::core::result::Result::Err(#error) => #failure,
            }
        }
    }
}

/// A function of the same name that does nothing, with the refused one inside for the compiler
/// and for editors to look at.
fn refused(kind: Kind, mut function: ItemFn) -> TokenStream {
    function.attrs.retain(|attr| !is_test(attr));
    let vis = std::mem::replace(&mut function.vis, syn::Visibility::Inherited);
    let name = &function.sig.ident;
    let unused = (kind == Kind::Test).then(|| quote!(#[allow(dead_code)]));
    quote! {
        #unused
        #vis fn #name() {
            #[allow(dead_code)]
            #function
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, args: TokenStream, item: TokenStream) -> String {
        expand(kind, args, item).to_string()
    }

    /// The message of the one compile error.
    fn error(kind: Kind, item: TokenStream) -> String {
        let text = text(kind, quote!(), item);
        assert_eq!(text.matches("compile_error").count(), 1, "{text}");
        text.split('"').nth(1).expect("a message").to_string()
    }

    #[test]
    fn main_is_what_the_documentation_says() {
        let expected = quote! {
            fn main() -> std::io::Result<()> {
                async fn main() -> std::io::Result<()> {
                    work().await
                }
                match ::ringbolt::Builder::new().build() {
                    ::core::result::Result::Ok(runtime) => runtime.block_on(main()),
                    ::core::result::Result::Err(error) => {
                        ::std::eprintln!("error: {}", error);
                        ::std::process::exit(1)
                    },
                }
            }
        };
        let item = quote! {
            async fn main() -> std::io::Result<()> { work().await }
        };
        assert_eq!(text(Kind::Main, quote!(), item), expected.to_string());
    }

    #[test]
    fn test_is_what_the_documentation_says() {
        let expected = quote! {
            #[::core::prelude::v1::test]
            #[should_panic]
            pub fn case() {
                async fn case() {}
                match crate::rt::Builder::new().driver(crate::rt::DriverKind::Readiness).build() {
                    ::core::result::Result::Ok(runtime) => runtime.block_on(case()),
                    ::core::result::Result::Err(error) => ::core::panic!("error: {}", error),
                }
            }
        };
        let args = quote!(driver = "readiness", crate = "crate::rt");
        let item = quote! {
            #[should_panic]
            pub async fn case() {}
        };
        assert_eq!(text(Kind::Test, args, item), expected.to_string());
    }

    #[test]
    fn a_function_that_cannot_be_called_is_refused() {
        for (item, part) in [
            ("fn main() {}", "needs an `async fn`"),
            ("async fn main(x: u8) {}", "without parameters"),
            ("async fn main(self) {}", "without parameters"),
            ("async fn main<T>() {}", "without generic parameters"),
            ("async fn main() where u8: Copy {}", "without a `where` clause"),
            ("const async fn main() {}", "not `const`"),
            ("async unsafe fn main() {}", "not `unsafe`"),
            (r#"async extern "C" fn main() {}"#, "not `extern`"),
        ] {
            for kind in [Kind::Main, Kind::Test] {
                let message = error(kind, item.parse().unwrap());
                assert!(message.contains(part), "{message}");
                assert!(message.starts_with(kind.attribute()), "{message}");
            }
        }
    }

    #[test]
    fn a_second_test_attribute_is_refused() {
        for attr in [quote!(#[test]), quote!(#[core::prelude::v1::test])] {
            let message = error(Kind::Test, quote!(#attr async fn case() {}));
            assert!(message.contains("run twice"), "{message}");
        }
    }

    #[test]
    fn what_is_no_function_is_handed_on_with_the_error() {
        let text = text(Kind::Main, quote!(), "struct Main;".parse().unwrap());
        assert!(text.contains("compile_error") && text.ends_with("struct Main ;"), "{text}");
    }
}
