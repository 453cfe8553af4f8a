//! What clients ask of an application in a simulation, and what must hold of it: an application put under the simulator.
//!
//! A [`Workload`] names the application, says what its clients ask next, digests its state so that replicas can be compared,
//! and states its invariants. Everything else is the same for all of them: the clients' processes ([`Caller`]), their
//! histories, the faults and the oracles.
//!
//! Deliberately absent: what becomes of an answer. That every answer is the one of a sequential run is for the oracles to
//! see, whatever the application.

mod bank;
mod caller;
mod jobs;
mod kv;
mod put;
#[cfg(test)]
pub(crate) mod wishes;

use std::fmt;

use chronon::{
    app::{application::Application, effect::EffectId},
    digest::SetDigest,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use bank::{BankPlan, BankWorkload};
pub use caller::{Call, CallOutcome, Caller, End, Told};
pub use jobs::{JobsWorkload, Worker};
pub use kv::{KvCaller, KvConfig, KvWeights, KvWorkload};
pub use put::PutWorkload;

use crate::rng::Stream;

/// An application under test. The value itself is configuration: the same for every seed.
pub trait Workload: Clone + Send + Sync + 'static {
    /// The application.
    type Application: Application;

    /// What is drawn for a run, as data. [`Calls`] is enough for most.
    type Plan: Plan;

    /// What a client remembers from call to call; `()` if nothing. A client that lives again has forgotten it.
    type Memory: Clone + Default + Send + 'static;

    /// The application as every replica runs it.
    fn application(&self) -> Self::Application;

    /// The application of a run whose clients follow `plan`. Where what is drawn for a run is more than what its clients do (how patient the
    /// application is, say), it is made of the plan here; otherwise it is [`Workload::application`]. It states the same limits as that.
    fn application_for(&self, plan: &Self::Plan) -> Self::Application {
        let _ = plan;
        self.application()
    }

    /// Draws what the clients of one run do, each of them making `calls` calls.
    fn plan(&self, random: &mut Stream, calls: u64) -> Self::Plan;

    /// How many bytes a state comes to at the most under a plan, with what is remembered of the last responses to so many clients. Who
    /// says so is also run with hardly room for it; and always with enough. A replica whose state outgrows its data file refuses what
    /// is asked: without an answer to this, there is room for a state of [`STATE_SIZE_ORDINARY`] bytes.
    fn state_size_max(&self, plan: &Self::Plan, clients: u8) -> Option<u64> {
        let _ = (plan, clients);
        None
    }

    /// Writes a client's next request into the empty `request`. What is longer than a replica takes (16 KiB always pass) is
    /// refused as too large.
    fn ask(&self, memory: &mut Self::Memory, turn: Turn<'_, Self::Plan>, request: &mut Vec<u8>);

    /// A request of the client was answered, and not with a refusal.
    fn told(&self, memory: &mut Self::Memory, request: &[u8], response: &[u8]) {
        let _ = (memory, request, response);
    }

    /// Writes a question to the state into the empty `query`, as [`Application::query`] takes it. Whether there is one: clients of
    /// an application that answers none only call.
    fn query(&self, plan: &Self::Plan, random: &mut Stream, query: &mut Vec<u8>) -> bool {
        let _ = (plan, random, query);
        false
    }

    /// The digest of everything in a state: replicas whose digests differ have diverged, and a refused request may not change
    /// it. Taken at every executed request, so best kept up to date within the state.
    fn digest(&self, state: &StateOf<Self>) -> SetDigest;

    /// The effects that the application has asked for and was told no end of, as its state has it: that none is lost, and none ends
    /// twice, is seen by it. None of an application that asks for no effects; then it is given no services either.
    ///
    /// An effect of any policy may be emitted in any channel; what its service honours follows from the channel's number, see
    /// [`manners`](crate::outside::manners). Take channel 0 for a service that does nothing twice.
    fn waiting(&self, state: &StateOf<Self>) -> Option<Vec<EffectId>> {
        let _ = state;
        None
    }

    /// Whether the application asks for effects.
    fn has_effects(&self) -> bool {
        self.waiting(&self.application().genesis()).is_some()
    }

    /// What must hold of the state on every replica whenever it has executed something.
    fn invariants(&self) -> Vec<Invariant<Self>> {
        Vec::new()
    }
}

/// The largest state that every simulated cluster has room for, in bytes.
pub const STATE_SIZE_ORDINARY: u64 = 240 * 1024;

/// The state of a workload's application.
pub type StateOf<W> = <<W as Workload>::Application as Application>::State;

/// A client's turn to ask.
pub struct Turn<'a, P> {
    /// What was drawn for the run.
    pub plan: &'a P,
    /// The client's number, from 0.
    pub client: u32,
    /// Which of its calls it is, from 0.
    pub call: u64,
    /// The client's own randomness.
    pub random: &'a mut Stream,
}

/// What an application promises of its state.
pub struct Invariant<W: Workload> {
    /// The promise in a few words, as failures are grouped by it ("money is conserved").
    pub name: &'static str,
    /// An error says in words what is wrong ("12 deposited, 13 there").
    pub holds: fn(&W::Plan, &StateOf<W>) -> Result<(), String>,
}

impl<W: Workload> Clone for Invariant<W> {
    fn clone(&self) -> Self {
        Self { name: self.name, holds: self.holds }
    }
}

/// What was drawn for a run: the part of a schedule that an application's workload fills.
///
/// It is written as TOML, whose integers end at `i64::MAX` and whose lists have no empty places: draw a salt, for instance, below 2^63. A run
/// whose plan has other values takes place; but its schedule cannot be written, and only its seed replays it.
pub trait Plan: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// How many calls each client makes.
    fn calls(&self) -> u64;

    /// The longest pause before a call, in nanoseconds; 0 for none.
    fn think_ns_max(&self) -> u64;

    /// Whether clients can follow it.
    ///
    /// # Errors
    /// A sentence that names the key of `workload.each` that is wrong, and what would be right.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// The plan of a workload that has nothing to draw but how often its clients ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// How many calls each client makes.
    pub calls: u64,
    /// The longest pause before a call; 0 for none.
    pub think_ns_max: u64,
}

impl Calls {
    /// So many calls; in three runs of ten with pauses of up to some milliseconds.
    pub fn draw(random: &mut Stream, calls: u64) -> Self {
        Self { calls, think_ns_max: if random.chance(300_000) { random.range(1_000_000, 10_000_000) } else { 0 } }
    }
}

impl Plan for Calls {
    fn calls(&self) -> u64 {
        self.calls
    }

    fn think_ns_max(&self) -> u64 {
        self.think_ns_max
    }
}

#[cfg(test)]
mod tests;
