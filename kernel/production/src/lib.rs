//! Chronon's kernel bound to the real world: the traits of [`chronon::env`] over the system's clocks, files and sockets.
//!
//! A process cannot tell these from the simulated ones, and one conformance suite (`chronon_sim::conformance`) holds both to
//! the same contracts. Clocks, disks, network and [`runner`] know no protocol; [`serve`] puts a replica into them, and the program
//! `chronon` is a command line around that and around its [`client`]s.
//!
//! Deliberately absent: whatever decides what is in the log, or what it means. That is `chronon`'s, where it can be simulated.

pub mod client;
pub mod clock;
pub mod config;
pub mod data_file;
mod descriptors;
pub mod disk;
pub mod inspect;
pub mod local;
mod meter;
mod metrics;
pub mod runner;
pub mod serve;
pub mod sinks;
pub mod size;
pub mod status;
pub mod sync_disk;
pub mod tcp;
mod telling;
mod timed_disk;
pub mod uring;
mod wake;

/// Addresses that nobody else is given: the tests'.
#[cfg(test)]
#[path = "../tests/common/addresses.rs"]
mod addresses;

pub use clock::SystemClock;
pub use data_file::{DataFile, DataFileError};
pub use disk::{Disk, DiskChoice, HostDisk};
pub use sync_disk::SyncDisk;
pub use tcp::TcpNetwork;
pub use uring::{DurableMode, IoUringDisk};
