//! The simulated disk keeps the contract of `VirtualDisk`, and breaks everything that the contract lets it break: one test
//! a sentence.

mod crashes;
mod faults;
mod hand;
mod operations;
