//! The key-value application's client: its requests as calls, its responses as values.

use std::{fmt, net::SocketAddr};

use chronon::{
    app::{
        application::Rejection,
        kv::{Refusal, Request, Response},
    },
    types::Op,
};

#[cfg(feature = "tokio")]
use super::asynchronous;
use super::{Answer, Client, ConnectError, NextStep, Options, RequestError};

/// A client of the key-value application, for threads. Clones are the same client.
#[derive(Clone, Debug)]
pub struct KvClient(Client);

/// A client of the key-value application, for tasks. Clones are the same client.
#[cfg(feature = "tokio")]
#[derive(Clone, Debug)]
pub struct AsynchronousKvClient(asynchronous::Client);

/// What a compare-and-swap came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Swap {
    /// What was expected was there, and the new value is now.
    Swapped,
    /// Nothing was changed, because this was there (`None`: nothing).
    Mismatch(Option<Vec<u8>>),
}

/// Why the store did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KvError {
    /// There is no answer.
    Request(RequestError),
    /// The store refused, and changed nothing.
    Refused(Refusal),
    /// The answer is none that the key-value application gives to this question: the cluster runs another one.
    Foreign(Op),
}

impl KvError {
    /// What whoever asked may do next.
    pub const fn next_step(&self) -> NextStep {
        match self {
            Self::Request(error) => error.next_step(),
            Self::Refused(_) | Self::Foreign(_) => NextStep::GiveUp,
        }
    }
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Foreign(op) => {
                write!(f, "{op} was answered by something else than a key-value store: name another cluster")
            }
        }
    }
}

impl std::error::Error for KvError {}

/// The calls, for a client whose `request` is waited for as `$wait` says.
macro_rules! calls {
    ($client:ty, $($asynchronous:ident, $wait:tt)?) => {
        impl $client {
            /// What is under `key`: everything that was acknowledged before the call is in it. A query, which changes nothing, so that it may
            /// be asked again.
            ///
            /// # Errors
            /// If there is no answer, or if the store refuses.
            pub $($asynchronous)? fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
                take(self.0.query(encode(Request::Get { key })?)$(.$wait)?, found)
            }

            /// What was under `key` after an op, and which op that is: as far as whichever replica answers had come. What was acknowledged
            /// since is not in it.
            ///
            /// # Errors
            /// If there is no answer, or if the store refuses.
            pub $($asynchronous)? fn get_stale(&self, key: &[u8]) -> Result<(Op, Option<Vec<u8>>), KvError> {
                let answer = self.0.query_stale(encode(Request::Get { key })?)$(.$wait)?.map_err(KvError::Request)?;
                let op = answer.op;
                Ok((op, take(Ok(answer), found)?))
            }

            /// Lets `value` be under `key`.
            ///
            /// # Errors
            /// If there is no answer, or if the store refuses.
            pub $($asynchronous)? fn put(&self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
                take(self.0.request(encode(Request::Put { key, value })?)$(.$wait)?, stored)
            }

            /// Lets nothing be under `key`. Whether something was.
            ///
            /// # Errors
            /// If there is no answer, or if the store refuses.
            pub $($asynchronous)? fn delete(&self, key: &[u8]) -> Result<bool, KvError> {
                take(self.0.request(encode(Request::Delete { key })?)$(.$wait)?, deleted)
            }

            /// Lets `value` be under `key` if `expected` is (`None`: if nothing is).
            ///
            /// # Errors
            /// If there is no answer, or if the store refuses.
            pub $($asynchronous)? fn compare_and_swap(
                &self,
                key: &[u8],
                expected: Option<&[u8]>,
                value: &[u8],
            ) -> Result<Swap, KvError> {
                take(self.0.request(encode(Request::CompareAndSwap { key, expected, value })?)$(.$wait)?, swapped)
            }

            /// Puts `value` behind what is under `key`, if anything is. The length of all of it.
            ///
            /// # Errors
            /// If there is no answer, or if the store refuses.
            pub $($asynchronous)? fn append(&self, key: &[u8], value: &[u8]) -> Result<u32, KvError> {
                take(self.0.request(encode(Request::Append { key, value })?)$(.$wait)?, appended)
            }
        }
    };
}

calls!(KvClient,);
#[cfg(feature = "tokio")]
calls!(AsynchronousKvClient, async, await);

impl KvClient {
    /// A client of the cluster whose replicas have these addresses, in their order.
    ///
    /// # Errors
    /// If there is no such cluster, if it says that it runs something else, or if the system refuses.
    pub fn connect(addresses: &[SocketAddr], options: Options) -> Result<Self, ConnectError> {
        Client::connect(addresses, of_a_store(options)).map(Self)
    }
}

#[cfg(feature = "tokio")]
impl AsynchronousKvClient {
    /// A client of the cluster whose replicas have these addresses, in their order.
    ///
    /// # Errors
    /// If there is no such cluster, if it says that it runs something else, or if the system refuses.
    pub async fn connect(addresses: &[SocketAddr], options: Options) -> Result<Self, ConnectError> {
        asynchronous::Client::connect(addresses, of_a_store(options)).await.map(Self)
    }
}

/// What is meant to be asked is a key-value store, unless somebody knows better.
fn of_a_store(options: Options) -> Options {
    let applications = if options.applications.is_empty() { &["kv"] } else { options.applications };
    Options { applications, ..options }
}

impl From<Client> for KvClient {
    fn from(client: Client) -> Self {
        Self(client)
    }
}

#[cfg(feature = "tokio")]
impl From<asynchronous::Client> for AsynchronousKvClient {
    fn from(client: asynchronous::Client) -> Self {
        Self(client)
    }
}

/// The request as bytes. One that the store would refuse for its size is refused at once, as the store would.
fn encode(request: Request<'_>) -> Result<Vec<u8>, KvError> {
    let request = request.within_limits().map_err(KvError::Refused)?;
    let mut payload = Vec::new();
    request.encode(&mut payload);
    Ok(payload)
}

/// What the answer says, if it is one to what was asked.
fn take<V>(answer: Result<Answer, RequestError>, meant: impl FnOnce(Response<'_>) -> Option<V>) -> Result<V, KvError> {
    let Answer { op, result, .. } = answer.map_err(KvError::Request)?;
    match result {
        Ok(response) => Response::decode(&response).ok().and_then(meant).ok_or(KvError::Foreign(op)),
        Err(Rejection { code, .. }) => Err(Refusal::from_code(code).map_or(KvError::Foreign(op), KvError::Refused)),
    }
}

fn found(response: Response<'_>) -> Option<Option<Vec<u8>>> {
    match response {
        Response::Found(value) => Some(Some(value.to_vec())),
        Response::Missing => Some(None),
        _ => None,
    }
}

fn stored(response: Response<'_>) -> Option<()> {
    (response == Response::Stored).then_some(())
}

fn deleted(response: Response<'_>) -> Option<bool> {
    match response {
        Response::Deleted => Some(true),
        Response::Missing => Some(false),
        _ => None,
    }
}

fn swapped(response: Response<'_>) -> Option<Swap> {
    match response {
        Response::Swapped => Some(Swap::Swapped),
        Response::Mismatch(there) => Some(Swap::Mismatch(there.map(<[u8]>::to_vec))),
        _ => None,
    }
}

fn appended(response: Response<'_>) -> Option<u32> {
    match response {
        Response::Appended { length } => Some(length),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chronon::{frame::Frame, types::Timestamp};

    use super::*;

    fn answer(result: Result<&[u8], u32>) -> Result<Answer, RequestError> {
        let result = result.map(|bytes| Frame::new(bytes.to_vec())).map_err(Rejection::new);
        Ok(Answer { op: Op(7), timestamp: Some(Timestamp(1)), result })
    }

    #[test]
    fn what_the_store_would_not_say_was_said_by_something_else() {
        let stored_response = b"\x03";
        assert_eq!(take(answer(Ok(stored_response)), stored), Ok(()));
        assert_eq!(take(answer(Ok(stored_response)), found), Err(KvError::Foreign(Op(7))));
        assert_eq!(take(answer(Ok(b"no response")), stored), Err(KvError::Foreign(Op(7))));
        assert_eq!(take(answer(Err(Refusal::KeySize as u32)), stored), Err(KvError::Refused(Refusal::KeySize)));
        assert_eq!(take(answer(Err(u32::MAX)), stored), Err(KvError::Foreign(Op(7))));
        let refused = take(Err(RequestError::Evicted), stored).map_err(|error| error.next_step());
        assert_eq!(refused, Err(NextStep::ReRegister));
    }
}
