//! The command line.

use crate::Stop;
use std::collections::HashMap;
use std::str::FromStr;

const KNOWN: &[&str] = &[
    "variant", "port", "buf", "backend", "path", "qd", "bs", "secs", "src", "dst", "dir", "count",
    "conc", "n",
];

/// A workload and its options.
pub(crate) struct Arguments {
    workload: String,
    options: HashMap<String, String>,
}

impl Arguments {
    /// Reads the command line of the process.
    pub(crate) fn parse() -> Result<Arguments, Stop> {
        let mut parser = lexopt::Parser::from_env();
        let mut workload = None;
        let mut options = HashMap::new();
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                lexopt::Arg::Value(value) if workload.is_none() => {
                    workload = Some(value.to_string_lossy().into_owned());
                }
                lexopt::Arg::Long(key) if workload.is_some() && KNOWN.contains(&key) => {
                    let key = key.to_string();
                    let value = parser.value().map_err(usage)?;
                    options.insert(key, value.to_string_lossy().into_owned());
                }
                other => return Err(usage(other.unexpected())),
            }
        }
        let missing = || Stop::Usage("usage: versus WORKLOAD [--key value]...".into());
        Ok(Arguments { workload: workload.ok_or_else(missing)?, options })
    }

    pub(crate) fn workload(&self) -> &str {
        &self.workload
    }

    /// The implementation that was asked for, if it is not the default one.
    pub(crate) fn variant(&self) -> Option<&str> {
        self.options.get("variant").map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Workload and variant as `caps` prints them.
    pub(crate) fn cap(&self) -> String {
        match self.variant() {
            Some(variant) => format!("{}:{variant}", self.workload),
            None => self.workload.clone(),
        }
    }

    /// An option that has no default.
    pub(crate) fn text(&self, key: &str) -> Result<&str, Stop> {
        let missing = || Stop::Usage(format!("--{key} is missing"));
        self.options.get(key).map(String::as_str).ok_or_else(missing)
    }

    /// A number, or what stands for it if it is missing.
    pub(crate) fn number<T: FromStr>(&self, key: &str, default: T) -> Result<T, Stop> {
        match self.options.get(key) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| Stop::Usage(format!("--{key} is no number in range: {text}"))),
        }
    }

    /// A number that must not be zero.
    pub(crate) fn count<T: FromStr + Default + PartialEq>(
        &self,
        key: &str,
        default: T,
    ) -> Result<T, Stop> {
        let number = self.number(key, default)?;
        if number == T::default() {
            return Err(Stop::Usage(format!("--{key} must not be 0")));
        }
        Ok(number)
    }
}

fn usage(error: lexopt::Error) -> Stop {
    Stop::Usage(error.to_string())
}
