//! A checkpoint: one chunk that reaches all others.
//!
//! ```text
//!   root    [format u32 = 1] [the header of the prepare at whose op the state was: 128 bytes] [addresses of tables]
//!   table   [addresses of leaves]
//!   leaf    [section] [records], see snapshot.rs; in the order of the tables
//! ```
//!
//! The root's address names all of it: replicas at the same checkpoint have the same root or, by that, know that they differ.
//!
//! Invariant: a checkpoint is the state at exactly one op (design rule 11); which ops have one follows from the op's number alone.

use alloc::vec::Vec;

use crate::{
    storage::chunk::{CHUNK_HEADER_SIZE, unsealed},
    types::Checksum,
    wire::{HEADER_SIZE, Header},
};

/// The section of the sessions.
pub const SECTION_SESSIONS: u8 = 1;

/// The section of the application's state.
pub const SECTION_APPLICATION: u8 = 2;

/// The section of the members.
pub const SECTION_MEMBERS: u8 = 3;

/// The version of a root's format.
const ROOT_FORMAT: u32 = 1;

/// The bytes of an address.
const ADDRESS_SIZE: usize = 16;

/// The bytes of a root before its addresses.
const ROOT_START: usize = 4 + HEADER_SIZE;

/// What a replica calls its state at one op: durable, or not to be spoken of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The header of the prepare that was executed last.
    pub header: Header,
    /// The root's address; zero for the state before any op, which has no chunk.
    pub root: Checksum,
}

/// What a root holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// The header of the prepare that was executed last.
    pub header: Header,
    /// The tables, in order.
    pub tables: Vec<Checksum>,
}

impl Root {
    /// What a root's payload says; none if no program of this version wrote it.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (format, rest) = payload.split_first_chunk::<4>()?;
        let (header, rest) = rest.split_at_checked(HEADER_SIZE)?;
        let header = Header::decode(header).ok().filter(Header::is_log_entry)?;
        let tables = addresses(rest)?;
        (u32::from_le_bytes(*format) == ROOT_FORMAT).then_some(Self { header, tables })
    }

    /// The chunk of a root, to be sealed; none if the tables are too many for one of `size_max` bytes.
    pub fn encode(header: &Header, tables: &[Checksum], size_max: u32) -> Option<Vec<u8>> {
        let mut bytes = unsealed();
        bytes.extend_from_slice(&ROOT_FORMAT.to_le_bytes());
        bytes.extend_from_slice(&header.encode());
        assert_eq!(bytes.len(), CHUNK_HEADER_SIZE + ROOT_START);
        push_addresses(tables, &mut bytes);
        (bytes.len() <= size_max as usize).then_some(bytes)
    }
}

/// The addresses that a table's payload holds, or none if it is no table.
pub fn addresses(payload: &[u8]) -> Option<Vec<Checksum>> {
    let (addresses, rest) = payload.as_chunks::<ADDRESS_SIZE>();
    rest.is_empty().then(|| addresses.iter().map(|bytes| Checksum(u128::from_le_bytes(*bytes))).collect())
}

/// The chunks of the tables that name these leaves, to be sealed, each at most `size_max` bytes.
pub fn encode_tables(leaves: &[Checksum], size_max: u32) -> Vec<Vec<u8>> {
    let per_table = (size_max as usize - CHUNK_HEADER_SIZE) / ADDRESS_SIZE;
    let table = |leaves: &[Checksum]| {
        let mut bytes = unsealed();
        push_addresses(leaves, &mut bytes);
        bytes
    };
    leaves.chunks(per_table).map(table).collect()
}

fn push_addresses(addresses: &[Checksum], bytes: &mut Vec<u8>) {
    for address in addresses {
        bytes.extend_from_slice(&address.0.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClusterId;

    #[test]
    fn a_root_and_its_tables_say_what_they_were_told() {
        let header = Header::root(ClusterId(7));
        let leaves: Vec<_> = (0..500).map(Checksum).collect();
        let tables = encode_tables(&leaves, 4096);
        let read: Vec<_> = tables.iter().flat_map(|bytes| addresses(&bytes[CHUNK_HEADER_SIZE..]).unwrap()).collect();
        assert_eq!((tables.len(), read), (2, leaves.clone()));
        assert!(tables.iter().all(|bytes| bytes.len() <= 4096));
        let root = Root::encode(&header, &leaves[..2], 4096).unwrap();
        assert_eq!(Root::decode(&root[CHUNK_HEADER_SIZE..]), Some(Root { header, tables: leaves[..2].to_vec() }));
        assert_eq!(Root::encode(&header, &leaves, 4096), None, "more tables than fit");
    }

    #[test]
    fn what_is_no_root_is_none() {
        let root = Root::encode(&Header::root(ClusterId(7)), &[Checksum(1)], 4096).unwrap();
        let payload = &root[CHUNK_HEADER_SIZE..];
        for length in (0..payload.len()).filter(|length| *length != ROOT_START) {
            assert_eq!(Root::decode(&payload[..length]), None);
        }
        let mut other = payload.to_vec();
        other[0] = 2;
        assert_eq!(Root::decode(&other), None);
        assert_eq!(addresses(&[0; 15]), None);
    }
}
