//! How the program ends, and how it speaks: results on standard output, the rest on standard error.

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use chronon_production::{
    DataFileError,
    client::{ConnectError, OperatorError, RequestError},
    runner::Stop,
    serve::ServeError,
};
use serde::Serialize;

/// How the program ended. The numbers are its exit statuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Status {
    /// What was asked is done.
    Done = 0,
    /// Damage was found, or the cluster refused.
    Found = 1,
    /// What the program was asked or given makes no sense.
    Usage = 2,
    /// The machine did not do its part.
    Machine = 3,
    /// The application panicked, and would again.
    Panicked = 4,
    /// It was interrupted.
    Interrupted = 130,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

impl From<&Stop> for Status {
    fn from(stop: &Stop) -> Self {
        if matches!(stop, Stop::Panicked(_)) { Self::Panicked } else { Self::Machine }
    }
}

/// Why a command could not be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trouble {
    /// How the program ends of it.
    pub(crate) status: Status,
    /// One sentence that names the mend.
    pub(crate) sentence: String,
}

impl Trouble {
    /// With what the program was asked or given.
    pub(crate) fn usage(sentence: impl ToString) -> Self {
        Self { status: Status::Usage, sentence: sentence.to_string() }
    }

    /// With the machine.
    pub(crate) fn machine(sentence: impl ToString) -> Self {
        Self { status: Status::Machine, sentence: sentence.to_string() }
    }
}

impl From<ServeError> for Trouble {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::DataFile(error) => error.into(),
            ServeError::Superblock(..)
            | ServeError::Size { .. }
            | ServeError::Application { .. }
            | ServeError::ApplicationName(..)
            | ServeError::Misfit(..)
            | ServeError::Addresses { .. } => Self::usage(error),
            ServeError::Unreadable(..)
            | ServeError::Listen(..)
            | ServeError::Metrics(..)
            | ServeError::Disk(_)
            | ServeError::Sockets(_)
            | ServeError::Sink(..)
            | ServeError::System(_) => Self::machine(error),
        }
    }
}

impl From<DataFileError> for Trouble {
    fn from(error: DataFileError) -> Self {
        match &error {
            DataFileError::Exists(_)
            | DataFileError::Missing(_)
            | DataFileError::NoFile(_)
            | DataFileError::Locked(..)
            | DataFileError::Size(..) => Self::usage(error),
            DataFileError::Stopped(_) => Self { status: Status::Interrupted, sentence: error.to_string() },
            DataFileError::NoSpace(..)
            | DataFileError::TooLarge(..)
            | DataFileError::Unsettled(_)
            | DataFileError::NameUnsynced(..)
            | DataFileError::System { .. } => Self::machine(error),
        }
    }
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::Addresses(_)
            | ConnectError::NoSessions
            | ConnectError::Count { .. }
            | ConnectError::Order { .. }
            | ConnectError::Clusters { .. }
            | ConnectError::Application { .. } => Self::usage(error),
            ConnectError::Unknown(_) | ConnectError::System(_) => Self::machine(error),
        }
    }
}

impl From<RequestError> for Trouble {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::TooLarge { .. } => Self::usage(error),
            RequestError::TimedOut
            | RequestError::Unanswered
            | RequestError::Evicted
            | RequestError::QueueFull
            | RequestError::Crowded { .. }
            | RequestError::Closed => Self::machine(error),
        }
    }
}

impl From<OperatorError> for Trouble {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Request(error) => error.into(),
            OperatorError::Refused(_) => Self { status: Status::Found, sentence: error.to_string() },
            OperatorError::Foreign => Self::machine(error),
        }
    }
}

/// Writes a result to standard output. A reader that has seen enough and closed its end is no trouble.
pub(crate) fn say(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Trouble::machine(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// A JSON value as a result, over several lines.
pub(crate) fn say_json(value: &impl Serialize) -> Result<(), Trouble> {
    say(&serde_json::to_string_pretty(value).expect("reports have no map with keys that are no text"))
}

/// Writes a remark to standard error. Where nobody can be told, nobody is.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_stopped_ends_the_program_with_the_status_that_its_stop_says() {
        let stops =
            [Stop::Halted("halted".into()), Stop::Panicked("panicked".into()), Stop::System(io::Error::other(""))];
        for stop in stops {
            assert_eq!(Status::from(&stop) as u8, stop.exit_status(), "{stop}");
        }
    }
}
