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
//! let seen = client.query(b"a question that changes nothing")?;
//! println!("as of {}: {:?}", seen.op, seen.result);
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
//! A *query* asks what the application's state is, writes nothing to the log and can be asked again whatever became of it. A linearizable
//! one (`query`) misses nothing that was acknowledged to anybody before it was asked. A stale one (`query_stale`) is answered by any replica
//! from what that has executed, even where no majority is left, and says the op that it is true at. Queries take the places of sessions, so
//! that as many are in flight at once, but no session is registered for them.
//!
//! Deliberately absent: a choice of the replica that answers a stale query, and following a cluster to other addresses.

mod alarms;
#[cfg(feature = "tokio")]
pub mod asynchronous;
mod blocking;
mod driver;
mod error;
mod given;
mod kv;
mod learn;
mod operator;
mod options;
mod queue;
mod sessions;

use chronon::{
    app::application::Rejection,
    frame::Frame,
    types::{Op, Timestamp},
};

pub use chronon::client::Freshness;

pub use self::{
    blocking::{Client, Pending},
    error::{ConnectError, NextStep, RequestError, Stranger},
    kv::{KvClient, KvError, Swap},
    operator::{Operator, OperatorError},
    options::{Cluster, Options},
    sessions::Sessions,
};

/// The answer to a request or to a query, and where it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The op in which the request committed; of a query, the op that it is true at: everything up to it is in the answer, and nothing
    /// above.
    pub op: Op,
    /// The time of the op in which the request committed. A query is in no op.
    pub timestamp: Option<Timestamp>,
    /// The application's response; or its refusal, which changed nothing and is final.
    pub result: Result<Frame, Rejection>,
}
