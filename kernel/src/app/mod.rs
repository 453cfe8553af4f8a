//! What a committed op does: the application, and what runs it.
//!
//! Nothing here knows replicas, views or journals; nothing in the protocol knows an application. They meet in the replica,
//! which hands each committed request to an [`executor::Executor`] and gives the answer to the client.
//!
//! What becomes of effects and timers, once a log holds entries about them, is in [`outbox`] and [`timers`]: replicated state
//! that nothing asks for yet. No application can have an effect.

pub mod effect;

pub mod room;

mod record;

pub mod outbox;

pub mod timers;

pub mod application;

pub mod bank;

pub mod executor;

pub mod kv;
