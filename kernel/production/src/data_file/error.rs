//! Why a data file could not be made or opened, and what to do then.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// What to do about a file that a replica cannot serve from any more.
pub(crate) const RECOVER: &str =
    "`chronon recover` makes a new one through the other replicas, and keeps what is left of this one";

/// Why a data file could not be made or opened.
#[derive(Debug)]
pub enum DataFileError {
    /// There is a file of that name already.
    Exists(PathBuf),
    /// There is no file of that name.
    Missing(PathBuf),
    /// It is no regular file.
    NoFile(PathBuf),
    /// Another process has it open. Its number and name, where they could be found out.
    Locked(PathBuf, Option<(u32, String)>),
    /// The name is given to another file again and again.
    Unsettled(PathBuf),
    /// Its size is no multiple of the sector, or it is empty.
    Size(PathBuf, u64),
    /// There is no room for a file of that size.
    NoSpace(PathBuf, u64),
    /// A file of that size is more than the system allows the process, or the file system can hold.
    TooLarge(PathBuf, u64),
    /// Whoever asked for the file said that it is not wanted any more.
    Stopped(PathBuf),
    /// The file is there and whole, and its name may be gone after a power failure.
    NameUnsynced(PathBuf, io::Error),
    /// The system refused.
    System {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for DataFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => {
                write!(f, "{} exists: a data file is made once; choose another name", path.display())
            }
            Self::Missing(path) => write!(
                f,
                "{} does not exist: make it with `format`, or with `recover` if it was there and is lost",
                path.display()
            ),
            Self::NoFile(path) => write!(f, "{} is no regular file: name a data file", path.display()),
            Self::Locked(path, Some((process, name))) => {
                write!(f, "{} is in use by process {process} ({name}): stop that first", path.display())
            }
            Self::Locked(path, None) => {
                write!(f, "{} is in use by another process: stop that first", path.display())
            }
            Self::Unsettled(path) => write!(
                f,
                "{} is another file each time that it is opened: see what renames files there",
                path.display()
            ),
            Self::Size(path, size) => write!(
                f,
                "{} has {size} bytes, which no data file has: it was cut short, or is another kind of file; if it was a replica's, {RECOVER}",
                path.display()
            ),
            Self::NoSpace(path, size) => write!(
                f,
                "there is no room for {} of {size} bytes: free some, or choose another disk or a smaller file",
                path.display()
            ),
            Self::TooLarge(path, size) => write!(
                f,
                "{} may not have {size} bytes here: raise the limit of a file's size (`ulimit -f`, or LimitFSIZE= of its service), or choose a \
                 smaller file",
                path.display()
            ),
            Self::Stopped(path) => write!(f, "{} was not made: it was stopped before the end", path.display()),
            Self::NameUnsynced(path, error) => write!(
                f,
                "{} is made, but its folder cannot be synced, so that its name may not outlast a power failure: {error}; remove it, look \
                 at the disk, and make it again",
                path.display()
            ),
            Self::System { doing, path, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
        }
    }
}

impl DataFileError {
    /// The error of making `path`, by what it means to whoever wanted the file: it is room that is missing, not a write that
    /// failed; and of the name that was asked for.
    pub(super) fn about_room(self, path: &Path, size: u64) -> Self {
        match self {
            Self::System { doing, error, .. } => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace(path.to_owned(), size),
                io::ErrorKind::FileTooLarge => Self::TooLarge(path.to_owned(), size),
                _ => Self::System { doing, path: path.to_owned(), error },
            },
            other => other,
        }
    }
}

impl std::error::Error for DataFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NameUnsynced(_, error) | Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The system refused.
pub(super) fn system(doing: &'static str, path: &Path, error: io::Error) -> DataFileError {
    DataFileError::System { doing, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_a_file_whose_name_is_not_durable_is_told_that_it_is_there() {
        let error = DataFileError::NameUnsynced("r0.chronon".into(), io::Error::from_raw_os_error(5));
        let said = error.to_string();
        assert!(
            said.starts_with("r0.chronon is made") && said.contains("remove it") && said.contains("os error 5"),
            "{said}"
        );
    }
}
