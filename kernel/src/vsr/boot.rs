//! Recovery: a replica's state from its data file alone.
//!
//! The superblock says what the log of its log view *is*; the two rings say, by the decision table, what the slots *hold*. Before
//! the replica speaks, the superblock and every prepare that it will vouch for are written again and made durable: what can be
//! read after a crash need not be what lasts (design rule 6).

mod decision;

use alloc::{collections::BTreeMap, format, vec::Vec};

use crate::{
    frame::{Frame, SECTOR_SIZE},
    process::Actions,
    storage::{
        HeaderRead, PrepareRead,
        chunk::claimed_address,
        journal::{parse_header_entry, parse_prepare},
        layout::{HEADERS_PER_SECTOR, SUPERBLOCK_COPIES, SUPERBLOCK_COPY_SIZE},
        superblock,
    },
    types::{Op, View},
    vsr::{
        ReadResult, Status, Vsr,
        durable::Durable,
        journal::{WRITE_WINDOW, WRITES_MAX},
        probe::Probe,
        timer::Timer,
        token::Kind,
    },
    wire::header::{HEADER_SIZE, Header},
};

/// Slots read, or written again, at once.
const SLOTS_MAX: usize = 32;

/// How many sectors of the header ring are read at once.
const RING_PART: u32 = 16;

/// How many bytes of the grid are read at once, where blocks are so small that reading the beginning of each would cost more.
const GRID_PART: u32 = 64 * 1024;

/// How far recovery has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Superblock,
    Ring,
    Prepares,
    Rewrite,
}

/// Recovery in progress.
#[derive(Clone)]
pub(super) struct Boot {
    stage: Stage,
    /// Reads in flight, and how often each was tried, by token.
    attempts: BTreeMap<u64, u32>,
    copies: [Option<Frame>; SUPERBLOCK_COPIES as usize],
    ring: Vec<HeaderRead>,
    /// What each slot's prepare turned out to be; slots that were not sent for are beyond what can have been written.
    prepares: Vec<Option<PrepareRead>>,
    /// The highest op that anything read so far names.
    highest: Op,
    /// How many blocks of the grid were sent for.
    grid_read: u32,
    /// Slots still to be read.
    to_read: Vec<u32>,
    /// How many slots are being written as they were read.
    rewriting: usize,
    /// Whether any was that no barrier covers.
    is_barrier_due: bool,
    /// Whole prepares that the ring does not name: few, unless the ring is damaged.
    unnamed: BTreeMap<u32, Frame>,
    /// The headers of those that are vouched for, the lowest op last.
    to_rewrite: Vec<Header>,
    /// Sectors of the ring whose prepares are durable again, the lowest last.
    sectors: Vec<u32>,
}

impl Vsr {
    /// Begins with the superblock's copies.
    pub(super) fn start_boot(&mut self, actions: &mut Actions) {
        self.boot = Some(Boot {
            stage: Stage::Superblock,
            attempts: BTreeMap::new(),
            copies: Default::default(),
            ring: Vec::new(),
            prepares: Vec::new(),
            highest: Op::ROOT,
            grid_read: 0,
            to_read: Vec::new(),
            rewriting: 0,
            is_barrier_due: false,
            unnamed: BTreeMap::new(),
            to_rewrite: Vec::new(),
            sectors: Vec::new(),
        });
        for copy in 0..SUPERBLOCK_COPIES {
            self.boot_read(Kind::BootSuperblock, u64::from(copy), actions);
        }
    }

    fn booting(&mut self) -> &mut Boot {
        self.boot.as_mut().expect("recovery is in progress")
    }

    fn boot_read(&mut self, kind: Kind, value: u64, actions: &mut Actions) {
        let layout = self.config.layout;
        let token = kind.token(value);
        *self.booting().attempts.entry(token.0).or_default() += 1;
        let (offset, length) = match kind {
            Kind::BootSuperblock => (layout.superblock_offset(value as u8), SUPERBLOCK_COPY_SIZE),
            Kind::BootRing => {
                let (first, count) = part(value);
                (layout.header_sector_offset(first * HEADERS_PER_SECTOR), count * SECTOR_SIZE as u32)
            }
            // One block's beginning says what it claims to hold; of several, all of them.
            Kind::BootGrid => match part(value) {
                (block, 1) => (layout.block_offset(block), SECTOR_SIZE as u32),
                (first, count) => (layout.block_offset(first), count * layout.block_size),
            },
            _ => (layout.prepare_offset(value as u32), self.boot_length(value as u32)),
        };
        actions.read(token, offset, length);
    }

    /// How much of a slot is read: what its header says, or its beginning; all of it when that did not make sense of it.
    fn boot_length(&mut self, slot: u32) -> u32 {
        let whole_slot = self.config.layout.message_size_max;
        let boot = self.booting();
        match &boot.ring[slot as usize] {
            _ if boot.prepares[slot as usize].is_some() => whole_slot,
            HeaderRead::Valid(header) => header.size.next_multiple_of(SECTOR_SIZE as u32).min(whole_slot),
            _ => SECTOR_SIZE as u32,
        }
    }

    /// What a read gave, or none when it failed for good. Tries a failed read again first: then `Err`.
    fn boot_result(
        &mut self,
        kind: Kind,
        value: u64,
        result: ReadResult<'_>,
        actions: &mut Actions,
    ) -> Result<Option<Frame>, ()> {
        let token = kind.token(value).0;
        match result {
            Ok(frame) => {
                self.booting().attempts.remove(&token);
                Ok(Some(frame.clone()))
            }
            Err(_) if self.booting().attempts[&token] < Self::READ_ATTEMPTS_MAX => {
                actions.probe(Probe::ReadRetried.into());
                self.boot_read(kind, value, actions);
                Err(())
            }
            Err(_) => {
                self.booting().attempts.remove(&token);
                Ok(None)
            }
        }
    }

    pub(super) fn on_boot_superblock(&mut self, copy: u8, result: ReadResult<'_>, actions: &mut Actions) {
        let Ok(bytes) = self.boot_result(Kind::BootSuperblock, u64::from(copy), result, actions) else { return };
        self.booting().copies[copy as usize] = bytes;
        if self.booting().attempts.is_empty() {
            self.open_superblock(actions);
        }
    }

    fn open_superblock(&mut self, actions: &mut Actions) {
        let copies = self.booting().copies.clone();
        let restoration = match superblock::recover(copies.each_ref().map(|copy| copy.as_deref())) {
            Ok(restoration) => restoration,
            Err(error) => return actions.halt(format!("{error}")),
        };
        let found = &restoration.superblock;
        // A copy's own first bytes differ by its number alone.
        let content =
            |copy: &Option<Frame>| copy.as_ref().map(|bytes| bytes.slice(superblock::CONTENT_START, bytes.len()));
        if copies[1..].iter().any(|copy| content(copy) != content(&copies[0])) {
            actions.probe(Probe::SuperblockTorn.into());
        }
        if let Err(error) = found.expect(self.config.identity()) {
            return actions.halt(format!("{error}"));
        }
        let (formatted, configured) =
            ((found.layout, found.clients_max), (self.config.layout, self.config.clients_max));
        if formatted != configured {
            return actions.halt(format!(
                "the data file was formatted with {:?} and for {} sessions, the configuration says {:?} and {}: use the former",
                formatted.0, formatted.1, configured.0, configured.1
            ));
        }
        self.view = found.view;
        self.log_view = found.log_view;
        self.commit_max = found.commit;
        self.checkpoints.opened(found);
        self.roster.opened(found);
        self.log.set_floor(found.checkpoint.header);
        self.durable = Some(Durable::restore(restoration, actions));
        let slots = self.config.layout.slot_count;
        let boot = self.booting();
        boot.copies = Default::default();
        boot.stage = Stage::Ring;
        boot.ring = alloc::vec![HeaderRead::Empty; slots as usize];
        let sectors = slots / HEADERS_PER_SECTOR;
        for first in (0..sectors).step_by(RING_PART as usize) {
            self.boot_read(Kind::BootRing, part_value(first, RING_PART.min(sectors - first)), actions);
        }
        self.read_grid(actions);
    }

    /// Reads on in the grid, some parts at once.
    fn read_grid(&mut self, actions: &mut Actions) {
        let (blocks, at_once) = (self.config.layout.block_count, (GRID_PART / self.config.layout.block_size).max(1));
        while self.booting().grid_read < blocks && self.booting().attempts.len() < 2 * SLOTS_MAX {
            let first = self.booting().grid_read;
            let count = at_once.min(blocks - first);
            self.booting().grid_read += count;
            self.boot_read(Kind::BootGrid, part_value(first, count), actions);
        }
    }

    /// The beginnings of some blocks were read: which chunks they claim to hold.
    pub(super) fn on_boot_grid(&mut self, value: u64, result: ReadResult<'_>, actions: &mut Actions) {
        let Ok(bytes) = self.boot_result(Kind::BootGrid, value, result, actions) else { return };
        let (first, count) = part(value);
        match &bytes {
            Some(bytes) => {
                let size = self.config.layout.block_size as usize;
                for (block, bytes) in (first..first + count).zip(bytes.chunks(size)) {
                    if let Some(address) = claimed_address(bytes) {
                        self.checkpoints.grid.found(address, block);
                    }
                }
            }
            // One sector that cannot be read shall not take its neighbours with it.
            None if count > 1 => {
                for block in first..first + count {
                    self.boot_read(Kind::BootGrid, part_value(block, 1), actions);
                }
            }
            None => {}
        }
        self.end_of_rings(actions);
    }

    /// The rings and the grid are read as far as the prepares' bytes are not needed.
    fn end_of_rings(&mut self, actions: &mut Actions) {
        self.read_grid(actions);
        if self.booting().attempts.is_empty() {
            self.booting().stage = Stage::Prepares;
            self.read_on(actions);
        }
    }

    pub(super) fn on_boot_ring(&mut self, value: u64, result: ReadResult<'_>, actions: &mut Actions) {
        let Ok(bytes) = self.boot_result(Kind::BootRing, value, result, actions) else { return };
        let (first, count) = part(value);
        if bytes.is_none() && count > 1 {
            // One sector that cannot be read shall not take its neighbours with it.
            for sector in first..first + count {
                self.boot_read(Kind::BootRing, part_value(sector, 1), actions);
            }
            return;
        }
        let (layout, cluster) = (self.config.layout, self.config.cluster);
        let slots = first * HEADERS_PER_SECTOR..(first + count) * HEADERS_PER_SECTOR;
        let boot = self.booting();
        for (slot, index) in slots.zip(0usize..) {
            let read = match &bytes {
                Some(bytes) => {
                    parse_header_entry(&bytes[index * HEADER_SIZE..(index + 1) * HEADER_SIZE], slot, &layout, cluster)
                }
                None => HeaderRead::Corrupt,
            };
            match &read {
                HeaderRead::Empty => continue,
                HeaderRead::Valid(header) => boot.highest = boot.highest.max(header.op),
                HeaderRead::Corrupt | HeaderRead::Misdirected => boot.highest = boot.highest.max(Op(u64::from(slot))),
            }
            boot.ring[slot as usize] = read;
        }
        self.end_of_rings(actions);
    }

    /// Reads on. When everything is read, and what was written again is durable, decides.
    fn read_on(&mut self, actions: &mut Actions) {
        loop {
            self.read_slots(actions);
            let boot = self.booting();
            if !boot.attempts.is_empty() || boot.rewriting > 0 {
                return;
            }
            if !self.look_further() {
                break;
            }
        }
        let boot = self.booting();
        if core::mem::take(&mut boot.is_barrier_due) {
            return actions.barrier(Kind::BootBarrier.token(0));
        }
        self.decide_slots(actions);
    }

    /// Names every slot that can have been written: all up to the write window above whatever names an op, and all there are once the
    /// ring may have come round. Whether there are more than were known.
    fn look_further(&mut self) -> bool {
        let layout = self.config.layout;
        let (named, covered) = (self.promised().head, self.checkpoints.op());
        let boot = self.booting();
        let highest = boot.highest.max(named);
        let looked = boot.prepares.len() as u32;
        let slots = u64::from(layout.slot_count);
        let end = if covered > Op::ROOT { slots } else { (highest.0 + WRITE_WINDOW + 1).min(slots) } as u32;
        boot.to_read = (looked..end).rev().collect();
        boot.prepares.resize(end.max(looked) as usize, None);
        !boot.to_read.is_empty()
    }

    fn read_slots(&mut self, actions: &mut Actions) {
        while self.booting().attempts.len() < SLOTS_MAX && self.booting().rewriting < SLOTS_MAX {
            let Some(slot) = self.booting().to_read.pop() else { return };
            self.boot_read(Kind::BootPrepare, u64::from(slot), actions);
        }
    }

    pub(super) fn on_boot_prepare(&mut self, slot: u32, result: ReadResult<'_>, actions: &mut Actions) {
        let Ok(bytes) = self.boot_result(Kind::BootPrepare, u64::from(slot), result, actions) else { return };
        let (layout, cluster) = (self.config.layout, self.config.cluster);
        let read = bytes.as_ref().map_or(PrepareRead::Corrupt, |bytes| parse_prepare(bytes, slot, &layout, cluster));
        let partial = bytes.as_ref().is_some_and(|bytes| bytes.len() < layout.message_size_max as usize);
        let again = partial && read == PrepareRead::Corrupt;
        if let (PrepareRead::Valid(header), Some(bytes)) = (&read, &bytes) {
            self.on_boot_whole(slot, header, bytes, actions);
        }
        self.booting().prepares[slot as usize] = Some(read);
        if again {
            // The prepare may be longer than what was read.
            return self.boot_read(Kind::BootPrepare, u64::from(slot), actions);
        }
        self.read_on(actions);
    }

    /// A whole prepare was read. Where the ring names it nothing is to be decided, and it is written again at once: the same
    /// bytes, of which a crash can tear none, and which need not be kept until the last slot is read.
    fn on_boot_whole(&mut self, slot: u32, header: &Header, bytes: &Frame, actions: &mut Actions) {
        // Copied where it is the lesser part of what was read, all of which it would hold in memory.
        let frame = bytes.slice(0, header.size as usize);
        let frame = if 2 * frame.len() <= bytes.len() { Frame::new(frame.to_vec()) } else { frame };
        let covered = self.checkpoints.op();
        let boot = self.booting();
        boot.highest = boot.highest.max(header.op);
        if header.op <= covered {
            // In the checkpoint: others may ask for it, and nothing is promised of it.
            return;
        }
        if boot.ring[slot as usize] == HeaderRead::Valid(*header) {
            boot.rewriting += 1;
            boot.is_barrier_due = true;
            self.journal.remember(header, &frame);
            let offset = self.config.layout.prepare_offset(slot);
            actions.write(Kind::BootWrite.token(u64::from(slot)), offset, frame, false);
        } else {
            boot.unnamed.insert(slot, frame);
        }
    }

    pub(super) fn on_boot_write(&mut self, actions: &mut Actions) {
        self.booting().rewriting -= 1;
        self.read_on(actions);
    }

    /// Writes what the ring does not name yet, and the ring, a window at a time; when all is durable, the replica speaks.
    pub(super) fn boot_step(&mut self, actions: &mut Actions) {
        let Some(mut boot) = self.boot.take() else { return };
        if boot.stage == Stage::Rewrite {
            while self.journal.writes_in_flight() < WRITES_MAX {
                let Some(header) = boot.to_rewrite.pop() else { break };
                let slot = self.config.layout.slot(header.op);
                let frame = boot.unnamed.remove(&slot).expect("what is vouched for was read");
                self.journal.write(&header, &frame, actions);
            }
            while boot.to_rewrite.is_empty() && self.journal.sectors_in_flight() < SLOTS_MAX {
                let Some(sector) = boot.sectors.pop() else { break };
                self.journal.write_sector(sector, actions);
            }
            let is_written = boot.to_rewrite.is_empty() && boot.sectors.is_empty();
            let is_durable = self.journal.is_idle() && self.durable_mut().is_idle();
            if is_written && is_durable {
                return self.finish_boot(actions);
            }
        }
        self.boot = Some(boot);
    }

    fn finish_boot(&mut self, actions: &mut Actions) {
        self.journal.gather(false);
        self.durable_op = self.promised().head;
        self.held_through = self.checkpoints.op();
        self.start_loading();
        if !self.checkpoints.is_restoring {
            self.finish_survey();
        }
        self.count_own_root(actions);
        self.timers.set(Timer::Ping, self.now.monotonic);
        for heard in &mut self.heard {
            *heard = self.now.monotonic;
        }
        self.status = Status::ViewChange;
        if !self.head_certain {
            actions.probe(Probe::HeadUncertain.into());
        }
        let primary = self.primary_of_view() == self.config.replica;
        if self.view == self.log_view && self.head_certain && !primary {
            self.enter_normal();
            self.acknowledge_afresh(actions);
            return self.repair(actions);
        }
        self.arm_election();
        if self.view == self.log_view && primary && !self.is_recovering() {
            // Rule 2: what it had promised as primary, and told nobody but its memory, is gone. A later view settles it.
            if self.view > View(0) {
                actions.probe(Probe::PrimaryRestarted.into());
            }
            return self.propose(View(0), actions);
        }
        self.on_view_message_timer(actions);
        self.choose_log(actions);
    }
}

/// Names sectors of the header ring, or blocks of the grid, in a token.
fn part_value(first: u32, count: u32) -> u64 {
    u64::from(count) << 32 | u64::from(first)
}

/// The first and how many, of a token's value.
fn part(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}
