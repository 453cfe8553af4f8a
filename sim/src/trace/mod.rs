//! The trace: everything that happened in a run, as bytes.
//!
//! A trace is a header (what was run) and then one record after another: every event that a process took with the two clock
//! readings that it was given, every action that it answered with, and everything that the world did to it. Its digest is
//! BLAKE3 over the bytes after the header, to the last: zeros behind the last record fill it up for the sake of the hash.
//!
//! Invariant: the same seed, schedule and code give the same bytes after the header, in debug and release, on any machine,
//! under any number of threads. No address, thread, wall clock or build profile enters. Deliberately absent: what a process
//! thought. The trace holds what went in and what came out; the process is a function.
//!
//! - `encode` and `cursor` hold the two halves of the byte format, `writer` and `decode` those of the records; a tag is named
//!   once, in `tag`.
//! - `seal` has the checksums by which damage to a file is told from a run that did something else.
//! - `writer` keeps the digest too; `record` is what a reader gets; `difference` compares two traces.

mod cursor;
mod decode;
mod difference;
mod encode;
mod error;
mod header;
mod record;
mod seal;
mod tag;
mod writer;

pub use decode::{Records, Trace};
pub use difference::{Difference, first_difference};
pub use error::TraceError;
pub use header::TraceHeader;
pub use record::{Body, CameTo, Contents, CrashCause, Entry, Named, Record};
pub(crate) use writer::{Happening, TraceWriter};

/// Whether a run's bytes are kept or only their digest.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TraceMode {
    /// Keep nothing but the digest, and that in constant memory.
    #[default]
    Digest,
    /// Keep every byte.
    Keep,
}

/// How the bodies of messages enter the trace.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TraceBodies {
    /// Every byte, once, where the message was sent.
    Bytes,
    /// The length and a fast 64-bit checksum.
    #[default]
    Checksum,
}
