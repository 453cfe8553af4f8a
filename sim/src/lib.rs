//! Deterministic simulation of whole clusters: one thread, virtual time, one seed.
//!
//! Nothing here reads a clock, starts a thread, touches a file or draws randomness from outside: a run is a function of its
//! seed, its settings and what is done to it, and gives the same bytes on every machine. (One exception: `campaign` runs
//! many such runs on many threads, and none of them can tell.)
//!
//! # The first five minutes
//!
//! Write what you want to test as a [`Process`](chronon::process::Process): it is handed events and answers with actions. It
//! cannot tell a simulation from production. Here a counter is asked to count, and a client asks again if it hears nothing.
//!
//! ```
//! use chronon::{
//!     frame::Frame,
//!     process::{Actions, Event, Now, Process},
//!     types::{Instant, NodeId},
//! };
//! use chronon_sim::{
//!     network::LinkSettings,
//!     oracle::{Oracle, StepView, Violation, WorldView},
//!     world::World,
//! };
//!
//! const COUNTER: NodeId = NodeId(0);
//! const CLIENT: NodeId = NodeId(1);
//!
//! #[derive(Clone, Default)]
//! struct Counter {
//!     count: u8,
//! }
//!
//! impl Process for Counter {
//!     fn step(&mut self, _now: Now, event: Event<'_>, actions: &mut Actions) {
//!         if let Event::Message { from, frame } = event {
//!             // Counting is safe to repeat: whoever asks says how far the count shall be.
//!             self.count = self.count.max(frame[0]);
//!             actions.send(from, Frame::new(vec![self.count]));
//!         }
//!     }
//!
//!     fn deadline(&self) -> Option<Instant> {
//!         None
//!     }
//! }
//!
//! #[derive(Clone, Default)]
//! struct Client {
//!     confirmed: u8,
//!     retry: Instant,
//! }
//!
//! impl Process for Client {
//!     fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
//!         if let Event::Message { frame, .. } = event {
//!             self.confirmed = self.confirmed.max(frame[0]);
//!         }
//!         if self.confirmed < 100 {
//!             actions.send(COUNTER, Frame::new(vec![self.confirmed + 1]));
//!         }
//!         self.retry = now.monotonic.after(10_000_000);
//!     }
//!
//!     fn deadline(&self) -> Option<Instant> {
//!         (self.confirmed < 100).then_some(self.retry)
//!     }
//! }
//!
//! // What must hold, watched from outside.
//! #[derive(Clone)]
//! struct NobodyIsAhead;
//!
//! impl Oracle for NobodyIsAhead {
//!     fn name(&self) -> &'static str {
//!         "nobody is ahead of the counter"
//!     }
//!
//!     fn after_step(&mut self, world: &WorldView<'_>, _: NodeId, _: &StepView<'_>) -> Result<(), Violation> {
//!         let (counter, client) = (world.process::<Counter>(COUNTER), world.process::<Client>(CLIENT));
//!         match (counter, client) {
//!             (Some(counter), Some(client)) if client.confirmed > counter.count => Err(Violation::safety(
//!                 "confirmed beyond the count",
//!                 format!("{} was confirmed and the count is {}", client.confirmed, counter.count),
//!             )),
//!             _ => Ok(()),
//!         }
//!     }
//! }
//!
//! fn world(seed: u64) -> World {
//!     let mut world = World::new(seed);
//!     world.add_node("counter", Counter::default());
//!     world.add_node("client", Client::default());
//!     world.add_oracle(NobodyIsAhead);
//!     world
//! }
//!
//! // A bad network, a partition, a clock that runs fast: the client gets there.
//! let mut world = world(7);
//! world.set_links(LinkSettings { loss_ppm: 100_000, duplication_ppm: 50_000, ..world.network().default_settings() });
//! world.run_for(50_000_000);
//! world.cut(COUNTER, CLIENT);
//! world.run_for(200_000_000);
//! world.heal(COUNTER, CLIENT);
//! world.skew(CLIENT, 3_600_000_000_000, 200_000);
//! let confirmed = |world: &World| world.process::<Client>(CLIENT).is_some_and(|client| client.confirmed == 100);
//! assert!(world.run_until(60_000_000_000, confirmed));
//! assert!(world.verdict().is_none());
//!
//! // The counter keeps its count in memory. One crash, and the oracle says so.
//! world.kill(COUNTER);
//! world.restart(COUNTER);
//! world.run_for(1_000_000_000);
//! let failure = world.verdict().expect("the count is lost");
//! assert_eq!(failure.violation, "100 was confirmed and the count is 0");
//! ```
//!
//! The same seed is the same run, whatever else the machine does; a clone of a world goes on as the world does.
//! [`simulate!`] makes a `#[test]` of such a simulation over many seeds, and prints the seed and the one command that runs it
//! again. `examples/primary_backup.rs` is a protocol with a disk, in under 150 lines.
//!
//! # What there is
//!
//! - [`world`]: nodes, faults, time. [`network`], [`clock`] and [`disk`] are what a world is made of.
//! - [`oracle`]: promises, watched from outside. [`verdict`]: what a run found.
//! - [`trace`]: everything that happened, as bytes, with a digest; two runs compare by it.
//! - [`rng`]: streams of randomness by purpose. [`queue`] and [`fold`] are parts that others may use.
//! - [`mod@nearest`]: what somebody meant who mistyped a name.
//! - [`testing`]: simulations as tests. [`mod@bench`]: what the engine itself costs.

#![forbid(unsafe_code)]

pub mod rng;

pub mod fold;

pub mod nearest;

pub mod queue;

pub mod clock;

pub mod network;

pub mod disk;

pub mod conformance;

pub mod verdict;

pub mod trace;

pub mod service;

pub mod operator;
pub mod oracle;

pub mod world;

pub mod bench;

pub mod workload;

pub mod outside;

pub mod reader;

pub mod schedule;

pub mod scenario;

pub mod nemesis;

pub mod simulation;

pub mod campaign;

pub mod testing;
