//! The zones of the data file: where everything lies, as a function of four numbers.
//!
//! ```text
//!   0                              superblock, copy 0            8192 bytes each, see superblock.rs
//!   8192                           superblock, copy 1
//!   16384                          superblock, copy 2
//!   24576                          superblock, copy 3
//!   32768                          header ring                   slot_count entries of 128 bytes, 32 to a sector
//!   32768 + slot_count × 128       prepare ring                  slot_count slots of message_size_max bytes
//!   grid_offset()                  checkpoint grid               block_count blocks of block_size bytes
//!   size()                         the end
//! ```
//!
//! ```text
//!   header ring                               prepare ring
//!   sector 0    sector 1    ...               slot 0          slot 1          ...
//!   [0|1|..|31] [32|33|..|63]                 [header|body|0] [header|body|0]
//!    |                                         |
//!    the header of the prepare in slot 0,      a prepare's frame, zeros to a sector; behind that, anything
//!    each bit turned over
//! ```
//!
//! Op `n` has slot `n mod slot_count` in both rings. A block of the grid holds one chunk (see chunk.rs), whichever it is.
//! Invariant: every zone, entry ring, slot and block begins at a sector. The file has one size for its whole life.

use core::fmt;

use crate::{frame::SECTOR_SIZE, types::Op, wire::HEADER_SIZE};

/// The copies of the superblock.
pub const SUPERBLOCK_COPIES: u8 = 4;

/// The size of each, in bytes.
pub const SUPERBLOCK_COPY_SIZE: u32 = 8192;

/// The entries of the header ring in one sector.
pub const HEADERS_PER_SECTOR: u32 = (SECTOR_SIZE / HEADER_SIZE) as u32;

/// The fewest blocks of a grid: the root, a table, a leaf of the sessions and one of the state, of one checkpoint and of the next.
pub const BLOCKS_MIN: u32 = 8;

/// The numbers that lay out a data file. Chosen once, by `format`, and kept in the superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// How many prepares the journal holds: a positive multiple of [`HEADERS_PER_SECTOR`].
    pub slot_count: u32,
    /// The largest message, header included, in bytes: a positive multiple of the sector.
    pub message_size_max: u32,
    /// How many chunks the checkpoint grid holds, at least [`BLOCKS_MIN`]: those of the durable checkpoint, of its successor, and of
    /// any that a majority has not vouched for yet or another replica is fetching.
    pub block_count: u32,
    /// The size of a block, in bytes: a positive multiple of the sector, and no more than a message.
    pub block_size: u32,
}

/// Why numbers are not a layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutError {
    /// `slot_count` is zero or not a multiple of [`HEADERS_PER_SECTOR`].
    SlotCount(u32),
    /// `message_size_max` is zero, 2 GiB or more, or not a multiple of the sector.
    MessageSizeMax(u32),
    /// `block_count` is below [`BLOCKS_MIN`].
    BlockCount(u32),
    /// `block_size` is zero, not a multiple of the sector, or above `message_size_max`.
    BlockSize(u32),
    /// The whole would be larger than a file can be.
    Size,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotCount(found) => {
                write!(f, "a journal of {found} slots: choose a positive multiple of {HEADERS_PER_SECTOR}")
            }
            Self::MessageSizeMax(found) => {
                write!(f, "messages of up to {found} bytes: choose a positive multiple of {SECTOR_SIZE} below 2 GiB")
            }
            Self::BlockCount(found) => write!(f, "a grid of {found} blocks: choose {BLOCKS_MIN} or more"),
            Self::BlockSize(found) => {
                write!(
                    f,
                    "blocks of {found} bytes: choose a positive multiple of {SECTOR_SIZE}, no more than a message"
                )
            }
            Self::Size => write!(f, "the data file would be larger than a file can be: choose smaller numbers"),
        }
    }
}

impl core::error::Error for LayoutError {}

impl Layout {
    /// This layout, if it is one.
    pub const fn validated(self) -> Result<Self, LayoutError> {
        if self.slot_count == 0 || !self.slot_count.is_multiple_of(HEADERS_PER_SECTOR) {
            return Err(LayoutError::SlotCount(self.slot_count));
        }
        // A frame is shorter than 2 GiB.
        let too_large = self.message_size_max > i32::MAX as u32;
        if self.message_size_max == 0 || too_large || !self.message_size_max.is_multiple_of(SECTOR_SIZE as u32) {
            return Err(LayoutError::MessageSizeMax(self.message_size_max));
        }
        if self.block_count < BLOCKS_MIN {
            return Err(LayoutError::BlockCount(self.block_count));
        }
        if self.block_size == 0
            || !self.block_size.is_multiple_of(SECTOR_SIZE as u32)
            || self.block_size > self.message_size_max
        {
            return Err(LayoutError::BlockSize(self.block_size));
        }
        let rings = self.slot_count as u128 * (self.message_size_max as u128 + HEADER_SIZE as u128);
        let grid = self.block_count as u128 * self.block_size as u128;
        if self.header_ring_offset() as u128 + rings + grid > i64::MAX as u128 {
            return Err(LayoutError::Size);
        }
        Ok(self)
    }

    /// The slot of `op` in both rings.
    pub const fn slot(&self, op: Op) -> u32 {
        (op.0 % self.slot_count as u64) as u32
    }

    /// Where copy `copy` of the superblock begins.
    ///
    /// # Panics
    /// If there is no such copy.
    pub const fn superblock_offset(&self, copy: u8) -> u64 {
        assert!(copy < SUPERBLOCK_COPIES, "the superblock has four copies");
        copy as u64 * SUPERBLOCK_COPY_SIZE as u64
    }

    /// Where the header ring begins.
    pub const fn header_ring_offset(&self) -> u64 {
        SUPERBLOCK_COPIES as u64 * SUPERBLOCK_COPY_SIZE as u64
    }

    /// The size of the header ring, in bytes.
    pub const fn header_ring_size(&self) -> u64 {
        self.slot_count as u64 * HEADER_SIZE as u64
    }

    /// The first slot of the header ring's sector that `slot` lies in.
    pub const fn header_sector_slot(&self, slot: u32) -> u32 {
        slot - slot % HEADERS_PER_SECTOR
    }

    /// Where the header ring's sector that `slot` lies in begins.
    ///
    /// # Panics
    /// If there is no such slot.
    pub const fn header_sector_offset(&self, slot: u32) -> u64 {
        assert!(slot < self.slot_count, "a slot lies in its ring");
        self.header_ring_offset() + self.header_sector_slot(slot) as u64 * HEADER_SIZE as u64
    }

    /// Where the prepare ring's `slot` begins.
    ///
    /// # Panics
    /// If there is no such slot.
    pub const fn prepare_offset(&self, slot: u32) -> u64 {
        assert!(slot < self.slot_count, "a slot lies in its ring");
        self.header_ring_offset() + self.header_ring_size() + slot as u64 * self.message_size_max as u64
    }

    /// Where the checkpoint grid begins.
    pub const fn grid_offset(&self) -> u64 {
        self.header_ring_offset() + self.header_ring_size() + self.slot_count as u64 * self.message_size_max as u64
    }

    /// Where a block of the grid begins.
    ///
    /// # Panics
    /// If there is no such block.
    pub const fn block_offset(&self, block: u32) -> u64 {
        assert!(block < self.block_count, "a block lies in its grid");
        self.grid_offset() + block as u64 * self.block_size as u64
    }

    /// The longest chunk, in bytes: one fits a block, and a message's body.
    pub const fn chunk_size_max(&self) -> u32 {
        let body = self.message_size_max - HEADER_SIZE as u32;
        if self.block_size < body { self.block_size } else { body }
    }

    /// The size of the file, in bytes.
    pub const fn size(&self) -> u64 {
        self.grid_offset() + self.block_count as u64 * self.block_size as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 8, block_size: 4096 };

    #[test]
    fn zones_follow_each_other_without_gap_or_overlap() {
        assert_eq!(LAYOUT.superblock_offset(0), 0);
        assert_eq!(LAYOUT.superblock_offset(3) + SUPERBLOCK_COPY_SIZE as u64, LAYOUT.header_ring_offset());
        assert_eq!(LAYOUT.header_sector_offset(0), LAYOUT.header_ring_offset());
        assert_eq!(LAYOUT.header_ring_offset() + LAYOUT.header_ring_size(), LAYOUT.prepare_offset(0));
        for slot in 1..LAYOUT.slot_count {
            assert_eq!(LAYOUT.prepare_offset(slot), LAYOUT.prepare_offset(slot - 1) + 8192);
        }
        assert_eq!(LAYOUT.prepare_offset(63) + 8192, LAYOUT.block_offset(0));
        assert_eq!(LAYOUT.block_offset(7) + 4096, LAYOUT.size());
    }

    #[test]
    fn every_offset_is_a_sector_and_every_slot_lies_in_its_header_sector() {
        for slot in 0..LAYOUT.slot_count {
            assert!(LAYOUT.header_sector_offset(slot).is_multiple_of(SECTOR_SIZE as u64));
            assert!(LAYOUT.prepare_offset(slot).is_multiple_of(SECTOR_SIZE as u64));
            let entry = LAYOUT.header_ring_offset() + u64::from(slot) * HEADER_SIZE as u64;
            let sector = LAYOUT.header_sector_offset(slot);
            assert!(sector <= entry && entry + HEADER_SIZE as u64 <= sector + SECTOR_SIZE as u64);
            assert_eq!(LAYOUT.header_sector_slot(slot), if slot < 32 { 0 } else { 32 });
        }
    }

    #[test]
    fn ops_wrap_around_the_ring() {
        assert_eq!(LAYOUT.slot(Op(0)), 0);
        assert_eq!(LAYOUT.slot(Op(63)), 63);
        assert_eq!(LAYOUT.slot(Op(64)), 0);
        assert_eq!(LAYOUT.slot(Op(u64::MAX)), 63);
    }

    #[test]
    fn the_largest_layout_does_not_overflow() {
        let layout = Layout {
            slot_count: (1 << 30) - 32,
            message_size_max: (1 << 31) - 4096,
            block_count: (1 << 30) - 1,
            block_size: (1 << 31) - 4096,
        };
        assert_eq!(layout.validated(), Ok(layout));
        assert_eq!(layout.size(), layout.block_offset(layout.block_count - 1) + u64::from(layout.block_size));
        let larger = Layout { slot_count: u32::MAX - 31, block_count: u32::MAX, ..layout };
        assert_eq!(larger.validated(), Err(LayoutError::Size));
        let longer = Layout { message_size_max: 1 << 31, ..layout };
        assert_eq!(longer.validated(), Err(LayoutError::MessageSizeMax(1 << 31)), "longer than a frame may be");
    }

    #[test]
    fn what_is_no_multiple_is_no_layout() {
        for slot_count in [0, 1, 31, 33] {
            let error = Layout { slot_count, ..LAYOUT }.validated();
            assert_eq!(error, Err(LayoutError::SlotCount(slot_count)));
        }
        for message_size_max in [0, 4095, 4097] {
            let error = Layout { message_size_max, ..LAYOUT }.validated();
            assert_eq!(error, Err(LayoutError::MessageSizeMax(message_size_max)));
        }
        assert_eq!(Layout { block_count: 7, ..LAYOUT }.validated(), Err(LayoutError::BlockCount(7)));
        for block_size in [0, 4095, 4097, 12288] {
            assert_eq!(Layout { block_size, ..LAYOUT }.validated(), Err(LayoutError::BlockSize(block_size)));
        }
    }
}
