//! The simulated disk: the contract of `VirtualDisk`, broken in every way that it allows.
//!
//! Invariant: what a crash leaves in a sector is the certain content, one of the speculative writes to it, or a mix of them;
//! a write stops being speculative when it completes as durable, or when a barrier succeeds that was submitted after it
//! completed, and in no other way but a crash. Everything random is drawn from the seed, by purpose.
//!
//! Sparse and copy-on-write: a disk costs what was written to it, what was written is kept by reference into the frames
//! that brought it, and a clone is cheap and exact. Deliberately absent: an event queue (the world decides when
//! [`SimDisk::complete`] is called), any knowledge of what the bytes mean, and a budget of damage.

use chronon::{
    env::DiskOperation,
    frame::{Frame, FramePool},
    process::{Completion, DiskError, Token},
};

use self::{
    faults::{Episodes, Misled},
    in_flight::Flights,
    medium::{Content, Damage, Medium, SECTOR, sectors_of},
    speculation::{Landing, Shown, Speculation, Version},
    streams::{Purpose, Streams},
};

mod crash;
mod durable;
mod faults;
mod in_flight;
mod medium;
mod read;
mod settings;
mod speculation;
mod streams;
mod tear;

pub use self::{
    crash::CrashKind,
    durable::Durable,
    settings::{DiskCounters, DiskSettings, ErrorRates, LatencyRange, OperationKind},
};

/// One node's disk. It outlives the node's processes.
#[derive(Clone)]
pub struct SimDisk {
    settings: DiskSettings,
    streams: Streams,
    medium: Medium,
    speculation: Speculation,
    in_flight: Flights,
    episodes: Episodes,
    counters: DiskCounters,
    /// How many writes have completed: their order.
    completed: u64,
    /// Zeros that reads of never-written sectors share.
    zeros: Option<Frame>,
}

/// What became of an operation that was due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Completed {
    /// It took effect now.
    Done(Completion),
    /// The disk is stalled: ask again at this time.
    Later(u64),
    /// It is not in flight: it completed, or a crash took it.
    Gone,
}

impl SimDisk {
    /// An empty disk, all zeros. `node` tells the disks of one seed apart.
    pub fn new(seed: u64, node: u32, settings: DiskSettings) -> Self {
        assert!(
            settings.capacity.is_multiple_of(SECTOR),
            "a disk's capacity is a multiple of its sector, {SECTOR} bytes"
        );
        Self {
            settings,
            streams: Streams::new(seed, node),
            medium: Medium::default(),
            speculation: Speculation::default(),
            in_flight: Flights::default(),
            episodes: Episodes { errors: settings.errors, ..Episodes::default() },
            counters: DiskCounters::default(),
            completed: 0,
            zeros: None,
        }
    }

    /// A disk of the same kind that holds nothing: the `nth` of its node, from 0.
    pub fn another(&self, seed: u64, node: u32, nth: u32) -> Self {
        let mut disk = Self::new(seed, node, self.settings);
        // Draws of its own, so that it does not do over again what the one before did.
        disk.streams = Streams::new(seed, node | (nth + 1) << 16);
        disk.episodes.errors = self.episodes.errors;
        disk
    }

    /// Begins an operation: says when [`SimDisk::complete`] is due, and the number to call it with. Numbers are never given
    /// twice in a disk's life.
    ///
    /// # Panics
    /// If the operation does not begin at a sector, or is not within the disk: the process that asked is wrong.
    pub fn submit(&mut self, now_ns: u64, token: Token, operation: DiskOperation) -> (u64, u32) {
        self.check(&operation);
        self.counters.count(&operation);
        let at_ns = self.due(now_ns, OperationKind::of(&operation));
        (at_ns, self.in_flight.insert(token, self.completed, operation))
    }

    /// Ends an operation: whatever it does to the disk, it does at this moment.
    pub fn complete(&mut self, now_ns: u64, operation_id: u32) -> Completed {
        self.complete_with(now_ns, operation_id, &mut FramePool::default())
    }

    /// As [`SimDisk::complete`]; what is read lies in a frame of the pool, and what is overwritten goes back to it.
    pub fn complete_with(&mut self, now_ns: u64, operation_id: u32, pool: &mut FramePool) -> Completed {
        if now_ns < self.episodes.stalled_until_ns {
            let Some(kind) = self.kind(operation_id) else { return Completed::Gone };
            return Completed::Later(self.due(now_ns, kind));
        }
        let Some(flight) = self.in_flight.remove(operation_id) else { return Completed::Gone };
        let result = match flight.operation {
            DiskOperation::Read { offset, length } => self.end_read(offset, length, pool),
            DiskOperation::Write { offset, data, durable } => {
                self.end_write(flight.submitted, offset, &data, durable, pool).map(|()| self.empty())
            }
            DiskOperation::Barrier => self.end_barrier(flight.submitted).map(|()| self.empty()),
        };
        self.counters.errors += u64::from(result.is_err());
        Completed::Done(Completion { token: flight.token, result })
    }

    /// The kind of an operation in flight.
    pub fn kind(&self, operation_id: u32) -> Option<OperationKind> {
        self.in_flight.get(operation_id).map(|flight| OperationKind::of(&flight.operation))
    }

    /// How many operations are in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.count()
    }

    /// Draws anew when each operation in flight is due, for a world that has just ended a stall. An operation that is asked
    /// to complete again at its old time is gone by then.
    pub fn reschedule(&mut self, now_ns: u64, due: &mut Vec<(u64, u32)>) {
        let flights: Vec<_> =
            self.in_flight.iter().map(|flight| (flight.id, OperationKind::of(&flight.operation))).collect();
        due.extend(flights.into_iter().map(|(id, kind)| (self.due(now_ns, kind), id)));
    }

    /// Puts `bytes` at `offset`, aligned or not, as if they had always been there: an initial image.
    pub fn preload(&mut self, offset: u64, bytes: &[u8]) {
        self.check_within(offset, bytes.len() as u64);
        self.edit(offset, bytes.len(), |place, _| bytes[place]);
    }

    /// As [`SimDisk::preload`], for whole sectors: shares the frame's buffer, so that one image serves many disks.
    pub fn preload_frame(&mut self, offset: u64, data: &Frame) {
        self.check_within(offset, data.len() as u64);
        assert_aligned("preloaded", offset, data.len() as u64);
        for place in 0..data.len() as u64 / SECTOR {
            self.medium.set(offset / SECTOR + place, Content::of(data, place), 0);
        }
    }

    /// Bytes.
    pub fn capacity(&self) -> u64 {
        self.settings.capacity
    }

    /// What the disk was made with.
    pub fn settings(&self) -> &DiskSettings {
        &self.settings
    }

    /// What was asked of the disk so far.
    pub fn counters(&self) -> &DiskCounters {
        &self.counters
    }

    /// The positions of all streams drawn from so far: purpose and words, for a trace.
    pub fn positions(&self) -> impl Iterator<Item = (u8, u64)> + Clone {
        self.streams.positions()
    }

    /// When an operation that begins, or is put off, at `now_ns` is due.
    fn due(&mut self, now_ns: u64, kind: OperationKind) -> u64 {
        let range = self.settings.latency(kind);
        let mut latency_ns = self.streams.of(Purpose::Latency).range(range.min_ns, range.max_ns);
        if now_ns < self.episodes.slow_until_ns {
            latency_ns = latency_ns.saturating_mul(u64::from(self.episodes.slow_percent)) / 100;
        }
        now_ns.max(self.episodes.stalled_until_ns).saturating_add(latency_ns)
    }

    fn end_read(&mut self, offset: u64, length: u32, pool: &mut FramePool) -> Result<Frame, DiskError> {
        let asked = self.episodes.fails(OperationKind::Read);
        if asked || self.by_chance(Purpose::ReadError, self.episodes.errors.read_ppm) {
            return Err(DiskError::Read);
        }
        if self.by_chance(Purpose::LatentError, self.episodes.errors.latent_ppm) {
            let sectors = u64::from(length) / SECTOR;
            let sector = offset / SECTOR + self.streams.of(Purpose::LatentError).below(sectors);
            self.medium.damage(sector, Damage::Unreadable);
        }
        let (first, end) = (offset / SECTOR, (offset + u64::from(length)) / SECTOR);
        if let Some(spoiled) = self.episodes.spoiled.take_if(|spoiled| spoiled.start < end && first < spoiled.end) {
            let (first, end) = (first.max(spoiled.start), end.min(spoiled.end));
            let sector = first + self.streams.of(Purpose::LatentError).below(end - first);
            self.medium.damage(sector, Damage::Unreadable);
        }
        self.read(offset, length, pool)
    }

    fn end_write(
        &mut self,
        submitted: u64,
        offset: u64,
        data: &Frame,
        durable: bool,
        pool: &mut FramePool,
    ) -> Result<(), DiskError> {
        self.completed += 1;
        let completed = self.completed;
        let first = offset / SECTOR;
        let sectors = sectors_of(data);
        if let Some(error) = self.write_error() {
            for place in 0..sectors {
                self.write_in_doubt(first + place, Content::of(data, place), completed);
            }
            return Err(error);
        }
        if let Some((_, misled)) = self.episodes.misled.take_if(|(within, _)| within.contains(&first)) {
            self.mislead(misled, first, data, completed);
            return Ok(());
        }
        for place in 0..sectors {
            let landing = Landing { content: Content::of(data, place), submitted, completed, durable, torn: false };
            let replaced = self.speculation.land(&mut self.medium, &mut self.streams, first + place, landing);
            if let Some(frame) = replaced.into_frame() {
                pool.recycle(frame);
            }
        }
        Ok(())
    }

    fn end_barrier(&mut self, covered: u64) -> Result<(), DiskError> {
        let asked = self.episodes.fails(OperationKind::Barrier);
        if asked || self.by_chance(Purpose::BarrierError, self.episodes.errors.barrier_ppm) {
            self.speculation.put_in_doubt(&mut self.streams, covered);
            return Err(DiskError::Barrier);
        }
        self.speculation.make_durable(&mut self.medium, covered);
        Ok(())
    }

    fn write_error(&mut self) -> Option<DiskError> {
        if self.episodes.no_space {
            return Some(DiskError::NoSpace);
        }
        let asked = self.episodes.fails(OperationKind::Write);
        (asked || self.by_chance(Purpose::WriteError, self.episodes.errors.write_ppm)).then_some(DiskError::Write)
    }

    /// A failed write left all, part or nothing of `content` in `sector`.
    fn write_in_doubt(&mut self, sector: u64, content: Content, completed: u64) {
        let torn = if self.streams.coin(Purpose::Doubt) {
            self.torn_over_newest(sector, &content, Purpose::Doubt)
        } else {
            None
        };
        let version = Version {
            completed,
            doubt: Some(Shown::draw(&mut self.streams)),
            torn: torn.is_some(),
            content: torn.unwrap_or(content),
        };
        self.speculation.push(sector, version);
    }

    /// A write to `first` and the sectors behind it says success, wrongly.
    fn mislead(&mut self, misled: Misled, first: u64, data: &Frame, completed: u64) {
        for place in 0..sectors_of(data) {
            self.medium.mislead(first + place, completed);
            if let Misled::Elsewhere(to) = misled
                && to + place < self.settings.capacity / SECTOR
            {
                self.medium.alter(to + place, Content::of(data, place));
                self.medium.mislead(to + place, completed);
            }
        }
    }

    /// What a write or a barrier brings back.
    fn empty(&mut self) -> Frame {
        self.zeros.get_or_insert_with(Frame::default).slice(0, 0)
    }

    /// Draws only where there is a rate, so that a fault turned off costs nothing.
    fn by_chance(&mut self, purpose: Purpose, ppm: u32) -> bool {
        ppm > 0 && self.streams.of(purpose).chance(ppm)
    }

    fn check(&self, operation: &DiskOperation) {
        let (verb, offset, length) = match operation {
            DiskOperation::Read { offset, length } => ("read", *offset, u64::from(*length)),
            // What a write does not fill of its last sector, zeros do.
            DiskOperation::Write { offset, data, .. } => ("wrote", *offset, sectors_of(data) * SECTOR),
            DiskOperation::Barrier => return,
        };
        assert_aligned(verb, offset, length);
        assert!(length > 0, "a process {verb} nothing at {offset}: an operation covers a sector at least");
        self.check_within(offset, length);
    }

    fn check_within(&self, offset: u64, length: u64) {
        let capacity = self.settings.capacity;
        assert!(
            offset.checked_add(length).is_some_and(|end| end <= capacity),
            "{length} bytes at {offset} lie behind the end of the disk: it has {capacity} bytes"
        );
    }
}

fn assert_aligned(verb: &str, offset: u64, length: u64) {
    assert!(
        offset.is_multiple_of(SECTOR) && length.is_multiple_of(SECTOR),
        "a process {verb} {length} bytes at {offset}: offsets and lengths are multiples of the sector, {SECTOR} bytes"
    );
}
