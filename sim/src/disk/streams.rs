//! The disk's randomness: one stream for each purpose, made when it is first drawn from.
//!
//! Separate streams keep a run comparable with another in which one fault is turned off: the draws of the rest stay as they
//! were.

use crate::rng::Stream;

/// What is drawn.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// How long an operation takes.
    Latency,
    /// Whether a read fails.
    ReadError,
    /// Whether, and where, a read finds an unreadable sector.
    LatentError,
    /// Whether a write fails.
    WriteError,
    /// Whether a barrier fails.
    BarrierError,
    /// What an indeterminate sector shows.
    Doubt,
    /// Which of two writes in flight at once came first, and what a read sees of a write in flight.
    Order,
    /// What a crash leaves.
    Crash,
}

const NAMES: [&str; 8] = [
    "disk.latency",
    "disk.read_error",
    "disk.latent_error",
    "disk.write_error",
    "disk.barrier_error",
    "disk.doubt",
    "disk.order",
    "disk.crash",
];

/// The streams of one disk.
#[derive(Clone)]
pub(super) struct Streams {
    seed: u64,
    node: u32,
    made: [Option<Box<Stream>>; NAMES.len()],
}

impl Streams {
    pub(super) fn new(seed: u64, node: u32) -> Self {
        Self { seed, node, made: Default::default() }
    }

    /// The stream for `purpose`.
    pub(super) fn of(&mut self, purpose: Purpose) -> &mut Stream {
        let place = purpose as usize;
        self.made[place].get_or_insert_with(|| Box::new(Stream::new(self.seed, NAMES[place], self.node, 0)))
    }

    /// One of two with equal odds.
    pub(super) fn coin(&mut self, purpose: Purpose) -> bool {
        self.of(purpose).next_u64() & 1 == 0
    }

    /// The streams drawn from so far, by their places, and how many words each gave.
    pub(super) fn positions(&self) -> impl Iterator<Item = (u8, u64)> + Clone {
        self.made.iter().enumerate().filter_map(|(place, stream)| Some((place as u8, stream.as_ref()?.word_position())))
    }
}
