//! The client for tasks. It has the same thread of its own as the blocking one, so that any runtime will do, whatever it has
//! enabled.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::oneshot;

pub use super::kv::AsynchronousKvClient as KvClient;
use super::{Answer, ConnectError, Options, RequestError, driver::Driver};

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
            let _ = tell.send(Driver::connect(&addresses, &options));
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
        let (tell, told) = oneshot::channel();
        let then = move |result| {
            // Nobody may wait for it any more.
            let _ = tell.send(result);
        };
        self.driver.submit(self.driver.ask(payload.into(), Box::new(then)));
        told.await.unwrap_or(Err(RequestError::Closed))
    }
}
