//! What the disk *holds* of the log, and the writes that change it.
//!
//! A prepare's slot is written first; when that is durable, its entry in the header ring (design rule 3). Only when both are
//! does the slot *hold* the prepare. Header entries that share a sector share a write.
//!
//! Invariants: at most one write is in flight to a slot and to a sector of the ring; an entry of the ring that recovery could
//! not read stays unreadable on the disk until its slot is rewritten whole, so that "unknown" never turns into "never had".

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    frame::Frame,
    process::Actions,
    storage::{
        journal::{HEADERS_PER_SECTOR, HeaderRing, RingEntry},
        layout::Layout,
    },
    types::{Checksum, Op},
    vsr::{config::PIPELINE_MAX, log::Log, token::Kind, writes::SlotWrites},
    wire::header::Header,
};

/// How far above the durable part of the log a write may start: as far as a pipeline goes. Recovery looks this far beyond what
/// the ring names.
pub(super) const WRITE_WINDOW: u64 = PIPELINE_MAX as u64;

/// How many prepares are kept in memory.
pub(super) const CACHE_MAX: u64 = 96;

/// How many slots are written at once. More wait with whoever has them, and not here.
pub(super) const WRITES_MAX: usize = 96;

/// What a slot is known to hold durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Nothing that was ever acknowledged.
    Nothing,
    /// The prepare with this checksum; both rings agree.
    Prepare(Checksum),
    /// Damage, or rings that disagree: an acknowledged prepare may have been here.
    Unknown,
}

#[derive(Clone, Default)]
struct SectorWrite {
    in_flight: bool,
    /// Slots whose entries the write in flight carries.
    carried: Vec<u32>,
    /// Slots whose entries the next write will carry.
    waiting: Vec<u32>,
}

/// The journal of one replica.
#[derive(Clone)]
pub struct Journal {
    layout: Layout,
    held: Vec<Held>,
    ring: HeaderRing,
    ring_max: Op,
    writes: SlotWrites,
    sectors: BTreeMap<u32, SectorWrite>,
    /// How many of them are being written.
    sectors_in_flight: usize,
    /// Prepares in memory, each in the place of its op modulo [`CACHE_MAX`].
    cache: Vec<Option<(Op, Checksum, Frame)>>,
    /// Whether a sector of the ring waits for all prepares of its slots that are being written.
    gathers: bool,
}

impl Journal {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            held: Vec::new(),
            ring: HeaderRing::default(),
            ring_max: Op::ROOT,
            writes: SlotWrites::default(),
            sectors: BTreeMap::new(),
            sectors_in_flight: 0,
            cache: Vec::new(),
            gathers: false,
        }
    }

    /// What the slot of `op` holds durably.
    pub fn held(&self, op: Op) -> Held {
        self.held.get(self.layout.slot(op) as usize).copied().unwrap_or(Held::Nothing)
    }

    /// Whether the prepare of `header` is durable here.
    pub fn holds(&self, header: &Header) -> bool {
        self.held(header.op) == Held::Prepare(header.checksum)
    }

    /// Whether a write of this very prepare is on its way.
    pub(super) fn is_writing(&self, header: &Header) -> bool {
        self.writes.get(self.layout.slot(header.op)).is_some_and(|write| match &write.next {
            Some((next, _)) => next.checksum == header.checksum,
            None => write.header.checksum == header.checksum,
        })
    }

    /// Whether something is on its way to a slot that is not of this log.
    pub(super) fn writes_beside(&self, log: &Log) -> bool {
        self.writes.iter().any(|write| {
            let next = write.next.iter().map(|(header, _)| header);
            let is_of_it = |header: &Header| {
                let known = log.get(header.op).is_none_or(|known| known.checksum == header.checksum);
                header.op <= log.head() && known
            };
            !core::iter::once(&write.header).chain(next).all(is_of_it)
        })
    }

    /// How many slots are being written.
    pub fn writes_in_flight(&self) -> usize {
        self.writes.len()
    }

    /// How many sectors of the ring are being written.
    pub(super) const fn sectors_in_flight(&self) -> usize {
        self.sectors_in_flight
    }

    /// Whether nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.writes_in_flight() == 0 && self.sectors_in_flight() == 0
    }

    /// How many prepares are kept in memory.
    pub(super) fn kept(&self) -> usize {
        self.cache.len()
    }

    /// Whether `op` may be written now: there is room for one more write, and recovery would look far enough to find it.
    pub(super) fn window_allows(&self, op: Op, durable_head: Op) -> bool {
        self.writes.len() < WRITES_MAX && op.0 <= durable_head.max(self.ring_max).0 + WRITE_WINDOW
    }

    /// Sets what recovery found in a slot.
    pub(super) fn restore(&mut self, slot: u32, held: Held, entry: RingEntry) {
        self.reach(slot);
        self.held[slot as usize] = held;
        if let RingEntry::Header(header) = &entry {
            self.ring_max = self.ring_max.max(header.op);
        }
        self.ring.set(slot, &entry);
    }

    fn reach(&mut self, slot: u32) {
        let slots = (slot as usize + 1).next_multiple_of(HEADERS_PER_SECTOR as usize);
        if self.held.len() < slots {
            self.held.resize(slots, Held::Nothing);
        }
    }

    /// While on, one write of a sector of the ring serves all prepares of its slots that are being written: for recovery, which
    /// writes many at once and acknowledges none before the last.
    pub(super) fn gather(&mut self, on: bool) {
        self.gathers = on;
    }

    /// Writes a prepare to its slot, then its header. `frame` is kept in memory too.
    pub(super) fn write(&mut self, header: &Header, frame: &Frame, actions: &mut Actions) {
        self.remember(header, frame);
        assert_eq!(frame.len(), header.size as usize, "a prepare is written whole and alone");
        let slot = self.layout.slot(header.op);
        if let Some(write) = self.writes.get_mut(slot) {
            write.next = Some((*header, frame.clone()));
            return;
        }
        self.start(slot, *header, frame, actions);
    }

    fn start(&mut self, slot: u32, header: Header, frame: &Frame, actions: &mut Actions) {
        self.reach(slot);
        if self.held[slot as usize] != Held::Unknown {
            self.held[slot as usize] = Held::Nothing;
        }
        self.writes.begin(slot, header);
        let token = Kind::PrepareWrite.token(u64::from(slot));
        actions.write(token, self.layout.prepare_offset(slot), frame.clone(), true);
    }

    /// A prepare is durable in its slot: now its header may be written.
    pub(super) fn on_prepare_written(&mut self, slot: u32, actions: &mut Actions) {
        let header = self.writes.get(slot).expect("a completion belongs to a write in flight").header;
        self.ring.set(slot, &RingEntry::Header(header));
        let number = slot / HEADERS_PER_SECTOR;
        let sector = self.sectors.entry(number).or_default();
        sector.waiting.push(slot);
        let waiting = sector.waiting.len();
        if sector.in_flight {
            return;
        }
        let first = number * HEADERS_PER_SECTOR;
        if self.gathers && self.writes.count_in(first..first + HEADERS_PER_SECTOR) > waiting {
            return;
        }
        self.start_sector(number, actions);
    }

    /// Writes a sector of the ring again, as it is, unless a write of it is under way.
    pub(super) fn write_sector(&mut self, number: u32, actions: &mut Actions) {
        if !self.sectors.entry(number).or_default().in_flight {
            self.start_sector(number, actions);
        }
    }

    fn start_sector(&mut self, number: u32, actions: &mut Actions) {
        let entries = self.ring.sector(number);
        let mut builder = actions.frame_of(entries.len());
        builder.bytes().extend_from_slice(entries);
        let data = builder.finish();
        let sector = self.sectors.get_mut(&number).expect("the sector has entries to write");
        sector.in_flight = true;
        self.sectors_in_flight += 1;
        core::mem::swap(&mut sector.carried, &mut sector.waiting);
        let token = Kind::RingWrite.token(u64::from(number));
        actions.write(token, self.layout.header_sector_offset(number * HEADERS_PER_SECTOR), data, true);
    }

    /// A sector of the ring is durable. Adds the headers of the prepares that are now held to `durable`.
    pub(super) fn on_ring_written(&mut self, number: u32, durable: &mut Vec<Header>, actions: &mut Actions) {
        let sector = self.sectors.get_mut(&number).expect("a completion belongs to a write in flight");
        sector.in_flight = false;
        self.sectors_in_flight -= 1;
        let mut carried = core::mem::take(&mut sector.carried);
        let more = !sector.waiting.is_empty();
        for slot in carried.drain(..) {
            let (written, next) = self.writes.end(slot).expect("an entry is carried for a write in flight");
            self.held[slot as usize] = Held::Prepare(written.checksum);
            self.ring_max = self.ring_max.max(written.op);
            durable.push(written);
            if let Some((header, frame)) = next {
                self.start(slot, header, &frame, actions);
            }
        }
        if let Some(sector) = self.sectors.get_mut(&number) {
            sector.carried = carried;
        }
        if more {
            self.start_sector(number, actions);
        }
    }

    /// A read showed that a slot does not hold what it should.
    pub(super) fn lose(&mut self, op: Op) {
        let slot = self.layout.slot(op);
        self.reach(slot);
        self.held[slot as usize] = Held::Unknown;
    }

    /// A read showed that a slot does not hold what nobody here needs any more.
    pub(super) fn forget(&mut self, op: Op) {
        let slot = self.layout.slot(op);
        self.reach(slot);
        self.held[slot as usize] = Held::Nothing;
    }

    /// Keeps a prepare in memory, in place of the one that was kept so many ops before.
    pub(super) fn remember(&mut self, header: &Header, frame: &Frame) {
        let place = cache_place(header.op);
        if self.cache.len() <= place {
            self.cache.resize(place + 1, None);
        }
        self.cache[place] = Some((header.op, header.checksum, frame.clone()));
    }

    /// The prepare of `op` with this checksum, if it is in memory.
    pub fn cached(&self, op: Op, checksum: Checksum) -> Option<&Frame> {
        let cached = self.cache.get(cache_place(op))?.as_ref();
        cached.filter(|(kept, sum, _)| *kept == op && *sum == checksum).map(|(_, _, frame)| frame)
    }

    /// Asks for the prepare of `header` from the disk.
    pub(super) fn read(&self, header: &Header, actions: &mut Actions) {
        let slot = self.layout.slot(header.op);
        let length = header.size.next_multiple_of(crate::frame::SECTOR_SIZE as u32);
        actions.read(Kind::PrepareRead.token(header.op.0), self.layout.prepare_offset(slot), length);
    }
}

fn cache_place(op: Op) -> usize {
    (op.0 % CACHE_MAX) as usize
}
