//! The client for threads: each call waits for its answer, and any number of threads may call at once.

use std::{
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

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
    pub fn connect(addresses: &[SocketAddr], options: Options) -> Result<Self, ConnectError> {
        Ok(Self { driver: Arc::new(Driver::connect(addresses, &options, false)?) })
    }

    /// A client whose requests are an operator's.
    pub(super) fn operator(addresses: &[SocketAddr], options: &Options) -> Result<Self, ConnectError> {
        Ok(Self { driver: Arc::new(Driver::connect(addresses, options, true)?) })
    }

    /// The longest payload that the cluster takes.
    pub fn payload_size_max(&self) -> usize {
        self.driver.payload_size_max()
    }

    /// Asks the cluster something and waits for the answer. Waits for room in the queue, too.
    ///
    /// # Errors
    /// If there is none: [`RequestError::next_step`] says what may be done then.
    pub fn request(&self, payload: impl Into<Vec<u8>>) -> Result<Answer, RequestError> {
        self.ask(None, payload.into())
    }

    /// Asks what the application's state is, and waits for the answer; for room in the queue, too. The answer misses nothing that was
    /// acknowledged, to anybody, before the call.
    ///
    /// # Errors
    /// If there is none. A query changes nothing, so that it may be asked again if that is worth it: [`RequestError::next_step`].
    pub fn query(&self, payload: impl Into<Vec<u8>>) -> Result<Answer, RequestError> {
        self.ask(Some(Freshness::Linearizable), payload.into())
    }

    /// The same of whichever replica answers, from what that has executed: what was acknowledged may be missing from the answer. It is the
    /// state after [`Answer::op`], and no other.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub fn query_stale(&self, payload: impl Into<Vec<u8>>) -> Result<Answer, RequestError> {
        self.ask(Some(Freshness::Stale), payload.into())
    }

    fn ask(&self, query: Option<Freshness>, payload: Vec<u8>) -> Result<Answer, RequestError> {
        let (pending, tell) = self.pending();
        self.driver.submit_when_there_is_room(self.driver.ask(query, payload, Box::new(|result| tell.tell(result))));
        pending.wait()
    }

    /// Asks the cluster something and does not wait: not for the answer, and not for room.
    pub fn submit(&self, payload: impl Into<Vec<u8>>) -> Pending {
        let (pending, tell) = self.pending();
        self.submit_then(payload, |result| tell.tell(result));
        pending
    }

    /// The same, and has `then` called with what became of it: by the client's own thread, which does nothing else meanwhile, or
    /// before this returns. It may submit again; it must not wait for an answer. If it panics, the client is at its end. If
    /// the client ends first, it is dropped and not called.
    pub fn submit_then(
        &self,
        payload: impl Into<Vec<u8>>,
        then: impl FnOnce(Result<Answer, RequestError>) + Send + 'static,
    ) {
        self.driver.submit(self.driver.ask(None, payload.into(), Box::new(then)));
    }

    /// [`Client::submit`] with a query.
    pub fn submit_query(&self, freshness: Freshness, payload: impl Into<Vec<u8>>) -> Pending {
        let (pending, tell) = self.pending();
        self.submit_query_then(freshness, payload, |result| tell.tell(result));
        pending
    }

    /// [`Client::submit_then`] with a query.
    pub fn submit_query_then(
        &self,
        freshness: Freshness,
        payload: impl Into<Vec<u8>>,
        then: impl FnOnce(Result<Answer, RequestError>) + Send + 'static,
    ) {
        self.driver.submit(self.driver.ask(Some(freshness), payload.into(), Box::new(then)));
    }

    fn pending(&self) -> (Pending, Tell) {
        let told = Arc::new(Told::default());
        (Pending { told: Arc::clone(&told), _driver: Arc::clone(&self.driver) }, Tell(told))
    }
}

/// A request whose outcome can be waited for. Keeps the client alive; dropping it abandons the wait, and not the request.
#[must_use = "what became of the request is told to who waits for it"]
#[derive(Debug)]
pub struct Pending {
    told: Arc<Told>,
    _driver: Arc<Driver>,
}

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    /// If there is none.
    pub fn wait(self) -> Result<Answer, RequestError> {
        let mut result = self.told.lock();
        loop {
            match result.take() {
                Some(result) => return result,
                None => result = self.told.changed.wait(result).expect(NOBODY_PANICS),
            }
        }
    }

    /// Whether there is nothing left to wait for.
    pub fn is_settled(&self) -> bool {
        self.told.lock().is_some()
    }
}

const NOBODY_PANICS: &str = "nobody panics while a result is locked";

/// Where one thread tells another what became of a request.
#[derive(Default, Debug)]
struct Told {
    result: Mutex<Option<Result<Answer, RequestError>>>,
    changed: Condvar,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, Option<Result<Answer, RequestError>>> {
        self.result.lock().expect(NOBODY_PANICS)
    }
}

/// Whoever has it tells the outcome. If it is dropped first, that is told.
struct Tell(Arc<Told>);

impl Tell {
    fn tell(self, result: Result<Answer, RequestError>) {
        *self.0.lock() = Some(result);
    }
}

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.lock().get_or_insert(Err(RequestError::Closed));
        self.0.changed.notify_one();
    }
}
