//! The replicas of a simulation: how many, how they are laid out, and their limits.

use chronon::storage::layout::{BLOCKS_MIN, Layout};
use serde::{Deserialize, Serialize};

/// The largest message that a simulated cluster may have, in bytes.
pub const MESSAGE_SIZE_MAX: u32 = 1 << 20;

/// The most sessions, requests and queries that a replica is told to take on, here as in production.
pub(super) const LIMIT_MAX: u32 = 65_536;

const SLOTS_MAX: u32 = 65_536;
/// The most blocks that the grid of a simulated replica may have.
pub const BLOCKS_MAX: u32 = 65_536;
const MESSAGE_SIZE_RULE: &str = "cluster.message_size_max must be a multiple of 4096 and at least 20480";

/// The replicas of a simulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterPlan {
    /// 1 to 6.
    pub replicas: u8,
    /// Prepares in flight.
    pub pipeline: u32,
    /// How many requests wait for each in the pipeline before they join it.
    #[serde(default = "one")]
    pub company: u32,
    /// Requests that a primary takes on at once.
    pub requests_max: u32,
    /// Sessions.
    pub clients_max: u32,
    /// Slots of the journal: a multiple of 32.
    pub slot_count: u32,
    /// The largest message: a multiple of the sector.
    pub message_size_max: u32,
    /// Blocks of the checkpoint grid.
    #[serde(default = "blocks_ordinary")]
    pub block_count: u32,
    /// The size of each: a multiple of the sector, no more than a message.
    #[serde(default = "block_size_ordinary")]
    pub block_size: u32,
}

impl ClusterPlan {
    /// Whether it can be run, or the rule that it breaks.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let Self { replicas, pipeline, company, slot_count, message_size_max, clients_max, requests_max, .. } = *self;
        let Self { block_count, block_size, .. } = *self;
        let is_block_size = block_size > 0 && block_size % 4096 == 0 && block_size <= message_size_max;
        let rules = [
            ((1..=6).contains(&replicas), "cluster.replicas must be 1 to 6"),
            ((1..=16).contains(&pipeline), "cluster.pipeline must be 1 to 16"),
            (company <= 1024, "cluster.company must be at most 1024"),
            (slot_count > 0 && slot_count % 32 == 0, "cluster.slot_count must be a positive multiple of 32"),
            (message_size_max >= 20 * 1024 && message_size_max % 4096 == 0, MESSAGE_SIZE_RULE),
            ((1..=LIMIT_MAX).contains(&clients_max), "cluster.clients_max must be 1 to 65536"),
            ((1..=LIMIT_MAX).contains(&requests_max), "cluster.requests_max must be 1 to 65536"),
            (slot_count <= SLOTS_MAX, "cluster.slot_count must be at most 65536"),
            (message_size_max <= MESSAGE_SIZE_MAX, "cluster.message_size_max must be at most 1048576"),
            ((BLOCKS_MIN..=BLOCKS_MAX).contains(&block_count), "cluster.block_count must be 8 to 65536"),
            (is_block_size, "cluster.block_size must be a positive multiple of 4096, and no more than a message"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(*rule))
    }

    /// How each replica's data file is laid out.
    pub const fn layout(&self) -> Layout {
        let Self { slot_count, message_size_max, block_count, block_size, .. } = *self;
        Layout { slot_count, message_size_max, block_count, block_size }
    }
}

/// Room for what a workload builds up, several times.
pub const BLOCK_COUNT_ORDINARY: u32 = 256;

/// Small, so that a state has many.
pub const BLOCK_SIZE_ORDINARY: u32 = 4096;

const fn blocks_ordinary() -> u32 {
    BLOCK_COUNT_ORDINARY
}

const fn block_size_ordinary() -> u32 {
    BLOCK_SIZE_ORDINARY
}

/// What schedules meant that were written before they could say.
const fn one() -> u32 {
    1
}
