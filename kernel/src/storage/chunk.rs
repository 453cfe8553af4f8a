//! A chunk: the unit of the checkpoint grid, named by what it holds.
//!
//! ```text
//!     0  address   u128  BLAKE3-128 of bytes 16..32 + length: its name
//!    16  length    u32   of the payload
//!    20  kind      u8    1 root, 2 table, 3 leaf
//!    21  reserved  [u8; 11] = 0
//!    32  payload
//! ```
//!
//! The same bytes lie in a block of the grid, with zeros or anything behind them, and travel as a message's body. Two replicas that
//! hold the same have the same chunk under the same address, wherever it lies: so one repairs the other, and what did not change is
//! not written again.
//!
//! Invariant: what decodes, is whole; nothing that a chunk holds is looked at before its address is found to be true.

use alloc::vec::Vec;

use crate::{storage::is_zero, types::Checksum};

/// The bytes of a chunk before its payload.
pub const CHUNK_HEADER_SIZE: usize = 32;

/// What a chunk is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ChunkKind {
    /// A checkpoint's beginning: see checkpoint.rs.
    Root = 1,
    /// The addresses of leaves.
    Table = 2,
    /// Records: see snapshot.rs.
    Leaf = 3,
}

/// A whole chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk<'a> {
    /// Its name.
    pub address: Checksum,
    /// What it is for.
    pub kind: ChunkKind,
    /// What it holds.
    pub payload: &'a [u8],
    /// Header and payload together, in bytes.
    pub size: usize,
}

impl<'a> Chunk<'a> {
    /// The chunk at the start of `bytes`; none if it is not whole, or no chunk.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        Self::known(bytes).filter(|chunk| Checksum::of(&bytes[16..chunk.size]) == chunk.address)
    }

    /// The same of bytes whose address was found to be true before: they are not hashed again.
    pub fn known(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<CHUNK_HEADER_SIZE>()?;
        let payload = rest.get(..length_in(header))?;
        let kind = match header[20] {
            1 => ChunkKind::Root,
            2 => ChunkKind::Table,
            3 => ChunkKind::Leaf,
            _ => return None,
        };
        let size = CHUNK_HEADER_SIZE + payload.len();
        is_zero(&header[21..]).then_some(Self { address: address_in(header), kind, payload, size })
    }
}

/// Makes a chunk of `bytes`: the payload behind as many bytes as a chunk's header has. Returns its address.
///
/// # Panics
/// If `bytes` has no room for the header, or is 4 GiB long.
pub fn seal_chunk(kind: ChunkKind, bytes: &mut [u8]) -> Checksum {
    let length = u32::try_from(bytes.len() - CHUNK_HEADER_SIZE).expect("a chunk is shorter than 4 GiB");
    bytes[16..20].copy_from_slice(&length.to_le_bytes());
    bytes[20] = kind as u8;
    bytes[21..CHUNK_HEADER_SIZE].fill(0);
    let address = Checksum::of(&bytes[16..]);
    bytes[..16].copy_from_slice(&address.0.to_le_bytes());
    address
}

/// What the beginning of a block claims to be the address of its chunk. Whether it is, only the whole chunk shows.
pub fn claimed_address(bytes: &[u8]) -> Option<Checksum> {
    let header = bytes.first_chunk::<CHUNK_HEADER_SIZE>()?;
    (!is_zero(header)).then(|| address_in(header))
}

fn address_in(header: &[u8; CHUNK_HEADER_SIZE]) -> Checksum {
    Checksum(u128::from_le_bytes(*header.first_chunk().expect("a header begins with the address")))
}

fn length_in(header: &[u8; CHUNK_HEADER_SIZE]) -> usize {
    u32::from_le_bytes([header[16], header[17], header[18], header[19]]) as usize
}

/// Room for a chunk's header, to be filled behind and given to [`seal_chunk`].
pub fn unsealed() -> Vec<u8> {
    alloc::vec![0; CHUNK_HEADER_SIZE]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(payload: &[u8]) -> (Checksum, Vec<u8>) {
        let mut bytes = unsealed();
        bytes.extend_from_slice(payload);
        (seal_chunk(ChunkKind::Leaf, &mut bytes), bytes)
    }

    #[test]
    fn what_is_sealed_parses_whatever_lies_behind_it() {
        let (address, mut bytes) = chunk(b"payload");
        bytes.extend_from_slice(&[0xff; 100]);
        let parsed = Chunk::parse(&bytes).unwrap();
        assert_eq!((parsed.address, parsed.payload, parsed.size), (address, &b"payload"[..], 39));
        assert_eq!(claimed_address(&bytes), Some(address));
        assert_eq!(claimed_address(&[0; 4096]), None);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_found() {
        let (_, bytes) = chunk(b"payload");
        for length in 0..bytes.len() {
            assert_eq!(Chunk::parse(&bytes[..length]), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Chunk::parse(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_kind_is_part_of_the_name() {
        let mut table = unsealed();
        table.extend_from_slice(b"payload");
        assert_ne!(seal_chunk(ChunkKind::Table, &mut table), chunk(b"payload").0);
    }
}
