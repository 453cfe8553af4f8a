//! The `chronon` program from the outside: what it prints, how it ends, what it leaves.

#[path = "../common/addresses.rs"]
mod addresses;
mod dev;
mod format;
mod journal;
mod log;
mod recover;
mod replica;
mod served;
mod status;
mod superblock;
mod support;
mod usage;
