//! Looking into a data file: what its superblock, its journal and its checkpoint say, in words, however damaged it is.
//!
//! Invariant: nothing is written, nothing is concluded otherwise than by a replica (the same parsers, the same decision table),
//! and no part of a file is larger in memory than a slot. Of a file that is locked what is under way is never taken for damage. Of one
//! that a replica serves from meanwhile ([`open_in_motion`](crate::DataFile::open_in_motion)) it may be, and what is seen may lie beyond
//! the commit: that is for people to look at, and for no program to act on.
//!
//! Deliberately absent: repair; and what the log is worth to the cluster, which only the other replicas know.

mod checkpoint;
mod journal;
mod log;
mod slot;
mod source;
mod superblock;

use chronon::wire::Header;
use serde::Serialize;

pub use self::{
    checkpoint::{CheckpointReport, DamagedChunk, checkpoint},
    journal::{Class, Given, InspectError, Irregular, JournalReport, PrepareReport, Shape, examine, prepares, shape},
    superblock::{CopyReport, CopyState, Facts, SuperblockReport, Unopened, opened, superblock},
};

/// What a prepare's header says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HeaderFacts {
    /// Its place in the log.
    pub op: u64,
    /// The view that prepared it.
    pub view: u64,
    /// The log's time, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Of header and body, in bytes.
    pub size_bytes: u32,
    /// How far the log was committed when it was prepared.
    pub commit: u64,
    /// Its checksum, which is its identity.
    pub checksum: String,
    /// The checksum of the prepare before it.
    pub parent: String,
}

impl From<&Header> for HeaderFacts {
    fn from(header: &Header) -> Self {
        Self {
            op: header.op.0,
            view: header.view.0,
            timestamp_ns: header.timestamp.0,
            size_bytes: header.size,
            commit: header.commit.0,
            checksum: header.checksum.to_string(),
            parent: header.parent().to_string(),
        }
    }
}
