//! How the program ends, and how it speaks: results on standard output, the rest on standard error.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

/// How the program ended. The numbers are its exit statuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Status {
    /// Nothing was found.
    Clean = 0,
    /// A failure was found, or two traces differ.
    Found = 1,
    /// What the program was asked or given makes no sense.
    Usage = 2,
    /// The machine did not do its part.
    Infrastructure = 3,
    /// It was interrupted before its end.
    Stopped = 75,
    /// It was interrupted twice, and did not wait for the seeds at hand.
    Interrupted = 130,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Why a command could not be carried out: one sentence that names the mend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// With what it was asked or given.
    Usage(String),
    /// With the machine.
    Infrastructure(String),
}

impl Trouble {
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Usage(_) => Status::Usage,
            Self::Infrastructure(_) => Status::Infrastructure,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::Infrastructure(sentence) => f.write_str(sentence),
        }
    }
}

/// Writes a result to standard output. A reader that has seen enough and closed its end is no trouble.
pub(crate) fn say(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Trouble::Infrastructure(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a remark to standard error. Where nobody can be told, nobody is.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A JSON value as a result, over several lines.
pub(crate) fn say_json(value: &impl serde::Serialize) -> Result<(), Trouble> {
    say(&serde_json::to_string_pretty(value).expect("reports have no map with keys that are no text"))
}
