//! What became of orders, by where they went. Kept by the replica's own thread, which gives them and hears of them.

use std::{collections::BTreeMap, fmt};

use chronon::effect::{Channel, Destination, EffectResult};

/// Orders that share threads, and keep order among each other if they are of one channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lane {
    /// What is emitted in a channel.
    Channel(Channel),
    /// What is fetched. Has no order.
    Fetches,
    /// Lines of the log.
    Lines,
}

/// As a configuration has it: the channel's number, `fetch` or `log`.
impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(channel) => channel.0.fmt(f),
            Self::Fetches => f.write_str("fetch"),
            Self::Lines => f.write_str("log"),
        }
    }
}

impl From<Destination> for Lane {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::Emit(channel) => Self::Channel(channel),
            Destination::Fetch => Self::Fetches,
            Destination::Log(_) => Self::Lines,
        }
    }
}

/// Orders of one channel, or of the fetches, or of the lines of the log, since the process began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Given and not come to anything.
    pub in_flight: u64,
    /// Done.
    pub done: u64,
    /// Certainly not done, and perhaps another time.
    pub failed: u64,
    /// Never to be done.
    pub refused: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl Counts {
    /// Each that only grows, by its name.
    pub const fn results(&self) -> [(&'static str, u64); 4] {
        [("done", self.done), ("failed", self.failed), ("refused", self.refused), ("unknown", self.unknown)]
    }
}

/// What became of orders, by where they went.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    lanes: BTreeMap<Lane, Counts>,
}

impl Tally {
    /// Each lane that there ever was an order in, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Lane, Counts)> {
        self.lanes.iter().map(|(lane, counts)| (*lane, *counts))
    }

    /// Of one lane.
    pub fn of(&self, lane: Lane) -> Counts {
        self.lanes.get(&lane).copied().unwrap_or_default()
    }

    pub(super) fn ordered(&mut self, lane: Lane) {
        self.lanes.entry(lane).or_default().in_flight += 1;
    }

    pub(super) fn came_to(&mut self, lane: Lane, result: &EffectResult) {
        let counts = self.lanes.entry(lane).or_default();
        counts.in_flight -= 1;
        *match result {
            EffectResult::Done { .. } => &mut counts.done,
            EffectResult::Failed { .. } | EffectResult::NotDone => &mut counts.failed,
            EffectResult::Refused { .. } => &mut counts.refused,
            EffectResult::Unknown { .. } => &mut counts.unknown,
        } += 1;
    }
}
