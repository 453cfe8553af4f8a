//! Why a configuration is none, in one sentence that says where and names the mend.

use std::{fmt, io, path::PathBuf};

use super::FILE_SIZE_MAX;
use crate::size;

/// Where something was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a line of a file; of a text without a name if there is no file.
    Line(Option<PathBuf>, usize),
    /// By a flag.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(Some(file), line) => write!(f, "{}, line {line}", file.display()),
            Self::Line(None, line) => write!(f, "line {line}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Why a configuration is none.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file is larger than any configuration.
    TooLarge(PathBuf),
    /// It is no TOML, or says the same twice.
    Syntax(Place, String),
    /// There is no such key. The nearest one, if one is near.
    Unknown(Place, String, Option<String>),
    /// A value is none for its key: which values are.
    Value(Place, String, String),
    /// A key that has no default is not given: it, and the flag that could give it.
    Missing(&'static str, &'static str),
    /// Values that make no sense together, or with the data file.
    Together(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) if error.kind() == io::ErrorKind::NotFound => {
                write!(f, "{} does not exist: check --config", path.display())
            }
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::TooLarge(path) => {
                let most = size::words(FILE_SIZE_MAX);
                write!(f, "{} has more than {most}, and is no configuration: check --config", path.display())
            }
            Self::Syntax(place, why) => write!(f, "{place}: {why}"),
            Self::Unknown(place, key, Some(near)) => {
                write!(f, "{place}: there is no key `{key}`; did you mean `{near}`?")
            }
            Self::Unknown(place, key, None) => write!(f, "{place}: there is no key `{key}`"),
            Self::Value(place, key, why) => write!(f, "{place}: `{key}` is {why}"),
            Self::Missing(key, flag) => {
                write!(f, "`{key}` is missing: give {flag}, or name a file that says it with --config")
            }
            Self::Together(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            _ => None,
        }
    }
}
