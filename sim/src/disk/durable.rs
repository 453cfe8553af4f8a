//! The durable truth, for oracles: what a crash at this moment would leave for certain.
//!
//! Decided byte by byte: a range is certain when everything that a crash could leave there agrees on it. So an entry of a
//! sector stays certain while its neighbour in the same sector is written again.

use std::borrow::Cow;

use chronon::frame::SECTOR_SIZE;

use super::{
    SimDisk,
    medium::{Content, SECTOR, ZEROS},
};

/// What is durable in a sector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Durable<'a> {
    /// These bytes, whatever crashes.
    Stable(Cow<'a, [u8]>),
    /// The medium was damaged: what was written last was durable, and is gone or wrong.
    Damaged,
    /// A crash might change it.
    Uncertain,
}

/// What is durable in a part of a sector.
enum Part<'a> {
    Stable(&'a Content),
    Damaged,
    Uncertain,
}

impl SimDisk {
    /// What is durable in `sector`.
    pub fn durable_sector(&self, sector: u64) -> Durable<'_> {
        assert!(sector < self.settings.capacity / SECTOR, "sector {sector} lies behind the end of the disk");
        match self.durable_part(sector, 0, SECTOR_SIZE) {
            Part::Stable(content) if content.written().len() == SECTOR_SIZE => {
                Durable::Stable(Cow::Borrowed(content.written()))
            }
            Part::Stable(content) => Durable::Stable(Cow::Owned(content.to_vec())),
            Part::Damaged => Durable::Damaged,
            Part::Uncertain => Durable::Uncertain,
        }
    }

    /// Whether all that the sectors `first..end` hold is certain and undamaged.
    pub fn is_stable(&self, first: u64, end: u64) -> bool {
        (first..end).all(|sector| matches!(self.durable_part(sector, 0, SECTOR_SIZE), Part::Stable(_)))
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
            let end = start + part as usize;
            let Part::Stable(content) = self.durable_part(at / SECTOR, start, end) else { return false };
            let (written, zeros) = content.part(start, end);
            if !(accept(written) && accept(&ZEROS[..zeros])) {
                return false;
            }
            at += part;
        }
        true
    }

    fn durable_part(&self, sector: u64, start: usize, end: usize) -> Part<'_> {
        let certain = self.medium.content(sector);
        if !self.speculation.versions(sector).iter().all(|version| version.content.agrees(certain, start, end)) {
            return Part::Uncertain;
        }
        if self.in_flight.writes() > 0 {
            let mut contents = self.in_flight.iter().filter_map(|flight| flight.writes(sector));
            if !contents.all(|(data, place)| Content::of(data, place).agrees(certain, start, end)) {
                return Part::Uncertain;
            }
        }
        if self.medium.damaged(sector).is_some() { Part::Damaged } else { Part::Stable(certain) }
    }
}
