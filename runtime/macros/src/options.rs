//! What stands in the parentheses of an attribute.
//!
//! Knows the names and values that are allowed, and nothing of the function below the attribute.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Error, LitStr, Path, Result};

/// The options of one attribute, checked.
pub(crate) struct Options {
    /// The path of the runtime's crate.
    pub(crate) krate: TokenStream,
    /// The variant of `DriverKind`, if one was asked for.
    pub(crate) driver: Option<Ident>,
}

impl Default for Options {
    fn default() -> Self {
        Options { krate: quote!(::ringbolt), driver: None }
    }
}

impl Options {
    /// # Errors
    ///
    /// Points at the first name or value that is not known, or that stands there twice.
    pub(crate) fn parse(args: TokenStream) -> Result<Self> {
        let mut driver = None;
        let mut krate = None;
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("driver") {
                once(&meta, &mut driver, |text| driver_kind(&text))
            } else if meta.path.is_ident("crate") {
                once(&meta, &mut krate, |text| text.parse_with(Path::parse_mod_style))
            } else {
                Err(meta.error("unknown option: the options are `driver` and `crate`"))
            }
        });
        parser.parse2(args)?;
        let mut options = Options { driver, ..Options::default() };
        if let Some(path) = krate {
            options.krate = quote!(#path);
        }
        Ok(options)
    }
}

/// Reads the value of an option that may stand there once.
fn once<T>(
    meta: &ParseNestedMeta<'_>,
    option: &mut Option<T>,
    read: impl FnOnce(LitStr) -> Result<T>,
) -> Result<()> {
    if option.is_some() {
        return Err(meta.error("this option is given twice"));
    }
    *option = Some(read(meta.value()?.parse()?)?);
    Ok(())
}

fn driver_kind(text: &LitStr) -> Result<Ident> {
    let variant = match text.value().as_str() {
        "auto" => "Auto",
        "uring" => "Uring",
        "readiness" => "Readiness",
        _ => {
            let message = r#"unknown driver: use "auto", "uring" or "readiness""#;
            return Err(Error::new(text.span(), message));
        }
    };
    // Where the runtime has no such driver, the compiler is to point at the user's own word.
    Ok(Ident::new(variant, text.span().resolved_at(Span::call_site())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(args: TokenStream) -> String {
        Options::parse(args).err().expect("must be refused").to_string()
    }

    #[test]
    fn nothing_means_the_default() {
        let options = Options::parse(quote!()).unwrap();
        assert_eq!(options.krate.to_string(), ":: ringbolt");
        assert!(options.driver.is_none());
    }

    #[test]
    fn options_come_in_any_order() {
        for args in [
            quote!(driver = "uring", crate = "crate::inner"),
            quote!(crate = "crate::inner", driver = "uring",),
        ] {
            let options = Options::parse(args).unwrap();
            assert_eq!(options.krate.to_string(), "crate :: inner");
            assert_eq!(options.driver.unwrap(), "Uring");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(message(quote!(threads = 4)).contains("`driver` and `crate`"));
        assert!(message(quote!(driver = "epoll")).contains("unknown driver"));
        assert!(message(quote!(driver = 1)).contains("string literal"));
        assert!(message(quote!(driver)).contains("expected `=`"));
        assert!(message(quote!(driver = "uring", driver = "auto")).contains("twice"));
        assert!(message(quote!(crate = "not a path")).contains("unexpected token"));
    }
}
