//! How large a cluster is, and how narrow.

use super::room::{MESSAGE_SIZE_ORDINARY, blocks_for};
use crate::{
    rng::Stream,
    schedule::{BLOCK_COUNT_ORDINARY, BLOCK_SIZE_ORDINARY, ClusterPlan},
    workload::STATE_SIZE_ORDINARY,
};

/// A cluster that has room for a state of so many bytes; of who does not say how many, for an ordinary one.
pub(super) fn draw_cluster(random: &mut Stream, replicas: u8, clients: u8, state_size_max: Option<u64>) -> ClusterPlan {
    // Rarely too few sessions or too short a queue: then clients are evicted, or told to wait.
    let clients_max = if random.chance(60_000) { u32::from(clients / 2).max(1) } else { 64 };
    let requests_max = if random.chance(60_000) { random.range(1, 3) as u32 } else { 256 };
    // So few that they come round many times, and that who is away for a while must take a checkpoint; in some seeds, for who is away
    // for longer.
    let slot_count = *random.pick(&[32, 32, 64, 64, 128]);
    // In some seeds hardly room for the checkpoints that there may be at once.
    let narrow = random.chance(300_000).then(|| random.range(72, 96) as u32);
    let drawn = narrow.filter(|_| state_size_max.is_some()).unwrap_or(BLOCK_COUNT_ORDINARY);
    let block_count = drawn.max(blocks_for(state_size_max.unwrap_or(STATE_SIZE_ORDINARY)));
    ClusterPlan {
        replicas,
        pipeline: random.range(1, 8) as u32,
        company: *random.pick(&[0, 1, 3]),
        requests_max,
        clients_max,
        slot_count,
        message_size_max: MESSAGE_SIZE_ORDINARY,
        block_count,
        block_size: BLOCK_SIZE_ORDINARY,
    }
}
