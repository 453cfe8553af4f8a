//! One direction between two nodes: its state and its draws.
//!
//! Most links are plain: a uniform latency and perhaps some loss. What such a link needs for one frame lies together, taken
//! out of the settings whenever they change, and is drawn exactly as the general way would draw it.

use chronon::types::NodeId;

use super::{Distribution, Fate, LinkSettings, Route};
use crate::rng::{Family, Stream};

/// What a link draws for, each from a stream of its own.
pub(super) const PURPOSES: [&str; 6] = ["latency", "loss", "duplication", "corruption", "reorder", "flipped bits"];
const LATENCY: usize = 0;
const LOSS: usize = 1;
/// How many purposes a link draws for at every frame. The streams of the others lie apart, to keep links small.
const OFTEN: usize = 2;
const DUPLICATION: usize = 2;
const CORRUPTION: usize = 3;
const REORDER: usize = 4;
const FLIPS: usize = 5;

/// A link's state.
#[derive(Clone, Default)]
pub(super) struct Link {
    /// Whether the fields below say all that a frame meets here when it is sent.
    plain: bool,
    /// Whether a frame that comes to the end is neither held nor dropped.
    open: bool,
    clogged: bool,
    cuts: u32,
    in_flight: u32,
    in_flight_max: u32,
    loss_ppm: u32,
    /// How many latencies there are above the least, and it; 0 if there is no choice.
    latency_width: u32,
    latency_min_ns: u64,
    /// Its own settings, if it does not share the network's.
    settings: Option<Box<LinkSettings>>,
    /// For the latency and the loss; made when first drawn from.
    streams: Option<Box<[Option<Stream>; OFTEN]>>,
    /// For the other purposes.
    rare_streams: Option<Box<[Option<Stream>; PURPOSES.len() - OFTEN]>>,
}

/// Where a link draws from: the families of all links' streams, and its own two ends.
pub(super) struct Source<'a> {
    pub(super) families: &'a mut Families,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
}

impl Link {
    pub(super) fn settings<'a>(&'a self, default: &'a LinkSettings) -> &'a LinkSettings {
        self.settings.as_deref().unwrap_or(default)
    }

    pub(super) fn set_settings(&mut self, settings: Option<LinkSettings>, default: &LinkSettings) {
        self.settings = settings.map(Box::new);
        self.refresh(default);
    }

    pub(super) fn set_cuts(&mut self, cuts: u32, default: &LinkSettings) {
        self.cuts = cuts;
        self.refresh(default);
    }

    pub(super) fn set_clogged(&mut self, clogged: bool, default: &LinkSettings) {
        self.clogged = clogged;
        self.refresh(default);
    }

    pub(super) fn cuts(&self) -> u32 {
        self.cuts
    }

    pub(super) fn is_clogged(&self) -> bool {
        self.clogged
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Counts frames as under way that were not just sent, as many of `count` as there is room for. Says how many.
    pub(super) fn enter(&mut self, count: usize, default: &LinkSettings) -> usize {
        let room = self.settings(default).in_flight_max.saturating_sub(self.in_flight);
        let entering = count.min(room as usize);
        self.in_flight += entering as u32;
        entering
    }

    /// Takes anew out of the settings what a plain link needs.
    pub(super) fn refresh(&mut self, default: &LinkSettings) {
        let settings = *self.settings(default);
        let width = match settings.latency_max_ns.checked_sub(settings.latency_min_ns) {
            None | Some(0) => Some(0),
            Some(width) => u32::try_from(width).ok().and_then(|width| width.checked_add(1)),
        };
        let faults = settings.duplication_ppm | settings.corruption_ppm | settings.reorder_ppm;
        self.open = self.cuts == 0 && !self.clogged;
        self.plain = self.cuts == 0 && faults == 0 && settings.distribution == Distribution::Uniform && width.is_some();
        self.latency_width = width.unwrap_or(0);
        self.latency_min_ns = settings.latency_min_ns;
        self.loss_ppm = settings.loss_ppm;
        self.in_flight_max = settings.in_flight_max;
    }

    /// When a frame that is sent now arrives, if this is a plain link and the frame is neither lost nor one too many. If it
    /// is none of these, nothing was drawn that [`Link::route`] would draw again.
    #[inline(always)]
    pub(super) fn plain_route(&mut self, now_ns: u64, source: &mut Source<'_>) -> Result<u64, Option<u8>> {
        if !self.plain {
            return Err(None);
        }
        let mut latency_ns = self.latency_min_ns;
        if self.latency_width > 0 {
            let width = self.latency_width;
            latency_ns += u64::from(self.stream(LATENCY, source).below_u32(width));
        }
        let loss_ppm = self.loss_ppm;
        let lost = loss_ppm > 0 && self.stream(LOSS, source).chance(loss_ppm);
        if self.in_flight >= self.in_flight_max {
            return Err(Some(Fate::FULL));
        }
        if lost {
            return Err(Some(Fate::LOST));
        }
        self.in_flight += 1;
        Ok(now_ns.saturating_add(latency_ns))
    }

    /// What becomes of a frame that is sent now, on any link.
    ///
    /// All draws are made before anything is dropped: a frame that a cut or a full link stops has drawn as much as one that
    /// arrives, so that taking away the cut reshuffles nothing.
    pub(super) fn route(&mut self, now_ns: u64, default: &LinkSettings, source: &mut Source<'_>) -> Route {
        let settings = *self.settings(default);
        let at_ns = now_ns.saturating_add(self.latency_ns(&settings, source));
        let mut route = Route { fate: Fate::default(), at_ns, copy_at_ns: None };
        let lost = settings.loss_ppm > 0 && self.stream(LOSS, source).chance(settings.loss_ppm);
        if settings.duplication_ppm > 0 {
            let stream = self.rare_stream(DUPLICATION, source);
            if stream.chance(settings.duplication_ppm) {
                let latest_ns = settings.latency_max_ns.max(settings.latency_min_ns);
                let latest_ns = latest_ns.saturating_add(settings.duplicate_delay_max_ns);
                let delay_ns = stream.range(settings.latency_min_ns, latest_ns);
                route.copy_at_ns = Some(now_ns.saturating_add(delay_ns));
                route.fate.0 |= Fate::DUPLICATED;
            }
        }
        if settings.corruption_ppm > 0 && self.rare_stream(CORRUPTION, source).chance(settings.corruption_ppm) {
            route.fate.0 |= Fate::CORRUPTED;
        }
        if settings.reorder_ppm > 0 {
            let stream = self.rare_stream(REORDER, source);
            if stream.chance(settings.reorder_ppm) {
                route.at_ns = route.at_ns.saturating_add(stream.range(0, settings.reorder_delay_max_ns));
                route.fate.0 |= Fate::REORDERED;
            }
        }
        let copies = 1 + u32::from(route.copy_at_ns.is_some());
        if self.cuts > 0 {
            route.fate = Fate(Fate::CUT);
        } else if self.in_flight.saturating_add(copies) > settings.in_flight_max {
            route.fate = Fate(Fate::FULL);
        } else if lost {
            route.fate = Fate(Fate::LOST);
        } else {
            self.in_flight += copies;
        }
        route
    }

    /// Flips bits of `bytes`.
    pub(super) fn flip(&mut self, bytes: &mut [u8], default: &LinkSettings, source: &mut Source<'_>) {
        let most = self.settings(default).corruption_bits_max.max(1);
        let stream = self.rare_stream(FLIPS, source);
        if bytes.is_empty() {
            return;
        }
        for _ in 0..stream.range(1, most.into()) {
            let bit = stream.below(bytes.len() as u64 * 8);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
    }

    /// A frame has come to the end, which is open; if it is not, [`Link::leave`] counts it as gone unless it is held.
    #[inline(always)]
    pub(super) fn arrive(&mut self) -> bool {
        if self.open {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        self.open
    }

    /// A frame is no longer under way.
    pub(super) fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The purposes drawn for so far, each with the words drawn.
    pub(super) fn positions(&self) -> impl Iterator<Item = (u8, u64)> {
        let often = self.streams.iter().flat_map(|streams| streams.iter().zip(0..));
        let rare = self.rare_streams.iter().flat_map(|streams| streams.iter().zip(OFTEN as u8..));
        often.chain(rare).filter_map(|(stream, purpose)| Some((purpose, stream.as_ref()?.word_position())))
    }

    fn latency_ns(&mut self, settings: &LinkSettings, source: &mut Source<'_>) -> u64 {
        if settings.latency_min_ns >= settings.latency_max_ns {
            return settings.latency_min_ns;
        }
        let stream = self.stream(LATENCY, source);
        let latency_ns = stream.range(settings.latency_min_ns, settings.latency_max_ns);
        match settings.distribution {
            Distribution::Uniform => latency_ns,
            Distribution::HeavyTail { doublings } => {
                // Each doubling is half as likely as the one before.
                let doublings = stream.next_u64().trailing_zeros().min(doublings.min(20).into());
                let width_ns = settings.latency_max_ns - settings.latency_min_ns;
                latency_ns.saturating_add(stream.range(0, width_ns.saturating_mul((1 << doublings) - 1)))
            }
        }
    }

    #[inline(always)]
    fn stream(&mut self, purpose: usize, source: &mut Source<'_>) -> &mut Stream {
        if self.streams.as_ref().is_none_or(|streams| streams[purpose].is_none()) {
            let streams = self.streams.get_or_insert_with(|| Box::new([const { None }; OFTEN]));
            streams[purpose] = Some(source.make(purpose));
        }
        self.streams.as_mut().and_then(|streams| streams[purpose].as_mut()).expect("it has just been made")
    }

    fn rare_stream(&mut self, purpose: usize, source: &mut Source<'_>) -> &mut Stream {
        let streams = self.rare_streams.get_or_insert_with(|| Box::new([const { None }; PURPOSES.len() - OFTEN]));
        streams[purpose - OFTEN].get_or_insert_with(|| source.make(purpose))
    }
}

impl Source<'_> {
    #[cold]
    #[inline(never)]
    fn make(&mut self, purpose: usize) -> Stream {
        let seed = self.families.seed;
        self.families.streams += 1;
        let family = self.families.made[purpose].get_or_insert_with(|| Family::new(seed, PURPOSES[purpose]));
        family.stream(self.from.0, self.to.0)
    }
}

/// The families of the links' streams, by purpose; made when first needed.
#[derive(Clone)]
pub(super) struct Families {
    seed: u64,
    made: [Option<Family>; PURPOSES.len()],
    /// How many streams were made.
    streams: u32,
}

impl Families {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, made: [const { None }; PURPOSES.len()], streams: 0 }
    }

    pub(super) fn streams(&self) -> u32 {
        self.streams
    }
}
