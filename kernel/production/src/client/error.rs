//! Why a request has no answer, why a client has no cluster, and what to do then.

use std::{fmt, io, net::SocketAddr};

use chronon::types::{ClusterId, ReplicaId};

use crate::status::AskError;

/// Why a request has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// No answer came in time. The outcome is unknown: the request may have been executed, and may still be, once, for as long
    /// as this client lives. Its session is occupied until that is settled.
    TimedOut,
    /// No answer to a query came in time. It changes nothing and is not asked any more.
    Unanswered,
    /// The cluster forgot the session, because others were used more recently: it has as many as `clients_max` allows. The
    /// outcome is unknown: the request was executed once or not at all, and never will be again. The session was replaced.
    Evicted,
    /// The request is too large. It was not executed and never will be.
    TooLarge {
        /// The most bytes that a request may have, as far as that is known.
        limit: usize,
    },
    /// There was no room in the queue, or no session became free in time. The request was not sent and never will be.
    QueueFull,
    /// A replica takes on no more clients, and there was none in time that did. The request was not executed and never will be.
    Crowded {
        /// The replica, or one of them.
        replica: ReplicaId,
        /// How many clients it has.
        clients: u64,
    },
    /// The client is at its end: the system took its sockets away, or one of the functions it was given to call panicked. The
    /// outcome is unknown if the request had been sent.
    Closed,
}

/// What whoever asked may do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextStep {
    /// Ask the same again, later: the request was not executed and never will be, so nothing can happen twice. Or it was a query, and
    /// nothing happens at all.
    Retry,
    /// Find out whether the request took effect, and ask anew if not: it is not known. What is asked next is another request,
    /// in a session that the client registers by itself. Asking blindly is right only where twice is as good as once.
    ReRegister,
    /// Nothing, with this request or this client: the same would happen again.
    GiveUp,
}

impl RequestError {
    /// What whoever asked may do next.
    pub const fn next_step(&self) -> NextStep {
        match self {
            Self::QueueFull | Self::Unanswered | Self::Crowded { .. } => NextStep::Retry,
            Self::TimedOut | Self::Evicted => NextStep::ReRegister,
            Self::TooLarge { .. } | Self::Closed => NextStep::GiveUp,
        }
    }

    /// Whether the request may have been executed.
    pub const fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::TimedOut | Self::Evicted | Self::Closed => true,
            Self::Unanswered | Self::TooLarge { .. } | Self::QueueFull | Self::Crowded { .. } => false,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str(
                "no answer came in time: the request may have been executed, and may still be; \
                 look whether it took effect before asking again",
            ),
            Self::Unanswered => f.write_str(
                "no answer to the query came in time: it changes nothing, so ask again; \
                 if that is in vain, no majority may be left, and only a stale query is answered",
            ),
            Self::Evicted => f.write_str(
                "the cluster forgot the session: the request was executed once or not at all; \
                 look whether it took effect before asking again, and use fewer sessions or raise clients_max",
            ),
            Self::TooLarge { limit } => {
                write!(f, "the request is too large and was not executed: it may have {limit} bytes; make it smaller")
            }
            Self::QueueFull => f.write_str(
                "every session is occupied and too many requests wait: this one was not sent; ask again later",
            ),
            Self::Crowded { replica, clients } => write!(
                f,
                "replica {} has {clients} clients connected, which is as many as there may be: this was not executed; ask again later, \
                 and have clients share connections, end those that need none, or raise `limits.connections_max` of the replicas (and \
                 their `ulimit -n`)",
                replica.0
            ),
            Self::Closed => f.write_str(
                "the client is at its end: what was sent may have been executed; connect anew and look whether it was",
            ),
        }
    }
}

impl std::error::Error for RequestError {}

/// Why a client has no cluster to ask.
#[derive(Debug)]
pub enum ConnectError {
    /// There are no addresses, or more than a cluster has replicas.
    Addresses(usize),
    /// A client without a session can ask nothing.
    NoSessions,
    /// No replica said what cluster it is of; what became of the last that was asked.
    Unknown(AskError),
    /// There are more or fewer addresses than replicas.
    Count {
        /// How many addresses there are.
        addresses: usize,
        /// How many replicas the cluster has.
        replicas: u8,
    },
    /// An address is not that of the replica in whose place it stands.
    Order {
        /// The address.
        address: SocketAddr,
        /// The replica there.
        replica: ReplicaId,
    },
    /// As many of the replicas are of one cluster as of another: one of each.
    Clusters([Stranger; 2]),
    /// The cluster runs another application than those that are meant to be asked.
    Application {
        /// The one that runs.
        runs: String,
        /// Those that are meant.
        wanted: &'static [&'static str],
    },
    /// The system refused.
    System(io::Error),
}

/// A replica of another cluster than the one that it is named beside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stranger {
    /// Its address.
    pub address: SocketAddr,
    /// Its cluster.
    pub cluster: ClusterId,
    /// How many replicas that has.
    pub replicas: u8,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is one of {} in cluster {}", self.address, self.replicas, self.cluster.0)
    }
}

/// The command that asks an application which comes with the program.
fn command_for(application: &str) -> Option<&'static str> {
    match application {
        "kv" => Some("chronon kv"),
        "bank" | "branch" => Some("chronon bank"),
        "jobs" => Some("chronon jobs"),
        _ => None,
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(count) => write!(f, "{count} addresses: give one for each replica, in their order"),
            Self::NoSessions => f.write_str("a client without a session can ask nothing: allow it one at least"),
            Self::Unknown(error) => write!(f, "none of the replicas says how it is: {error}; start one"),
            Self::Count { addresses, replicas } => {
                write!(f, "{addresses} addresses for {replicas} replicas: give one for each, in their order")
            }
            Self::Order { address, replica } => {
                write!(f, "{address} is replica {}: give the addresses in the replicas' order, from 0", replica.0)
            }
            Self::Clusters([one, other]) => write!(f, "{one}, and {other}: name the replicas of one cluster"),
            Self::Application { runs, wanted } => {
                let asks =
                    command_for(runs).map(|command| format!(", which `{command}` asks,")).unwrap_or(",".to_owned());
                write!(
                    f,
                    "the cluster runs {runs}{asks} and not {}: nothing was sent; name a cluster that was formatted, or started by `dev`, with \
                     --application {}",
                    wanted.join(" or "),
                    wanted.first().unwrap_or(&"")
                )
            }
            Self::System(error) => write!(f, "the system refused: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unknown(error) => Some(error),
            Self::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_ask_again_what_may_have_been_executed() {
        let all = [
            RequestError::TimedOut,
            RequestError::Unanswered,
            RequestError::Evicted,
            RequestError::TooLarge { limit: 1 },
            RequestError::QueueFull,
            RequestError::Crowded { replica: ReplicaId(1), clients: 4032 },
            RequestError::Closed,
        ];
        for error in all {
            assert!(!(error.is_outcome_unknown() && error.next_step() == NextStep::Retry), "{error:?}");
            // Of an unknown outcome the sentence says so, and what to do; of no other.
            assert_eq!(error.to_string().contains("look whether"), error.is_outcome_unknown(), "{error}");
        }
    }
}
