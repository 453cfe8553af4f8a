//! Why a replica does not serve, in sentences that name the mend.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use chronon::{
    replica::Misfit,
    storage::superblock::{ApplicationName, ApplicationNameError, OpenError},
};

use crate::{
    data_file::{DataFileError, RECOVER},
    disk,
    uring::Refusal,
};

/// Why a replica does not serve.
#[derive(Debug)]
pub enum ServeError {
    /// Its data file cannot be opened.
    DataFile(DataFileError),
    /// The disk does not give as much of the superblock as it takes. It is not lost for that.
    Unreadable(PathBuf, io::Error),
    /// The data file has no superblock that can be trusted.
    Superblock(PathBuf, OpenError),
    /// The data file is longer or shorter than what its superblock lays out.
    Size {
        /// The data file.
        path: PathBuf,
        /// Its bytes.
        size: u64,
        /// What it should have.
        expected: u64,
    },
    /// The data file is of another application.
    Application {
        /// The data file.
        path: PathBuf,
        /// The application that it is of.
        found: ApplicationName,
        /// The one that it was opened with.
        expected: ApplicationName,
    },
    /// The application's name is none.
    ApplicationName(&'static str, ApplicationNameError),
    /// The application cannot run in a cluster whose files are laid out like this one.
    Misfit(PathBuf, Misfit),
    /// There are more or fewer addresses than replicas.
    Addresses {
        /// How many addresses there are.
        addresses: usize,
        /// How many replicas the data file says that there are.
        replicas: u8,
    },
    /// The port cannot be had.
    Listen(SocketAddr, io::Error),
    /// The metrics' port cannot be had.
    Metrics(SocketAddr, io::Error),
    /// There is no disk over the data file.
    Disk(disk::OpenError),
    /// The sockets cannot be waited for as was asked.
    Sockets(Refusal),
    /// A sink can do nothing.
    Sink(String, io::Error),
    /// The system refused something else.
    System(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataFile(error) => error.fmt(f),
            Self::Unreadable(path, error) => write!(
                f,
                "the superblock of {} cannot be read: {error}; what it says may be whole: look at the disk and start again",
                path.display()
            ),
            Self::Superblock(path, error) => {
                write!(f, "{}: {error}; `chronon inspect superblock {}` tells more", path.display(), path.display())?;
                if error.is_loss() { write!(f, ", and {RECOVER}") } else { Ok(()) }
            }
            Self::Size { path, size, expected } => write!(
                f,
                "{} has {size} bytes, and {expected} when it was made: it was cut short or is another file; \
                 a replica without its whole file may not serve: {RECOVER}",
                path.display()
            ),
            Self::Application { path, found, expected } => write!(
                f,
                "{} is of the application `{found}`, and this is `{expected}`: start the one that the file is of, or format another file \
                 with --application {expected}",
                path.display()
            ),
            Self::ApplicationName(name, error) => write!(f, "`{name}` is no name for an application: {error}"),
            Self::Misfit(path, misfit) => write!(f, "{}: {misfit}", path.display()),
            Self::Addresses { addresses, replicas } => {
                write!(f, "{addresses} addresses for {replicas} replicas: give one for each, in their order")
            }
            Self::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}; stop who has the port, or say where to listen")
            }
            Self::Metrics(address, error) => {
                write!(f, "cannot serve metrics on {address}: {error}; choose another port")
            }
            Self::Disk(error) => error.fmt(f),
            Self::Sockets(refusal) => write!(
                f,
                "cannot wait for sockets as was asked: {refusal}; {}, or choose the sockets `readiness`",
                refusal.mend()
            ),
            Self::Sink(what, error) => write!(f, "the sink for {what} cannot be used: {error}"),
            Self::System(error) => write!(f, "the system refused: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::DataFile(error) => Some(error),
            Self::Disk(error) => Some(error),
            Self::Sockets(refusal) => Some(refusal),
            Self::Unreadable(_, error)
            | Self::Listen(_, error)
            | Self::Metrics(_, error)
            | Self::Sink(_, error)
            | Self::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DataFileError> for ServeError {
    fn from(error: DataFileError) -> Self {
        Self::DataFile(error)
    }
}

impl From<disk::OpenError> for ServeError {
    fn from(error: disk::OpenError) -> Self {
        Self::Disk(error)
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
