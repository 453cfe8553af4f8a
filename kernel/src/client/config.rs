//! How a client is set up, and how its patience grows.
//!
//! Waits are a function of the configuration, of how often waiting was in vain, and of the client's own jitter: the same
//! client at the same point waits for the same time. Deliberately absent: adapting to measured round trips.

use crate::types::{ClientId, ClusterId};

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The cluster to ask.
    pub cluster: ClusterId,
    /// What the client's identities are derived from. Drawn at random, or at least never used by another client.
    pub client: ClientId,
    /// How many replicas there are.
    pub replica_count: u8,
    /// How long to wait for an answer before asking another replica. Doubles each time, and has jitter of up to a half.
    pub timeout_ns: u64,
    /// The longest that `timeout_ns` grows to, before jitter.
    pub timeout_max_ns: u64,
    /// How long to wait after a replica said that it is busy. Doubles and has jitter as well.
    pub busy_ns: u64,
    /// The longest that `busy_ns` grows to, before jitter. A primary keeps room for those whom it turned away for 200 ms: who
    /// comes back later than that has to find some by chance.
    pub busy_max_ns: u64,
    /// The longest payload, in bytes. A longer one is refused without being sent.
    pub payload_size_max: u32,
}

impl ClientConfig {
    /// A configuration with time-outs for a local network.
    pub const fn new(cluster: ClusterId, client: ClientId, replica_count: u8) -> Self {
        Self {
            cluster,
            client,
            replica_count,
            timeout_ns: 150_000_000,
            timeout_max_ns: 1_000_000_000,
            busy_ns: 5_000_000,
            busy_max_ns: 80_000_000,
            payload_size_max: 1024 * 1024,
        }
    }

    /// How long to wait for an answer after so many time-outs.
    pub(super) fn wait_ns(&self, timeouts: u32, jitter: &mut u64) -> u64 {
        spread(doubled(self.timeout_ns, timeouts, self.timeout_max_ns), jitter)
    }

    /// How long to leave a replica alone that was busy, after so many refusals before this one.
    pub(super) fn pause_ns(&self, refusals: u32, jitter: &mut u64) -> u64 {
        spread(doubled(self.busy_ns, refusals, self.busy_max_ns), jitter)
    }
}

/// `base_ns` doubled `times` times, but at most `max_ns`.
fn doubled(base_ns: u64, times: u32, max_ns: u64) -> u64 {
    base_ns.saturating_mul(1 << times.min(32)).min(max_ns)
}

/// `base_ns` and up to half as much again, so that clients that were refused together do not return together.
///
/// The state steps through a full-period sequence; its upper bits decide.
fn spread(base_ns: u64, state: &mut u64) -> u64 {
    *state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let share = u128::from(*state) * u128::from(base_ns / 2);
    base_ns.saturating_add((share >> 64) as u64)
}
