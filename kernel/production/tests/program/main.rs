//! The `chronon` program from the outside: what it prints, how it ends, what it leaves.

#[path = "../common/addresses.rs"]
mod addresses;
#[path = "../../examples/counter/application.rs"]
mod counter;
mod dev;
mod effects;
mod format;
mod grid;
mod journal;
mod log;
mod recover;
mod replica;
#[path = "../common/scrape.rs"]
mod scrape;
mod served;
mod status;
mod superblock;
mod support;
mod usage;
