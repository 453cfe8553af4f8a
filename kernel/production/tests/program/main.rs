//! The `chronon` program from the outside: what it prints, how it ends, what it leaves.

mod dev;
mod format;
mod journal;
mod recover;
mod served;
mod superblock;
mod support;
mod usage;
