//! What a disk operation was for: its token's kind routes the completion, in one place.

use crate::process::Token;

/// The kinds of disk operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// A superblock copy was written. Value: the copy.
    SuperblockWrite = 1,
    /// A barrier over superblock copies.
    SuperblockBarrier = 2,
    /// A prepare was written. Value: its slot.
    PrepareWrite = 3,
    /// A sector of the header ring was written. Value: the sector's number in the ring.
    RingWrite = 4,
    /// A prepare was read to be executed or sent. Value: its op.
    PrepareRead = 5,
    /// Recovery read a superblock copy. Value: the copy.
    BootSuperblock = 6,
    /// Recovery read a part of the header ring. Value: its first sector, and above bit 32 how many.
    BootRing = 7,
    /// Recovery read a slot. Value: the slot.
    BootPrepare = 8,
    /// Recovery wrote a slot again as it was read. Value: the slot.
    BootWrite = 9,
    /// A barrier over what recovery wrote again.
    BootBarrier = 10,
    /// Recovery read the beginnings of blocks. Value: the first block, and above bit 32 how many.
    BootGrid = 11,
    /// A chunk was written. Value: its block.
    ChunkWrite = 12,
    /// A barrier over chunks. Value: its number.
    GridBarrier = 13,
    /// A chunk was read. Value: its block.
    ChunkRead = 14,
}

const KINDS: [Kind; 14] = [
    Kind::SuperblockWrite,
    Kind::SuperblockBarrier,
    Kind::PrepareWrite,
    Kind::RingWrite,
    Kind::PrepareRead,
    Kind::BootSuperblock,
    Kind::BootRing,
    Kind::BootPrepare,
    Kind::BootWrite,
    Kind::BootBarrier,
    Kind::BootGrid,
    Kind::ChunkWrite,
    Kind::GridBarrier,
    Kind::ChunkRead,
];

const VALUE_BITS: u32 = 56;

impl Kind {
    /// The token of an operation of this kind.
    pub(super) const fn token(self, value: u64) -> Token {
        assert!(value >> VALUE_BITS == 0, "a token's value has 56 bits");
        Token((self as u64) << VALUE_BITS | value)
    }

    /// Kind and value of a token that [`Kind::token`] made.
    pub(super) fn parse(token: Token) -> (Self, u64) {
        let kind = KINDS.into_iter().find(|kind| *kind as u64 == token.0 >> VALUE_BITS);
        (kind.expect("a completion carries a token of ours"), token.0 & ((1 << VALUE_BITS) - 1))
    }
}
