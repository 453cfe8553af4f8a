//! Deterministic simulation of whole clusters: one thread, virtual time, one seed.

#![forbid(unsafe_code)]

pub mod rng;

pub mod fold;

pub mod queue;

pub mod clock;

pub mod network;

pub mod disk;

pub mod conformance;

pub mod verdict;

pub mod trace;

pub mod oracle;

pub mod world;

pub mod bench;

pub mod workload;

pub mod schedule;

pub mod scenario;

pub mod nemesis;

pub mod simulation;

pub mod campaign;
