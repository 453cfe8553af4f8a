//! What a committed op does: the application, and what runs it.
//!
//! Nothing here knows replicas, views or journals; nothing in the protocol knows an application. They meet in the replica,
//! which hands each committed request to an [`executor::Executor`] and gives the answer to the client.
//!
//! What an application asks for in the world outside goes into the [`outbox`] and the [`timers`], which are replicated state as
//! its own is. The executor changes them by what the log says ([`system`]) and by its time.

pub mod effect;

pub mod room;

mod record;

pub mod outbox;

pub mod timers;

pub mod outcome;

pub mod system;

pub mod application;

pub mod operator;

pub mod bank;

pub mod branch;

pub mod executor;

pub mod jobs;

pub mod kv;

pub mod number;
