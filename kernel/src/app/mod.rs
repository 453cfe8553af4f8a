//! What a committed op does: the application, and what runs it.
//!
//! Nothing here knows replicas, views or journals; nothing in the protocol knows an application. They meet in the replica,
//! which hands each committed request to an [`executor::Executor`] and gives the answer to the client.

pub mod application;

pub mod bank;

pub mod executor;

pub mod kv;
