//! How a link behaves, as plain data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How latencies spread between their bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Each latency between the bounds is equally likely.
    Uniform,
    /// Mostly between the bounds; one frame in two takes up to twice the width more, one in four up to four times, and so
    /// on: a heavy tail, cut off after `doublings`.
    HeavyTail {
        /// How often the width may double; at most 20.
        doublings: u8,
    },
}

/// How a link behaves. Chances are in parts per million of the frames sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSettings {
    /// The least time under way.
    pub latency_min_ns: u64,
    /// The most time under way, but for the tail and for reordering.
    pub latency_max_ns: u64,
    /// What lies between them.
    pub distribution: Distribution,
    /// Frames that never arrive.
    pub loss_ppm: u32,
    /// Frames that arrive twice.
    pub duplication_ppm: u32,
    /// The longest that the second copy is held back: what was said views ago may be heard again.
    pub duplicate_delay_max_ns: u64,
    /// Frames that arrive with flipped bits.
    pub corruption_ppm: u32,
    /// The most bits that one corruption flips.
    pub corruption_bits_max: u32,
    /// Frames that are held back for longer, so that later ones overtake them.
    pub reorder_ppm: u32,
    /// The longest that a reordered frame is held back.
    pub reorder_delay_max_ns: u64,
    /// How many frames may be under way at once. More are dropped.
    pub in_flight_max: u32,
}

impl Default for LinkSettings {
    /// A sound network in one building: half a millisecond to two, nothing lost.
    fn default() -> Self {
        Self {
            latency_min_ns: 500_000,
            latency_max_ns: 2_000_000,
            distribution: Distribution::Uniform,
            loss_ppm: 0,
            duplication_ppm: 0,
            duplicate_delay_max_ns: 2_000_000,
            corruption_ppm: 0,
            corruption_bits_max: 8,
            reorder_ppm: 0,
            reorder_delay_max_ns: 20_000_000,
            in_flight_max: 4096,
        }
    }
}

impl LinkSettings {
    /// How many numbers describe a link.
    pub(crate) const NUMBERS: usize = 12;

    /// The settings as numbers, as a trace holds them.
    pub(crate) fn numbers(&self) -> [u64; Self::NUMBERS] {
        let (kind, doublings) = match self.distribution {
            Distribution::Uniform => (0, 0),
            Distribution::HeavyTail { doublings } => (1, doublings.into()),
        };
        [
            self.latency_min_ns,
            self.latency_max_ns,
            kind,
            doublings,
            self.loss_ppm.into(),
            self.duplication_ppm.into(),
            self.corruption_ppm.into(),
            self.corruption_bits_max.into(),
            self.reorder_ppm.into(),
            self.reorder_delay_max_ns,
            self.in_flight_max.into(),
            self.duplicate_delay_max_ns,
        ]
    }

    /// The settings that these numbers describe, if they do.
    pub(crate) fn from_numbers(numbers: [u64; Self::NUMBERS]) -> Option<Self> {
        let small = |index: usize| u32::try_from(numbers[index]).ok();
        let distribution = match (numbers[2], u8::try_from(numbers[3]).ok()?) {
            (0, 0) => Distribution::Uniform,
            (1, doublings) => Distribution::HeavyTail { doublings },
            _ => return None,
        };
        Some(Self {
            latency_min_ns: numbers[0],
            latency_max_ns: numbers[1],
            distribution,
            loss_ppm: small(4)?,
            duplication_ppm: small(5)?,
            corruption_ppm: small(6)?,
            corruption_bits_max: small(7)?,
            reorder_ppm: small(8)?,
            reorder_delay_max_ns: numbers[9],
            in_flight_max: small(10)?,
            duplicate_delay_max_ns: numbers[11],
        })
    }
}

impl fmt::Display for LinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = if self.distribution == Distribution::Uniform { "" } else { " with a heavy tail" };
        write!(f, "{} to {} us{tail}", self.latency_min_ns / 1000, self.latency_max_ns / 1000)?;
        let chances = [
            ("lost", self.loss_ppm),
            ("duplicated", self.duplication_ppm),
            ("corrupted", self.corruption_ppm),
            ("held back", self.reorder_ppm),
        ];
        for (name, ppm) in chances.into_iter().filter(|(_, ppm)| *ppm > 0) {
            write!(f, ", {ppm} ppm {name}")?;
        }
        write!(f, ", at most {} under way", self.in_flight_max)
    }
}
