//! `kv`: one request to the key-value store.

use std::{
    ffi::OsString,
    io::{IsTerminal, Write, stdout},
    os::unix::ffi::OsStringExt,
};

use chronon_production::client::{KvClient, KvError, Swap};
use clap::Subcommand;

use super::{
    addressed::Addressed,
    output::{Status, Trouble, remark, say},
};

/// Ask the key-value store for one thing
///
/// The exit status is 1 if there was no such key, or if what was expected was not there. If nobody knows whether something was
/// done, that is said, with status 3.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) store: Store,

    #[command(subcommand)]
    request: Request,
}

/// Which store is asked.
#[derive(clap::Args)]
pub(super) struct Store {
    #[command(flatten)]
    cluster: Addressed,
}

/// What can be asked. Keys and values are bytes, as the shell gives them.
#[derive(Subcommand)]
pub(super) enum Request {
    /// Print the value under a key, bare: everything that was acknowledged before is in it
    Get {
        /// The key
        key: OsString,
        /// Ask any one replica for the value as far as it has come, even where no majority runs, and say on standard error after which
        /// op that was under the key
        #[arg(long)]
        stale: bool,
    },
    /// Put a value under a key
    Put {
        /// The key
        key: OsString,
        /// The value
        value: OsString,
    },
    /// Put a value under a key if another is there now
    Cas {
        /// The key
        key: OsString,
        /// The new value
        value: OsString,
        /// What must be there; nothing, if this is left out
        #[arg(long, value_name = "VALUE")]
        expected: Option<OsString>,
    },
    /// Let nothing be under a key
    Delete {
        /// The key
        key: OsString,
    },
    /// Put something behind the value under a key, and print how long it is then
    Append {
        /// The key
        key: OsString,
        /// What to add
        value: OsString,
    },
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    perform(&arguments.store.connect()?, &arguments.request)
}

impl Store {
    pub(super) fn connect(&self) -> Result<KvClient, Trouble> {
        Ok(KvClient::connect(self.cluster.addresses()?, self.cluster.options(&["kv"]))?)
    }
}

impl From<KvError> for Trouble {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Request(error) => error.into(),
            KvError::Refused(_) | KvError::Foreign(_) => Self::usage(error),
        }
    }
}

pub(super) fn perform(kv: &KvClient, request: &Request) -> Result<Status, Trouble> {
    let bytes = |text: &OsString| text.clone().into_vec();
    match request {
        Request::Get { key, stale } => {
            let found = if *stale {
                let (op, found) = kv.get_stale(&bytes(key))?;
                remark(&format!("as of {op}"));
                found
            } else {
                kv.get(&bytes(key))?
            };
            match found {
                Some(value) => print_bare(&value),
                None => Ok(missing(key)),
            }
        }
        Request::Put { key, value } => {
            kv.put(&bytes(key), &bytes(value))?;
            Ok(Status::Done)
        }
        Request::Cas { key, value, expected } => {
            let expected = expected.as_ref().map(bytes);
            match kv.compare_and_swap(&bytes(key), expected.as_deref(), &bytes(value))? {
                Swap::Swapped => Ok(Status::Done),
                Swap::Mismatch(found) => {
                    let found = found.map(|found| String::from_utf8_lossy(&found).into_owned());
                    let found = found.map_or("nothing".to_owned(), |found| format!("{found:?}"));
                    remark(&format!("not swapped: under {key:?} is {found}"));
                    Ok(Status::Found)
                }
            }
        }
        Request::Delete { key } => {
            let was_there = kv.delete(&bytes(key))?;
            Ok(if was_there { Status::Done } else { missing(key) })
        }
        Request::Append { key, value } => {
            let length = kv.append(&bytes(key), &bytes(value))?;
            say(&length.to_string())?;
            Ok(Status::Done)
        }
    }
}

fn missing(key: &OsString) -> Status {
    remark(&format!("there is nothing under {key:?}"));
    Status::Found
}

/// The bytes themselves, and a line's end only for people.
fn print_bare(value: &[u8]) -> Result<Status, Trouble> {
    let mut out = stdout().lock();
    let end: &[u8] = if out.is_terminal() { b"\n" } else { b"" };
    match out.write_all(value).and_then(|()| out.write_all(end)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Trouble::machine(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(Status::Done),
    }
}
