//! What became of orders, by where they went. Kept by the replica's own thread, which gives them and hears of them.
//!
//! Invariant: what is kept has a bound, however many channels an application uses: it may well have one for each customer.

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

impl Lane {}

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

/// How many groups there are before a channel is given none of its own any more.
const GROUPS_MAX: usize = 64;

/// Lanes that are counted together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// One of its own: the fetches, the lines of the log, and the channels that were used first.
    Lane(Lane),
    /// All other channels.
    Others,
}

/// As a lane, or `others`.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lane(lane) => lane.fmt(f),
            Self::Others => f.write_str("others"),
        }
    }
}

/// What became of orders, by where they went.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    groups: BTreeMap<Group, Counts>,
}

impl Tally {
    /// Each group that there ever was an order in, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Group, Counts)> {
        self.groups.iter().map(|(group, counts)| (*group, *counts))
    }

    /// Of one group.
    pub fn of(&self, group: Group) -> Counts {
        self.groups.get(&group).copied().unwrap_or_default()
    }

    pub(crate) fn ordered(&mut self, lane: Lane) {
        self.counts(lane).in_flight += 1;
    }

    pub(super) fn came_to(&mut self, lane: Lane, result: &EffectResult) {
        let counts = self.counts(lane);
        counts.in_flight -= 1;
        *match result {
            EffectResult::Done { .. } => &mut counts.done,
            EffectResult::Failed { .. } | EffectResult::NotDone => &mut counts.failed,
            EffectResult::Refused { .. } => &mut counts.refused,
            EffectResult::Unknown { .. } => &mut counts.unknown,
        } += 1;
    }

    /// Which group a lane is in, always the same one: groups are never fewer, so that a channel that once found no room never does.
    pub(crate) fn group(&self, lane: Lane) -> Group {
        let own = Group::Lane(lane);
        let is_apart =
            !matches!(lane, Lane::Channel(_)) || self.groups.len() < GROUPS_MAX || self.groups.contains_key(&own);
        if is_apart { own } else { Group::Others }
    }

    fn counts(&mut self, lane: Lane) -> &mut Counts {
        self.groups.entry(self.group(lane)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_channels_are_counted_by_themselves_and_all_others_together() {
        let mut tally = Tally::default();
        let lanes = || (0..1000).map(|channel| Lane::Channel(Channel(channel))).chain([Lane::Fetches, Lane::Lines]);
        lanes().for_each(|lane| tally.ordered(lane));
        let of_first = |tally: &Tally| tally.of(Group::Lane(Lane::Channel(Channel(63))));
        assert_eq!((of_first(&tally).in_flight, tally.of(Group::Others).in_flight), (1, 936));
        let names: Vec<_> = tally.iter().map(|(group, _)| group.to_string()).collect();
        assert_eq!((names.len(), &names[63..]), (67, &["63", "fetch", "log", "others"].map(str::to_owned)[..]));
        lanes().for_each(|lane| tally.came_to(lane, &EffectResult::Unknown { code: 1 }));
        lanes().for_each(|lane| tally.ordered(lane));
        assert_eq!(of_first(&tally), Counts { in_flight: 1, unknown: 1, ..Counts::default() });
        assert_eq!(tally.of(Group::Others), Counts { in_flight: 936, unknown: 936, ..Counts::default() });
    }
}
