//! The network: what becomes of a frame on the link from one node to another.
//!
//! Each direction of each pair of nodes is a link of its own, with its latency, its faults and its streams of randomness: one
//! stream for each purpose, so that turning one fault off, or one link, reshuffles nothing else. Frames are held by nobody
//! here but a clogged link: those under way lie in the world's queue.
//!
//! Invariant: at most `in_flight_max` frames of a link are under way, clogged ones included; what is dropped is counted.
//! Cuts are counted, so that a link with two cuts needs two heals, in any order. Deliberately absent: connections, order.

mod link;
mod memory;
mod settings;

use std::collections::BTreeMap;

use chronon::{frame::Frame, types::NodeId};

pub use self::settings::{Distribution, LinkSettings};
use self::{
    link::{Families, Link, Source},
    memory::Memory,
};

/// What became of a frame when it was sent: none of these, or several.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fate(pub u8);

impl Fate {
    /// Lost by chance.
    pub const LOST: u8 = 1;
    /// Dropped: the link was cut.
    pub const CUT: u8 = 1 << 1;
    /// Dropped: too many frames were under way.
    pub const FULL: u8 = 1 << 2;
    /// Dropped: nobody has that address.
    pub const UNKNOWN: u8 = 1 << 3;
    /// Sent twice.
    pub const DUPLICATED: u8 = 1 << 4;
    /// Bits were flipped.
    pub const CORRUPTED: u8 = 1 << 5;
    /// Held back, so that later frames overtake it.
    pub const REORDERED: u8 = 1 << 6;

    /// Whether all of `flags` apply.
    pub const fn is(self, flags: u8) -> bool {
        self.0 & flags == flags
    }

    /// Whether the frame goes nowhere.
    pub const fn drops(self) -> bool {
        self.0 & (Self::LOST | Self::CUT | Self::FULL | Self::UNKNOWN) != 0
    }

    /// The names of what applies, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; 7] = ["lost", "cut", "link full", "no such node", "duplicated", "corrupted", "held back"];
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & 1 << bit != 0).map(|(_, name)| name)
    }
}

/// Counts of what became of frames, over all links.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NetworkCounts {
    /// Frames that processes sent.
    pub sent: u64,
    /// Frames that reached a process.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped by a cut, when sent or under way.
    pub cut: u64,
    /// Dropped because a link was full.
    pub full: u64,
    /// Dropped because the receiver was down or had not started, or is nobody's address.
    pub nobody: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Arrived with flipped bits.
    pub corrupted: u64,
}

/// A frame under way.
#[derive(Clone)]
pub(crate) struct Flight {
    pub(crate) frame: Frame,
    /// Which of all frames sent in this world it is.
    pub(crate) number: u64,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) corrupted: bool,
}

/// What was decided for a frame.
pub(crate) struct Route {
    pub(crate) fate: Fate,
    /// When it arrives, unless it is dropped.
    pub(crate) at_ns: u64,
    /// When its second copy does, if there is one.
    pub(crate) copy_at_ns: Option<u64>,
}

/// What a frame meets at the end of its way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Open,
    Cut,
    Clogged,
}

/// All links.
#[derive(Clone)]
pub struct SimNetwork {
    default: LinkSettings,
    /// By sender, then by receiver, `stride` to a row.
    links: Vec<Link>,
    stride: u32,
    families: Families,
    /// What clogged links hold.
    held: BTreeMap<(NodeId, NodeId), Vec<Flight>>,
    memory: Memory,
    /// What became of all frames so far, but for how many were sent, which their sender counts.
    pub(crate) counts: NetworkCounts,
}

impl SimNetwork {
    pub(crate) fn new(seed: u64, default: LinkSettings) -> Self {
        Self {
            default,
            links: Vec::new(),
            stride: 0,
            families: Families::new(seed),
            held: BTreeMap::new(),
            memory: Memory::default(),
            counts: NetworkCounts::default(),
        }
    }

    /// How the link from `from` to `to` behaves.
    pub fn settings(&self, from: NodeId, to: NodeId) -> LinkSettings {
        *self.links[self.place(from, to)].settings(&self.default)
    }

    /// How links behave that were given no settings of their own.
    pub fn default_settings(&self) -> LinkSettings {
        self.default
    }

    /// Whether the link is cut.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.links[self.place(from, to)].cuts() > 0
    }

    /// Whether the link is clogged.
    pub fn is_clogged(&self, from: NodeId, to: NodeId) -> bool {
        self.links[self.place(from, to)].is_clogged()
    }

    /// How many frames are under way on the link, held ones included.
    pub fn in_flight(&self, from: NodeId, to: NodeId) -> u32 {
        self.links[self.place(from, to)].in_flight()
    }

    /// Makes room for the links of so many nodes.
    pub(crate) fn make_room(&mut self, nodes: u32) {
        if nodes <= self.stride {
            return;
        }
        // Not by one, two and four: few worlds have fewer nodes.
        let stride = nodes.next_power_of_two().max(4);
        let mut fresh = Link::default();
        fresh.refresh(&self.default);
        let mut links = vec![fresh; (stride * stride) as usize];
        for (place, link) in std::mem::take(&mut self.links).into_iter().enumerate() {
            let (from, to) = (place as u32 / self.stride, place as u32 % self.stride);
            links[(from * stride + to) as usize] = link;
        }
        self.links = links;
        self.stride = stride;
    }

    pub(crate) fn set_default(&mut self, settings: LinkSettings) {
        self.default = settings;
        for link in &mut self.links {
            link.refresh(&settings);
        }
    }

    pub(crate) fn set_link(&mut self, from: NodeId, to: NodeId, settings: LinkSettings) {
        let place = self.place(from, to);
        self.links[place].set_settings(Some(settings), &self.default);
    }

    /// Removes every link's own settings.
    pub(crate) fn reset_links(&mut self) {
        for link in &mut self.links {
            link.set_settings(None, &self.default);
        }
    }

    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        let place = self.place(from, to);
        let link = &mut self.links[place];
        link.set_cuts(link.cuts() + 1, &self.default);
    }

    pub(crate) fn heal(&mut self, from: NodeId, to: NodeId) {
        let place = self.place(from, to);
        let link = &mut self.links[place];
        link.set_cuts(link.cuts().saturating_sub(1), &self.default);
    }

    /// Takes every cut away; says where there was one.
    pub(crate) fn heal_all(&mut self) -> Vec<(NodeId, NodeId)> {
        let cut = self.links_that(|link| link.cuts() > 0);
        for (from, to) in &cut {
            let place = self.place(*from, *to);
            self.links[place].set_cuts(0, &self.default);
        }
        cut
    }

    pub(crate) fn clog(&mut self, from: NodeId, to: NodeId) {
        let place = self.place(from, to);
        self.links[place].set_clogged(true, &self.default);
    }

    /// Opens the link and gives what it held, in the order of arrival.
    pub(crate) fn unclog(&mut self, from: NodeId, to: NodeId) -> Vec<Flight> {
        let place = self.place(from, to);
        self.links[place].set_clogged(false, &self.default);
        self.held.remove(&(from, to)).unwrap_or_default()
    }

    /// Keeps the last `frames_max` frames of each link.
    pub(crate) fn keep(&mut self, frames_max: u32) {
        self.memory.keep(frames_max);
    }

    /// Keeps a frame that is sent, if frames are kept.
    #[inline(always)]
    pub(crate) fn remember(&mut self, from: NodeId, to: NodeId, number: u64, frame: &Frame) {
        if self.memory.keeps() {
            self.memory.add(from, to, number, frame);
        }
    }

    /// The last frames of the link once more, under way again; as many as have room.
    pub(crate) fn echo(&mut self, from: NodeId, to: NodeId) -> Vec<Flight> {
        let place = self.place(from, to);
        let room = self.links[place].enter(self.memory.frames(from, to).count(), &self.default);
        let frames = self.memory.frames(from, to).take(room);
        frames
            .map(|(number, frame)| Flight { frame: frame.clone(), number: *number, from, to, corrupted: false })
            .collect()
    }

    /// The links that are clogged.
    pub(crate) fn clogged(&self) -> Vec<(NodeId, NodeId)> {
        self.links_that(Link::is_clogged)
    }

    /// Decides what becomes of a frame that is sent now: when it arrives, if that is all there is to say. Unless it is
    /// dropped, its copies count as under way.
    #[inline(always)]
    pub(crate) fn route(&mut self, now_ns: u64, from: NodeId, to: NodeId) -> Result<u64, Route> {
        let place = self.place(from, to);
        let mut source = Source { families: &mut self.families, from, to };
        let dropped = match self.links[place].plain_route(now_ns, &mut source) {
            Ok(at_ns) => return Ok(at_ns),
            Err(dropped) => dropped,
        };
        Err(self.route_otherwise(now_ns, from, to, dropped))
    }

    #[cold]
    #[inline(never)]
    fn route_otherwise(&mut self, now_ns: u64, from: NodeId, to: NodeId, dropped: Option<u8>) -> Route {
        let place = self.place(from, to);
        let mut source = Source { families: &mut self.families, from, to };
        let route = match dropped {
            Some(fate) => Route { fate: Fate(fate), at_ns: now_ns, copy_at_ns: None },
            None => self.links[place].route(now_ns, &self.default, &mut source),
        };
        self.counts.cut += u64::from(route.fate.is(Fate::CUT));
        self.counts.full += u64::from(route.fate.is(Fate::FULL));
        self.counts.lost += u64::from(route.fate.is(Fate::LOST));
        self.counts.duplicated += u64::from(route.fate.is(Fate::DUPLICATED));
        self.counts.corrupted += u64::from(route.fate.is(Fate::CORRUPTED));
        route
    }

    /// A copy of the frame with flipped bits.
    pub(crate) fn corrupt(&mut self, from: NodeId, to: NodeId, frame: &Frame) -> Frame {
        let place = self.place(from, to);
        let mut source = Source { families: &mut self.families, from, to };
        let mut bytes = frame.to_vec();
        self.links[place].flip(&mut bytes, &self.default, &mut source);
        Frame::new(bytes)
    }

    /// A frame has come to the end of its link. If that is clogged, [`SimNetwork::hold`] must follow.
    #[inline(always)]
    pub(crate) fn arrive(&mut self, from: NodeId, to: NodeId) -> Arrival {
        let place = self.place(from, to);
        let link = &mut self.links[place];
        if link.arrive() {
            return Arrival::Open;
        }
        if link.is_clogged() {
            return Arrival::Clogged;
        }
        link.leave();
        Arrival::Cut
    }

    /// Keeps a frame until its link is unclogged.
    pub(crate) fn hold(&mut self, flight: Flight) {
        self.held.entry((flight.from, flight.to)).or_default().push(flight);
    }

    /// How many streams were drawn from so far.
    pub(crate) fn streams(&self) -> u32 {
        self.families.streams()
    }

    /// Where each of them stands: purpose, sender, receiver, words.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (u8, u32, u32, u64)> {
        let stride = self.stride;
        self.links.iter().enumerate().flat_map(move |(place, link)| {
            let (from, to) = (place as u32 / stride, place as u32 % stride);
            link.positions().map(move |(purpose, words)| (purpose, from, to, words))
        })
    }

    fn links_that(&self, holds: impl Fn(&Link) -> bool) -> Vec<(NodeId, NodeId)> {
        let chosen = self.links.iter().enumerate().filter(|(_, link)| holds(link));
        chosen.map(|(place, _)| (NodeId(place as u32 / self.stride), NodeId(place as u32 % self.stride))).collect()
    }

    #[inline(always)]
    fn place(&self, from: NodeId, to: NodeId) -> usize {
        assert!(to.0 < self.stride, "a link ends at a node of this world");
        (from.0 as usize).wrapping_mul(self.stride as usize).wrapping_add(to.0 as usize)
    }
}
