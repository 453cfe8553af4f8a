//! The `replay` program, run as a user runs it: what it prints, writes and ends with.
//!
//! `misbehaving` and `own_protocol` are programs over the same library, for failures that Chronon's own scenarios must not have.

mod campaigns;
mod clusters;
mod failures;
mod mutants;
mod schedules;
mod support;
mod traces;
mod usage;
