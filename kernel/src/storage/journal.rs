//! The journal's two rings: what a slot's bytes say, each ring for itself.
//!
//! Invariant: `Valid` means whole, undamaged, of this cluster and in its own slot, and nothing less. What the two rings
//! say *together* is decided in recovery.rs. Which replica wrote an entry cannot be told: a prepare is the same bytes on
//! every replica, and a file taken from another is caught by its superblock.

use alloc::vec::Vec;

use crate::{
    frame::SECTOR_SIZE,
    storage::{is_zero, layout::Layout},
    types::ClusterId,
    wire::{HEADER_SIZE, Header, WireError, header::checksum_of_body},
};

pub use crate::storage::layout::HEADERS_PER_SECTOR;

/// What an entry of the header ring says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderRead {
    /// Never written: zeros.
    Empty,
    /// Not a header of a log, or unreadable.
    Corrupt,
    /// A sound header of another slot or cluster.
    Misdirected,
    /// The header of a prepare of this slot.
    Valid(Header),
}

/// What a slot of the prepare ring says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrepareRead {
    /// Never written: its first sector is zeros.
    Empty,
    /// Not a whole prepare, or unreadable.
    Corrupt,
    /// What no write of a prepare to this slot leaves, torn or whole: a sound header of another slot or cluster, whatever its
    /// body, or a sector of the header ring.
    Misdirected,
    /// A whole prepare of this slot.
    Valid(Header),
}

/// What an entry of the header ring is to say.
///
/// Entries that share a sector are written together. One that could not be read is written as [`RingEntry::Unreadable`]
/// until its slot is rewritten whole: were it written empty, the next recovery would take "unknown" for "never had".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingEntry {
    /// Never written.
    Empty,
    /// The header of the prepare that is durable in the slot.
    Header(Header),
    /// Damaged, and to be found damaged again.
    Unreadable,
}

impl From<HeaderRead> for RingEntry {
    fn from(read: HeaderRead) -> Self {
        match read {
            HeaderRead::Empty => Self::Empty,
            HeaderRead::Corrupt | HeaderRead::Misdirected => Self::Unreadable,
            HeaderRead::Valid(header) => Self::Header(header),
        }
    }
}

/// The bytes of a header in the header ring: each of its bits turned over.
///
/// So an entry of the ring is never taken for the beginning of a prepare, nor a prepare's header for an entry, wherever a write
/// that went astray puts them; and an entry is never zeros, since a header is never ones.
pub fn ring_entry(header: &[u8; HEADER_SIZE]) -> [u8; HEADER_SIZE] {
    header.map(|byte| !byte)
}

/// The header in an entry of the header ring, whatever its slot.
fn decode_entry(bytes: &[u8]) -> Result<Header, WireError> {
    let entry = bytes.first_chunk().ok_or(WireError::Short)?;
    Header::decode(&ring_entry(entry))
}

/// Reads the header ring's entry of `slot`. Call what could not be read [`HeaderRead::Corrupt`].
///
/// # Panics
/// If `bytes` is not exactly an entry.
pub fn parse_header_entry(bytes: &[u8], slot: u32, layout: &Layout, cluster: ClusterId) -> HeaderRead {
    assert!(bytes.len() == HEADER_SIZE, "an entry of the header ring is a header");
    if is_zero(bytes) {
        return HeaderRead::Empty;
    }
    match decode_entry(bytes) {
        Ok(header) => match place(&header, slot, layout, cluster) {
            Place::Nowhere => HeaderRead::Corrupt,
            Place::Elsewhere => HeaderRead::Misdirected,
            Place::Here => HeaderRead::Valid(header),
        },
        Err(_) => HeaderRead::Corrupt,
    }
}

/// Reads the prepare ring's `slot`, of which `bytes` are a beginning: at least the whole prepare, or it is corrupt. Call
/// what could not be read [`PrepareRead::Corrupt`].
///
/// # Panics
/// If `bytes` is less than a sector.
pub fn parse_prepare(bytes: &[u8], slot: u32, layout: &Layout, cluster: ClusterId) -> PrepareRead {
    assert!(bytes.len() >= SECTOR_SIZE, "a slot of the prepare ring is read by sectors");
    if is_zero(&bytes[..SECTOR_SIZE]) {
        return PrepareRead::Empty;
    }
    if let Ok(header) = Header::decode(bytes) {
        match place(&header, slot, layout, cluster) {
            Place::Nowhere => {}
            Place::Elsewhere => return PrepareRead::Misdirected,
            // What lies behind the prepare, in its last sector or beyond, is no part of it.
            Place::Here => match bytes.get(HEADER_SIZE..header.size as usize) {
                Some(body) if checksum_of_body(body) == header.checksum_body => return PrepareRead::Valid(header),
                _ => {}
            },
        }
    }
    if is_ring_sector(bytes, layout) { PrepareRead::Misdirected } else { PrepareRead::Corrupt }
}

/// Whether this is a sector of the header ring: one of its entries is sound, of whatever cluster.
fn is_ring_sector(bytes: &[u8], layout: &Layout) -> bool {
    let entries = bytes[..SECTOR_SIZE].chunks_exact(HEADER_SIZE);
    (0..).zip(entries).any(|(entry, bytes)| {
        let header = decode_entry(bytes);
        header.is_ok_and(|header| header.is_log_entry() && layout.slot(header.op) % HEADERS_PER_SECTOR == entry)
    })
}

/// The header ring as it is to be on the disk, entry by entry.
///
/// Its bytes are kept, not its headers: an entry is encoded once, and written again whenever a neighbour is.
#[derive(Clone, Default)]
pub struct HeaderRing {
    /// Whole sectors, as many as were reached so far. Behind them the ring is empty.
    bytes: Vec<u8>,
}

impl HeaderRing {
    /// Sets what the entry of `slot` is to say.
    ///
    /// # Panics
    /// If a header is not of its slot.
    pub fn set(&mut self, slot: u32, entry: &RingEntry) {
        let start = slot as usize * HEADER_SIZE;
        if self.bytes.len() <= start {
            self.bytes.resize((start + HEADER_SIZE).next_multiple_of(SECTOR_SIZE), 0);
        }
        let bytes = match entry {
            RingEntry::Empty => [0; HEADER_SIZE],
            RingEntry::Header(header) => {
                // A ring has whole sectors, so that the place in the sector follows from the op alone.
                let in_sector = u64::from(HEADERS_PER_SECTOR);
                assert!(header.op.0 % in_sector == u64::from(slot) % in_sector, "a header is written to its own slot");
                ring_entry(&header.encode())
            }
            RingEntry::Unreadable => UNREADABLE,
        };
        self.bytes[start..start + HEADER_SIZE].copy_from_slice(&bytes);
    }

    /// The bytes of a sector up to its last entry, which is at least the first; zeros follow.
    ///
    /// # Panics
    /// If nothing was ever set there.
    pub fn sector(&self, number: u32) -> &[u8] {
        let (entries, _) = self.bytes[number as usize * SECTOR_SIZE..][..SECTOR_SIZE].as_chunks::<HEADER_SIZE>();
        let last = entries.iter().rposition(|entry| !is_zero(entry)).unwrap_or(0);
        entries[..=last].as_flattened()
    }
}

/// An entry that no header has: its checksum is wrong.
const UNREADABLE: [u8; HEADER_SIZE] = [0xa5; HEADER_SIZE];

/// Where a sound header belongs.
enum Place {
    Nowhere,
    Elsewhere,
    Here,
}

fn place(header: &Header, slot: u32, layout: &Layout, cluster: ClusterId) -> Place {
    if header.cluster != cluster {
        return Place::Elsewhere;
    }
    if !header.is_log_entry() || header.size > layout.message_size_max {
        return Place::Nowhere;
    }
    if layout.slot(header.op) == slot { Place::Here } else { Place::Elsewhere }
}

#[cfg(test)]
mod tests;
