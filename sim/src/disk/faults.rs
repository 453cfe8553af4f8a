//! What a nemesis does to a disk: episodes, which end by themselves or when healed, and damage to the medium, which stays.
//!
//! Damage lies beneath whatever is still speculative, as it would on a real medium under a cache. Deliberately absent: a
//! budget. Whether a cluster can still recover is the caller's to know.

use std::ops::Range;

use chronon::frame::SECTOR_SIZE;

use super::{
    ErrorRates, OperationKind, SimDisk,
    medium::{Content, Damage, SECTOR},
};

/// Faults in force.
#[derive(Clone, Default)]
pub(super) struct Episodes {
    pub(super) stalled_until_ns: u64,
    pub(super) slow_until_ns: u64,
    pub(super) slow_percent: u32,
    pub(super) no_space: bool,
    pub(super) errors: ErrorRates,
    pub(super) failing_reads: u32,
    pub(super) failing_writes: u32,
    pub(super) failing_barriers: u32,
    /// What befalls the next write to these sectors that would succeed.
    pub(super) misled: Option<(Range<u64>, Misled)>,
    /// The next read of any of these sectors finds one of them gone bad.
    pub(super) spoiled: Option<Range<u64>>,
}

/// What a write that says success really does.
#[derive(Clone, Copy)]
pub(super) enum Misled {
    /// It lands at this sector instead of its own.
    Elsewhere(u64),
    /// It lands nowhere.
    Nowhere,
}

impl Episodes {
    /// Whether this read, write or barrier fails because somebody asked for it.
    pub(super) fn fails(&mut self, kind: OperationKind) -> bool {
        let pending = match kind {
            OperationKind::Read => &mut self.failing_reads,
            OperationKind::Write | OperationKind::DurableWrite => &mut self.failing_writes,
            OperationKind::Barrier => &mut self.failing_barriers,
        };
        let fails = *pending > 0;
        *pending -= u32::from(fails);
        fails
    }
}

/// Episodes.
impl SimDisk {
    /// No operation completes before `until_ns`: those in flight and those that are submitted before then complete after it.
    pub fn stall_until(&mut self, until_ns: u64) {
        self.episodes.stalled_until_ns = self.episodes.stalled_until_ns.max(until_ns);
    }

    /// Operations submitted before `until_ns` take `factor_percent` of their time: 1000 is ten times as long.
    pub fn slow(&mut self, factor_percent: u32, until_ns: u64) {
        self.episodes.slow_percent = factor_percent;
        self.episodes.slow_until_ns = until_ns;
    }

    /// The next barrier to complete fails. Said twice, the next two do; likewise the two below.
    pub fn fail_next_barrier(&mut self) {
        self.episodes.failing_barriers += 1;
    }

    /// The next write to complete, durable by itself or not, fails.
    pub fn fail_next_write(&mut self) {
        self.episodes.failing_writes += 1;
    }

    /// The next read to complete fails.
    pub fn fail_next_read(&mut self) {
        self.episodes.failing_reads += 1;
    }

    /// While `on`, every write fails for want of room.
    pub fn no_space(&mut self, on: bool) {
        self.episodes.no_space = on;
    }

    /// Errors by chance from now on.
    pub fn set_error_rates(&mut self, errors: ErrorRates) {
        self.episodes.errors = errors;
    }

    /// The next read of any of the `length` bytes at `offset` finds one of their sectors unreadable, until that is written
    /// again: a latent error, which shows when it is too late.
    pub fn spoil_next_read_in(&mut self, offset: u64, length: u64) {
        self.episodes.spoiled = Some(self.sectors(offset, length, "spoiled"));
    }

    /// Ends every episode: stall, slowness, want of room, errors by chance and those asked for. What they left behind, on
    /// the medium or in doubt, stays. Operations that a stall put off complete when it said; see [`SimDisk::reschedule`].
    pub fn clear_faults(&mut self) {
        self.episodes = Episodes::default();
    }
}

/// Damage to the medium.
impl SimDisk {
    /// Flips the bits of `mask` in the bytes at `offset`, which need not be aligned.
    pub fn corrupt(&mut self, offset: u64, mask: &[u8]) {
        self.check_range(offset, mask.len() as u64, "corrupted");
        self.edit(offset, mask.len(), |place, byte| byte ^ mask[place]);
        for sector in offset / SECTOR..(offset + mask.len() as u64).div_ceil(SECTOR) {
            self.medium.damage(sector, Damage::Altered);
        }
    }

    /// Fills whole sectors with zeros.
    pub fn zero(&mut self, offset: u64, length: u64) {
        for sector in self.sectors(offset, length, "zeroed") {
            self.medium.alter(sector, Content::default());
            self.medium.damage(sector, Damage::Altered);
        }
    }

    /// Makes whole sectors unreadable, each until it is written again.
    pub fn make_unreadable(&mut self, offset: u64, length: u64) {
        for sector in self.sectors(offset, length, "made unreadable") {
            self.medium.damage(sector, Damage::Unreadable);
        }
    }

    /// What lies at `from` lies at `to` as well, as if a write had landed twice.
    pub fn misdirect(&mut self, from: u64, to: u64, length: u64) {
        let target = self.sectors(to, length, "misdirected to").start;
        for (place, sector) in self.sectors(from, length, "misdirected from").enumerate() {
            let content = self.medium.content(sector).clone();
            self.medium.alter(target + place as u64, content);
            self.medium.damage(target + place as u64, Damage::Altered);
        }
    }

    /// The next write that would succeed says that it did, and lands at `to` instead of where it was sent.
    pub fn misdirect_next_write(&mut self, to: u64) {
        self.misdirect_next_write_in(0, self.settings.capacity, to);
    }

    /// As [`SimDisk::misdirect_next_write`], of the writes that begin within the `length` bytes at `offset`.
    pub fn misdirect_next_write_in(&mut self, offset: u64, length: u64, to: u64) {
        let (within, to) =
            (self.sectors(offset, length, "misdirected from"), self.sectors(to, SECTOR, "misdirected to"));
        self.episodes.misled = Some((within, Misled::Elsewhere(to.start)));
    }

    /// The next write that would succeed says that it did, and lands nowhere.
    pub fn lose_next_write(&mut self) {
        self.lose_next_write_in(0, self.settings.capacity);
    }

    /// As [`SimDisk::lose_next_write`], of the writes that begin within the `length` bytes at `offset`.
    pub fn lose_next_write_in(&mut self, offset: u64, length: u64) {
        self.episodes.misled = Some((self.sectors(offset, length, "lost"), Misled::Nowhere));
    }

    /// Every unreadable sector can be read again, with the content that it had. Altered content stays altered.
    pub fn repair_media(&mut self) {
        self.medium.make_readable();
    }

    /// How many sectors hold something other than what was written last, or cannot be read.
    pub fn damaged_sectors(&self) -> u64 {
        self.medium.damaged_count()
    }

    /// Whether any sector of the `length` bytes at `offset` holds something other than what was written last, or cannot be read.
    pub fn is_damaged(&self, offset: u64, length: u64) -> bool {
        self.check_range(offset, length, "looked at");
        self.medium.is_damaged(offset / SECTOR, (offset + length).div_ceil(SECTOR))
    }

    /// The sectors of `first..end` that hold anything but zeros for certain: those worth damaging.
    pub fn written_sectors(&self, first: u64, end: u64) -> impl Iterator<Item = u64> {
        let mut next = first;
        std::iter::from_fn(move || {
            let sector = self.medium.next_written(next, end)?;
            next = sector + 1;
            Some(sector)
        })
    }

    /// Replaces the medium's bytes from `offset` on by what `change` makes of each, by its place.
    pub(super) fn edit(&mut self, offset: u64, length: usize, change: impl Fn(usize, u8) -> u8) {
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let start = (at % SECTOR) as usize;
            let end = (start + length - done).min(SECTOR_SIZE);
            let mut bytes = self.medium.content(at / SECTOR).to_vec();
            for byte in &mut bytes[start..end] {
                *byte = change(done, *byte);
                done += 1;
            }
            self.medium.alter(at / SECTOR, Content::new(bytes));
        }
    }

    /// The sectors of an aligned range.
    fn sectors(&self, offset: u64, length: u64, what: &str) -> Range<u64> {
        self.check_range(offset, length, what);
        assert!(
            offset.is_multiple_of(SECTOR) && length.is_multiple_of(SECTOR),
            "{length} bytes at {offset} cannot be {what}: give whole sectors of {SECTOR} bytes"
        );
        offset / SECTOR..(offset + length) / SECTOR
    }

    fn check_range(&self, offset: u64, length: u64, what: &str) {
        assert!(
            offset.checked_add(length).is_some_and(|end| end <= self.settings.capacity),
            "{length} bytes at {offset} cannot be {what}: the disk has {} bytes",
            self.settings.capacity
        );
    }
}
