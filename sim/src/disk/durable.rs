//! The durable truth, for oracles: what a crash at this moment would leave for certain.
//!
//! Decided byte by byte: a range is certain when everything that a crash could leave there agrees on it. So an entry of a
//! sector stays certain while its neighbour in the same sector is written again.

use chronon::frame::SECTOR_SIZE;

use super::{SimDisk, medium::SECTOR};

/// What is durable in a sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durable<'a> {
    /// These bytes, whatever crashes.
    Stable(&'a [u8]),
    /// The medium was damaged: what was written last was durable, and is gone or wrong.
    Damaged,
    /// A crash might change it.
    Uncertain,
}

impl SimDisk {
    /// What is durable in `sector`.
    pub fn durable_sector(&self, sector: u64) -> Durable<'_> {
        assert!(sector < self.settings.capacity / SECTOR, "sector {sector} lies behind the end of the disk");
        self.durable_part(sector, 0, SECTOR_SIZE)
    }

    /// Puts the `length` bytes at `offset`, aligned or not, into `out` if all of them are certain and undamaged, and says
    /// whether they are.
    pub fn durable_read(&self, offset: u64, length: u64, out: &mut Vec<u8>) -> bool {
        out.clear();
        self.durable_parts(offset, length, |part| {
            out.extend_from_slice(part);
            true
        })
    }

    /// Whether the bytes at `offset`, aligned or not, are `expected` for certain. Copies nothing.
    pub fn durable_holds(&self, offset: u64, expected: &[u8]) -> bool {
        let mut rest = expected;
        self.durable_parts(offset, expected.len() as u64, |part| {
            let (same, other) = rest.split_at(part.len());
            rest = other;
            same == part
        })
    }

    /// Whether all parts of a range are certain and `accept` takes each, in order.
    fn durable_parts(&self, offset: u64, length: u64, mut accept: impl FnMut(&[u8]) -> bool) -> bool {
        let end = offset + length;
        assert!(end <= self.settings.capacity, "{length} bytes at {offset} lie behind the end of the disk");
        let mut at = offset;
        while at < end {
            let start = (at % SECTOR) as usize;
            let part = (SECTOR - at % SECTOR).min(end - at);
            match self.durable_part(at / SECTOR, start, start + part as usize) {
                Durable::Stable(bytes) if accept(bytes) => at += part,
                _ => return false,
            }
        }
        true
    }

    fn durable_part(&self, sector: u64, start: usize, end: usize) -> Durable<'_> {
        let certain = &self.medium.content(sector).bytes()[start..end];
        let agrees = |bytes: &[u8]| bytes[start..end] == *certain;
        if !self.speculation.versions(sector).iter().all(|version| agrees(version.content.bytes())) {
            return Durable::Uncertain;
        }
        if self.in_flight.writes() > 0 {
            let mut contents = self.in_flight.iter().filter_map(|flight| flight.writes(sector));
            if !contents.all(|(data, place)| agrees(&data[place as usize * SECTOR_SIZE..][..SECTOR_SIZE])) {
                return Durable::Uncertain;
            }
        }
        if self.medium.damaged(sector).is_some() { Durable::Damaged } else { Durable::Stable(certain) }
    }
}
