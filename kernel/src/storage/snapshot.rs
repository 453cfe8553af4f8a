//! Snapshots as records, and records packed into the leaves of a checkpoint.
//!
//! ```text
//!   a leaf's payload:  [section u8] then records:  [length u32, bit 31: goes on in the next leaf] [bytes]
//! ```
//!
//! Where one leaf ends and the next begins follows from the records themselves (content-defined chunking, Muthitacharoen, Chen and
//! Mazières 2001, section 3.1, by records instead of bytes): a record in one place that comes, goes or grows moves the
//! boundaries near it and no others, so that the leaves elsewhere are the same as in the checkpoint before and are not
//! written again.
//!
//! Invariant: the same records in the same order give the same leaves, however often the writing pauses.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt;

use crate::storage::chunk::{CHUNK_HEADER_SIZE, unsealed};

/// The bit of a record's length that says that it goes on in the next leaf.
const GOES_ON: u32 = 1 << 31;

/// The bytes of a record's length.
const LENGTH_SIZE: usize = 4;

/// The longest record, in bytes.
pub const RECORD_SIZE_MAX: usize = 64 << 20;

/// Takes a snapshot's records and packs them into leaves.
///
/// A large state is written in slices: once [`SnapshotWriter::is_full`], the writing may pause with [`SnapshotWriter::pause`], and is
/// called for again later with what it said there in [`SnapshotWriter::resumed`].
#[derive(Clone, Debug)]
pub struct SnapshotWriter {
    /// How long a leaf may be, header and payload.
    leaf_size_max: usize,
    section: u8,
    /// The leaf that is being filled; empty between leaves.
    leaf: Vec<u8>,
    /// Leaves that are full, in order.
    done: VecDeque<Vec<u8>>,
    /// How many leaves may be full before the writing should pause.
    leaves_max: usize,
    /// Where the part before paused.
    resumed: Option<Vec<u8>>,
    /// Where this part pauses.
    paused: Option<Vec<u8>>,
}

impl SnapshotWriter {
    /// A writer of leaves of at most `leaf_size_max` bytes, which wants to pause after `leaves_max` of them.
    ///
    /// # Panics
    /// If a leaf has no room for a record.
    pub fn new(leaf_size_max: u32, leaves_max: usize) -> Self {
        let leaf_size_max = leaf_size_max as usize;
        assert!(leaf_size_max >= 2 * CHUNK_HEADER_SIZE, "a leaf has room for a record");
        Self {
            leaf_size_max,
            section: 0,
            leaf: Vec::new(),
            done: VecDeque::new(),
            leaves_max,
            resumed: None,
            paused: None,
        }
    }

    /// Adds a record. Records come back in this order.
    ///
    /// # Panics
    /// If it is longer than [`RECORD_SIZE_MAX`].
    pub fn record(&mut self, record: &[u8]) {
        assert!(record.len() <= RECORD_SIZE_MAX, "a record of {} bytes is too long: split it", record.len());
        let mut rest = record;
        loop {
            if self.leaf.is_empty() {
                self.leaf = unsealed();
                self.leaf.push(self.section);
            }
            let room = self.leaf_size_max - self.leaf.len();
            // Whole if it fits; a long one is cut, a short one goes to the next leaf.
            if LENGTH_SIZE + rest.len() <= room {
                self.leaf.extend_from_slice(&(rest.len() as u32).to_le_bytes());
                self.leaf.extend_from_slice(rest);
                break;
            }
            let fits_a_leaf = 1 + LENGTH_SIZE + rest.len() <= self.leaf_size_max - CHUNK_HEADER_SIZE;
            if !fits_a_leaf && room > LENGTH_SIZE {
                let (part, others) = rest.split_at(room - LENGTH_SIZE);
                self.leaf.extend_from_slice(&(part.len() as u32 | GOES_ON).to_le_bytes());
                self.leaf.extend_from_slice(part);
                rest = others;
            }
            self.cut();
        }
        if self.ends_a_leaf(record) {
            self.cut();
        }
    }

    /// Whether enough was written for now: so many leaves, or up to where one ended by what it holds, for that is where what did not
    /// change since the last checkpoint can be left out.
    pub fn is_full(&self) -> bool {
        self.done.len() >= self.leaves_max || (self.leaf.is_empty() && !self.done.is_empty())
    }

    /// Says that there is more, and where: any bytes, which [`SnapshotWriter::resumed`] gives back.
    pub fn pause(&mut self, position: &[u8]) {
        self.paused = Some(position.to_vec());
    }

    /// Where the writing paused; none when it begins.
    pub fn resumed(&self) -> Option<&[u8]> {
        self.resumed.as_deref()
    }

    /// Calls for a part of `section`, and says whether that was the last. A section begins with a leaf of its own.
    pub fn write(&mut self, section: u8, write: impl FnOnce(&mut Self)) -> bool {
        if self.section != section {
            self.cut();
            self.section = section;
            self.resumed = None;
        }
        self.paused = None;
        write(self);
        self.resumed = self.paused.take();
        self.resumed.is_none()
    }

    /// Calls for a part of what a section holds, and says whether that was the last of it. A part is told of no positions but its
    /// own, which it bears its number before for everyone else.
    pub(crate) fn part(&mut self, number: u8, write: impl FnOnce(&mut Self)) -> bool {
        self.resumed = self.resumed.take().and_then(|position| Self::of_part(number, &position).map(<[u8]>::to_vec));
        write(self);
        if let Some(position) = &mut self.paused {
            position.insert(0, number);
        }
        self.resumed = None;
        self.paused.is_none()
    }

    /// The number of the part whose position this is.
    ///
    /// # Panics
    /// If it is that of none.
    pub(crate) fn number(position: &[u8]) -> u8 {
        position[0]
    }

    /// A position as the part of this number knows it, if it is that part's.
    pub(crate) fn of_part(number: u8, position: &[u8]) -> Option<&[u8]> {
        position.split_first().filter(|(first, _)| **first == number).map(|(_, own)| own)
    }

    /// The position at which `section` paused, if a leaf ended just there and all leaves were taken.
    pub(crate) fn boundary(&self, section: u8) -> Option<&[u8]> {
        let is_clean = self.section == section && self.leaf.is_empty() && self.done.is_empty();
        self.resumed.as_deref().filter(|_| is_clean)
    }

    /// Leaves out what lies between a boundary and another.
    pub(crate) fn skip_to(&mut self, position: &[u8]) {
        assert!(self.leaf.is_empty() && self.done.is_empty(), "what is left out lies between leaves");
        self.resumed = Some(position.to_vec());
    }

    /// The next leaf that is full, with room for a chunk's header before its payload.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.done.pop_front()
    }

    /// Ends the last leaf.
    pub fn finish(&mut self) {
        self.cut();
    }

    fn cut(&mut self) {
        if !self.leaf.is_empty() {
            self.done.push_back(core::mem::take(&mut self.leaf));
        }
    }

    /// Whether this record is the last of its leaf: from a quarter of a leaf on, by chance in proportion to its length, so that a leaf
    /// is about two thirds full in the mean.
    fn ends_a_leaf(&self, record: &[u8]) -> bool {
        let size = self.leaf_size_max as u64;
        let long = self.leaf.len() as u64 * 4 > size;
        long && (u64::from(mix(record)) * (size / 2)) >> 32 < (record.len() + LENGTH_SIZE) as u64
    }
}

/// A number from all of a record's bytes; not for adversaries. Who chooses records that end every leaf early has leaves that are a quarter full; who
/// chooses some that end none has leaves that shift with every insertion, and checkpoints that are written whole.
fn mix(bytes: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = bytes.as_chunks::<8>();
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| step(sum, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    (step(sum, u64::from_le_bytes(last)).wrapping_mul(FACTOR) >> 32) as u32
}

/// Why a snapshot does not restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestoreError;

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the snapshot holds what this program did not write: use the program that wrote it")
    }
}

impl core::error::Error for RestoreError {}

/// Unpacks leaves into records, leaf by leaf.
#[derive(Clone, Default, Debug)]
pub struct SnapshotReader {
    /// A record that goes on in the next leaf.
    begun: Vec<u8>,
}

impl SnapshotReader {
    /// Hands each record of a leaf's payload to `take`, with its section. Leaves come in the order in which they were written.
    ///
    /// # Errors
    /// If no writer made this leaf, or what `take` says. Nothing is to be made of the records that were taken before.
    pub fn leaf(
        &mut self,
        payload: &[u8],
        mut take: impl FnMut(u8, &[u8]) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        let (section, mut rest) = payload.split_first().ok_or(RestoreError)?;
        while !rest.is_empty() {
            let (length, bytes) = rest.split_first_chunk::<LENGTH_SIZE>().ok_or(RestoreError)?;
            let length = u32::from_le_bytes(*length);
            let (part, others) = bytes.split_at_checked((length & !GOES_ON) as usize).ok_or(RestoreError)?;
            rest = others;
            if length & GOES_ON != 0 {
                if !rest.is_empty() || self.begun.len() + part.len() > RECORD_SIZE_MAX {
                    return Err(RestoreError);
                }
                self.begun.extend_from_slice(part);
            } else if self.begun.is_empty() {
                take(*section, part)?;
            } else {
                self.begun.extend_from_slice(part);
                take(*section, &self.begun)?;
                self.begun.clear();
            }
        }
        Ok(())
    }

    /// Whether no record is begun and not ended.
    pub fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests;
