//! The client for tasks. It has the same thread of its own as the blocking one, so that any runtime will do, whatever it has
//! enabled.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::oneshot;

pub use super::kv::AsynchronousKvClient as KvClient;
use super::{Answer, ConnectError, Freshness, Options, RequestError, driver::Driver};

/// A client of a cluster. Clones are the same client; it ends with the last of them, and so do its connections.
#[derive(Clone, Debug)]
pub struct Client {
    driver: Arc<Driver>,
}

impl Client {
    /// A client of the cluster whose replicas have these addresses, in their order.
    ///
    /// # Errors
    /// If there is no such cluster, or if the system refuses.
    ///
    /// # Panics
    /// If making the client does, on the thread that does it.
    pub async fn connect(addresses: &[SocketAddr], options: Options) -> Result<Self, ConnectError> {
        let (tell, told) = oneshot::channel();
        let addresses = addresses.to_vec();
        // The cluster is asked what it is by calls that block.
        std::thread::Builder::new().name("chronon-connect".to_owned()).spawn(move || {
            // Nobody may wait for it any more.
            let _ = tell.send(Driver::connect(&addresses, &options, false));
        })?;
        let driver = told.await.expect("the thread tells how it went")?;
        Ok(Self { driver: Arc::new(driver) })
    }

    /// The longest payload that the cluster takes.
    pub fn payload_size_max(&self) -> usize {
        self.driver.payload_size_max()
    }

    /// Asks the cluster something. Does not wait for room in the queue: if there is none, that is an error at once, so that who asks
    /// can have others wait. Dropping the future abandons the wait, and not the request, once it was polled.
    ///
    /// # Errors
    /// If there is no answer: [`RequestError::next_step`] says what may be done then.
    pub async fn request(&self, payload: impl Into<Vec<u8>>) -> Result<Answer, RequestError> {
        self.ask(None, payload.into()).await
    }

    /// Asks what the application's state is. The answer misses nothing that was acknowledged, to anybody, before the future was first
    /// polled. Does not wait for room in the queue, either.
    ///
    /// # Errors
    /// If there is no answer. A query changes nothing, so that it may be asked again if that is worth it: [`RequestError::next_step`].
    pub async fn query(&self, payload: impl Into<Vec<u8>>) -> Result<Answer, RequestError> {
        self.ask(Some(Freshness::Linearizable), payload.into()).await
    }

    /// The same of whichever replica answers, from what that has executed: what was acknowledged may be missing from the answer. It is the
    /// state after [`Answer::op`], and no other.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn query_stale(&self, payload: impl Into<Vec<u8>>) -> Result<Answer, RequestError> {
        self.ask(Some(Freshness::Stale), payload.into()).await
    }

    async fn ask(&self, query: Option<Freshness>, payload: Vec<u8>) -> Result<Answer, RequestError> {
        let (tell, told) = oneshot::channel();
        let then = move |result| {
            // Nobody may wait for it any more.
            let _ = tell.send(result);
        };
        self.driver.submit(self.driver.ask(query, payload, Box::new(then)));
        told.await.unwrap_or(Err(RequestError::Closed))
    }
}
