//! Chronon's kernel: a replicated state machine over a durable, hash-chained log, as deterministic processes.
//!
//! Nothing here does I/O, reads a clock, starts a thread or draws randomness from outside: a [`process::Process`] is a
//! function of the events that it is given, and a [`node::Node`] binds it to a [`env::Clock`], a [`env::Network`], a
//! [`env::VirtualDisk`] and an [`env::EffectSink`]. The simulator and the production runner drive the same `Node`.
//!
//! Each module imports only those above it in the list below.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod types;

pub mod digest;

pub mod map;

pub mod frame;

pub mod effect;

pub mod process;

pub mod env;

pub mod node;

pub mod wire;

pub mod storage;

pub mod app;

pub mod vsr;

pub mod replica;

pub mod client;
