//! Storage: the data file's format, and what recovery may conclude from it.
//!
//! Pure: bytes in, values out. Nothing here reads, writes, waits or knows the protocol. Nothing read is trusted without a
//! checksum and an identity (cluster, replica, slot, op): a sound block in the wrong place is as corrupt as noise.

pub mod checkpoint;
pub mod chunk;
pub mod grid;
pub mod journal;
pub mod layout;
pub mod recovery;
pub mod snapshot;
pub mod superblock;

pub use journal::{HeaderRead, PrepareRead, RingEntry};
pub use layout::{Layout, LayoutError};
pub use recovery::{Decision, SlotState, decide, is_superseded};
pub use superblock::{OpenError, Superblock, SuperblockError};

/// Whether every byte is zero. By blocks of words: it runs over whole sectors, most of which are, and a comparison of blocks
/// would be a call for each.
fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let union = |block: &[u8; 64]| block.as_chunks().0.iter().fold(0, |union, word| union | u64::from_le_bytes(*word));
    blocks.iter().all(|block| union(block) == 0) && rest.iter().all(|byte| *byte == 0)
}
