//! A client as a process: asks what its driver wants asked, one request after another.
//!
//! The process adds nothing to the protocol: [`Client`] has all of it. It deliberately keeps no record of what was asked
//! and answered; whoever wants one keeps it in the driver.

use alloc::vec::Vec;

use crate::{
    client::{Client, ClientConfig, ClientProbe, Freshness, Outcome},
    process::{Actions, Event, Now, Process},
    types::Instant,
};

/// Decides what a client asks, and hears what became of it. Plain data, like every part of a process.
pub trait Driver: Clone + Send + 'static {
    /// What now? Called when nothing is outstanding. For [`Next::Request`] and [`Next::Query`] the payload is written into the empty
    /// `request`.
    fn next(&mut self, now: Now, request: &mut Vec<u8>) -> Next;

    /// What became of the last request. [`Driver::next`] follows.
    fn done(&mut self, now: Now, outcome: Outcome<'_>);
}

/// What a driver wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send the request.
    Request,
    /// Send it as a query.
    Query(Freshness),
    /// Nothing before this time of the monotonic clock; then ask again.
    WaitUntil(Instant),
    /// Nothing, ever.
    Done,
}

/// A client and what drives it.
#[derive(Clone)]
pub struct ClientProcess<D> {
    client: Client,
    driver: D,
    /// When the driver is asked again, while nothing is outstanding.
    wake: Option<Instant>,
    /// The payload being written; kept for its buffer.
    payload: Vec<u8>,
}

impl<D: Driver> ClientProcess<D> {
    /// A client that has not started.
    pub fn new(config: ClientConfig, driver: D) -> Self {
        Self { client: Client::new(config), driver, wake: None, payload: Vec::new() }
    }

    /// An operator's client: see [`Client::operator`].
    pub fn operator(config: ClientConfig, driver: D) -> Self {
        Self { client: Client::operator(config), driver, wake: None, payload: Vec::new() }
    }

    /// The protocol's side of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What drives it.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    fn ask_driver(&mut self, now: Now, actions: &mut Actions) {
        self.payload.clear();
        self.wake = match self.driver.next(now, &mut self.payload) {
            Next::Request | Next::Query(_) if self.payload.len() > self.client.payload_size_max() => {
                self.driver.done(now, Outcome::TooLarge);
                // In a step of its own, so that a driver that knows nothing smaller cannot hang the process.
                Some(now.monotonic)
            }
            Next::Request => {
                self.client.submit(now.monotonic, &self.payload, actions);
                None
            }
            Next::Query(freshness) => {
                self.client.query(now.monotonic, freshness, &self.payload, actions);
                None
            }
            Next::WaitUntil(time) => Some(time),
            Next::Done => None,
        };
    }
}

impl<D: Driver> Process for ClientProcess<D> {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Start { nonce } => {
                self.client.begin(nonce);
                self.ask_driver(now, actions);
            }
            Event::Message { frame, .. } => {
                if let Some(outcome) = self.client.on_frame(now.monotonic, frame, actions) {
                    self.driver.done(now, outcome);
                    self.ask_driver(now, actions);
                }
            }
            Event::Deadline => {
                self.client.on_deadline(now.monotonic, actions);
                if self.wake.is_some_and(|time| time <= now.monotonic) {
                    self.ask_driver(now, actions);
                }
            }
            // A client asks its disk for nothing, and for no effects.
            Event::DiskCompletion(_) | Event::EffectOutcome(_) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake.or(self.client.deadline())
    }

    fn probes(&self) -> &'static [&'static str] {
        ClientProbe::NAMES
    }
}
