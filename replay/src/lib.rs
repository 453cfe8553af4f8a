//! The `replay` program: runs seeds by the thousand, reports, and replays any of them byte for byte.
//!
//! As a library it gives the same program to an application of one's own. A scenario is a function from a seed to the
//! outcome of one simulation; everything else (campaigns on all cores, reports, traces, telling, verifying and comparing
//! them) comes with it:
//!
//! ```no_run
//! use chronon_replay::{Outcome, Program, TraceMode, World, WorldSettings, run_world};
//!
//! fn quiet(seed: u64, trace: TraceMode) -> Outcome {
//!     let mut world = World::with_settings(seed, WorldSettings { trace, ..WorldSettings::default() });
//!     // Add nodes and oracles here, and faults below.
//!     run_world(&mut world, |world| world.run_for(1_000_000_000))
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     Program::new("my-replay", "1").scenario("quiet", "nothing at all happens", quiet).main()
//! }
//! ```
//!
//! An application that Chronon replicates needs no world of its own: a [`Workload`] says what clients ask of it and what must
//! hold, and [`Program::cluster`] runs it under every scenario of Chronon's own, with all of their faults and oracles.
//!
//! [`version_of`] makes a version of one's own sources. Whole programs stand in `replay/examples/`.
//!
//! Invariant: what is written to standard output, to reports and to traces follows from the seeds and the code, but for the
//! fields that are measured times. Progress goes to standard error. Deliberately absent: any knowledge of what a scenario
//! simulates; only `cluster` knows Chronon's clusters.

#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod choice;
mod cluster;
mod conduct;
mod diff;
mod failure;
mod file;
mod interruption;
mod list;
mod measure;
mod mutants;
mod number;
mod output;
mod program;
mod progress;
mod report;
mod run;
mod seed;
mod subject;
mod tell;
mod verify;

pub use choice::Choice;
pub use chronon_sim::{
    campaign::run_world,
    rng::Stream,
    simulation::Outcome,
    trace::TraceMode,
    workload::{Calls, Invariant, Plan, StateOf, Turn, Workload},
    world::{World, WorldSettings},
};
pub use program::Program;
pub use subject::{Family, Subject};

/// For [`version_of`] alone.
#[doc(hidden)]
pub use program::version_of_bytes;
