//! Conformance suites: what a process may rely on in its clock, its network and its disk, checked from outside.
//!
//! One suite for each of a clock, a network and a disk, run against the simulated implementations here and against every real one in its
//! own tests: a *rig* makes an implementation, lets time pass around it, and, for a disk, opens it again. A suite asks for
//! a sound implementation, one without faults, and checks promises only: what a contract leaves open (the order of
//! completions, the loss of a frame) passes either way. A broken promise is a panic that says which.
//!
//! Deliberately absent: power cuts and failed barriers, which no test can ask of real hardware; the simulated disk is held
//! to them by its own tests.

mod clock;
mod disk;
mod network;

pub use clock::{ClockRig, check_clock};
pub use disk::{DISK_CAPACITY_MIN, DiskRig, check_disk, submit_unaligned};
pub use network::{NetworkRig, check_network};

/// How often a suite waits for one thing before it gives up: a rig's shortest wait times this is the longest patience.
const WAITS_MAX: u32 = 20_000;
