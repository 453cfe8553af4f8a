//! The client library: asks a cluster, and tells what became of it.
//!
//! ```no_run
//! use chronon_production::client::{Client, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let addresses = ["127.0.0.1:3001".parse()?, "127.0.0.1:3002".parse()?, "127.0.0.1:3003".parse()?];
//! let client = Client::connect(&addresses, Options::default())?;
//! let answer = client.request(b"what the application understands")?;
//! println!("{}: {:?}", answer.op, answer.result);
//! # Ok(())
//! # }
//! ```
//!
//! The protocol's side of it is [`chronon::client::Client`]: a session, with one request in flight. [`Sessions`] owns many of
//! them over one connection to each replica, on whichever thread drives it; [`Client`] has a thread for that and lends it to
//! any number of others, and so does the asynchronous client (feature `tokio`). [`KvClient`] speaks with the key-value
//! application.
//!
//! Invariants: a request is executed once or not at all, whatever is lost, repeated or killed meanwhile; whoever asked is told
//! one outcome, and told "unknown" where it is ([`RequestError::is_outcome_unknown`]); a request whose outcome is unknown is never
//! given a second number, which would be a second request. What is held is bounded: a request for each session, and a queue.
//!
//! Deliberately absent: reads that go around the log, and following a cluster to other addresses.

mod alarms;
#[cfg(feature = "tokio")]
pub mod asynchronous;
mod blocking;
mod driver;
mod error;
mod kv;
mod options;
mod queue;
mod sessions;

use chronon::{
    app::application::Rejection,
    frame::Frame,
    types::{Op, Timestamp},
};

pub use self::{
    blocking::{Client, Pending},
    error::{ConnectError, NextStep, RequestError},
    kv::{KvClient, KvError, Swap},
    options::{Cluster, Options},
    sessions::Sessions,
};

/// The answer to a request, and where it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The op in which the request committed.
    pub op: Op,
    /// The time of that op.
    pub timestamp: Timestamp,
    /// The application's response; or its refusal, which changed nothing and is final.
    pub result: Result<Frame, Rejection>,
}
