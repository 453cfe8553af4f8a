//! What a simulated disk is configured with, and what it counts. Plain data; decides nothing.

use chronon::env::DiskOperation;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::medium::{SECTOR, sectors_of};

/// How long an operation of one kind takes: uniform between the two, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyRange {
    /// The shortest, in nanoseconds.
    pub min_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
}

impl LatencyRange {
    /// Between `min_ns` and `max_ns`.
    pub const fn new(min_ns: u64, max_ns: u64) -> Self {
        Self { min_ns, max_ns }
    }
}

/// How often an operation fails by chance, in parts per million of the operations of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorRates {
    /// Reads that fail once; the next try may succeed.
    pub read_ppm: u32,
    /// Reads that find one of their sectors unreadable, which it stays until it is rewritten.
    pub latent_ppm: u32,
    /// Writes that fail and leave their sectors indeterminate.
    pub write_ppm: u32,
    /// Barriers that fail and leave the writes before them indeterminate.
    pub barrier_ppm: u32,
}

/// The configuration of a simulated disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskSettings {
    /// Bytes; a multiple of the sector. Costs nothing until it is written. Not for a schedule to say: a replica's disk is as
    /// large as its data file.
    #[serde(skip_serializing, deserialize_with = "no_capacity")]
    pub capacity: u64,
    /// The latency of a read.
    pub read: LatencyRange,
    /// The latency of a write that waits for a barrier.
    pub write: LatencyRange,
    /// The latency of a write that is durable by itself.
    pub durable_write: LatencyRange,
    /// The latency of a barrier.
    pub barrier: LatencyRange,
    /// Errors by chance.
    pub errors: ErrorRates,
}

impl Default for DiskSettings {
    /// 1 GiB with the latencies of a local solid-state disk, and no errors.
    fn default() -> Self {
        Self {
            capacity: 1 << 30,
            read: LatencyRange::new(40_000, 200_000),
            write: LatencyRange::new(10_000, 80_000),
            durable_write: LatencyRange::new(60_000, 300_000),
            barrier: LatencyRange::new(80_000, 600_000),
            errors: ErrorRates::default(),
        }
    }
}

fn no_capacity<'de, D: Deserializer<'de>>(_: D) -> Result<u64, D::Error> {
    Err(D::Error::custom("a disk is as large as the cluster's slots and messages make it; take `capacity` out"))
}

impl DiskSettings {
    /// The latency of operations of `kind`.
    pub const fn latency(&self, kind: OperationKind) -> LatencyRange {
        match kind {
            OperationKind::Read => self.read,
            OperationKind::Write => self.write,
            OperationKind::DurableWrite => self.durable_write,
            OperationKind::Barrier => self.barrier,
        }
    }
}

/// What sort of operation one is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A read.
    Read,
    /// A write that is speculative until a barrier.
    Write,
    /// A write that is durable once it completed.
    DurableWrite,
    /// A barrier.
    Barrier,
}

impl OperationKind {
    /// The kind of `operation`.
    pub const fn of(operation: &DiskOperation) -> Self {
        match operation {
            DiskOperation::Read { .. } => Self::Read,
            DiskOperation::Write { durable: false, .. } => Self::Write,
            DiskOperation::Write { durable: true, .. } => Self::DurableWrite,
            DiskOperation::Barrier => Self::Barrier,
        }
    }
}

/// What a disk was asked and did, since it was made. Operations are counted when they are submitted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DiskCounters {
    /// Operations of every kind.
    pub operations: u64,
    /// Reads.
    pub reads: u64,
    /// Writes that wait for a barrier.
    pub writes: u64,
    /// Writes durable by themselves.
    pub durable_writes: u64,
    /// Barriers.
    pub barriers: u64,
    /// Bytes asked for by reads.
    pub bytes_read: u64,
    /// Bytes of writes of both sorts.
    pub bytes_written: u64,
    /// Operations that ended in an error.
    pub errors: u64,
    /// Crashes.
    pub crashes: u64,
}

impl DiskCounters {
    pub(super) fn count(&mut self, operation: &DiskOperation) {
        self.operations += 1;
        match operation {
            DiskOperation::Read { length, .. } => {
                self.reads += 1;
                self.bytes_read += u64::from(*length);
            }
            DiskOperation::Write { data, durable, .. } => {
                if *durable {
                    self.durable_writes += 1;
                } else {
                    self.writes += 1;
                }
                self.bytes_written += sectors_of(data) * SECTOR;
            }
            DiskOperation::Barrier => self.barriers += 1,
        }
    }
}
