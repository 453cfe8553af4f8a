//! What `format` writes: the superblock of a replica that has seen nothing, and the root of the log.

use alloc::{vec, vec::Vec};
use core::fmt;

use super::{Identity, Recovery, Superblock, Vouched};
use crate::{
    frame::SECTOR_SIZE,
    storage::{
        checkpoint::Checkpoint,
        journal::ring_entry,
        layout::{Layout, SUPERBLOCK_COPIES},
    },
    types::{Checksum, CommitIndex, Epoch, Op, View},
    wire::{Header, members::Members},
};

/// The writes, by offset, that make a data file of zeros a replica's. To be made durable before the replica starts.
/// `incarnation` is drawn at random; the layout and `clients_max`, how many sessions there may be, are the same on all replicas.
///
/// # Panics
/// If the layout or the replica is none, or if there is room for no session.
pub fn format(identity: Identity, incarnation: u128, layout: Layout, clients_max: u32) -> Vec<(u64, Vec<u8>)> {
    write(identity, incarnation, layout, clients_max, Recovery::default())
}

/// As [`format`], for a replica that takes the place of one that was lost: what that one promised nobody knows any more, so that this
/// one gives nobody its word before it has recovered through the others (design rule 5).
///
/// # Errors
/// If there are too few others to recover through.
///
/// # Panics
/// As [`format`].
pub fn format_lost(
    identity: Identity,
    incarnation: u128,
    layout: Layout,
    clients_max: u32,
) -> Result<Vec<(u64, Vec<u8>)>, RecoverError> {
    if identity.replica_count < REPLICAS_RECOVERING {
        return Err(RecoverError { replica_count: identity.replica_count });
    }
    let recovery = Recovery { is_pending: true, ..Recovery::default() };
    Ok(write(identity, incarnation, layout, clients_max, recovery))
}

/// The smallest cluster of which the others, without one replica, are a majority.
const REPLICAS_RECOVERING: u8 = 3;

/// Why a lost replica cannot be recovered: without it the others are no majority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoverError {
    /// How many replicas the cluster has.
    pub replica_count: u8,
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.replica_count;
        if count == 1 {
            return write!(f, "a single replica has no others to be recovered from: restore its data file from a copy");
        }
        write!(
            f,
            "of {count} replicas the others are no majority without the lost one, so that nobody can say what it acknowledged: \
             restore its data file from a copy"
        )
    }
}

impl core::error::Error for RecoverError {}

fn write(
    identity: Identity,
    incarnation: u128,
    layout: Layout,
    clients_max: u32,
    recovery: Recovery,
) -> Vec<(u64, Vec<u8>)> {
    let Identity { cluster, replica, replica_count, application } = identity;
    let root = Header::root(cluster);
    let superblock = Superblock {
        sequence: 1,
        parent: Checksum(0),
        cluster,
        replica,
        replica_count,
        incarnation,
        epoch: Epoch(0),
        view: View(0),
        log_view: View(0),
        commit: CommitIndex::ROOT,
        head: Op::ROOT,
        suffix: vec![root],
        checkpoint: Checkpoint { header: root, root: Checksum(0) },
        vouched: Vouched::default(),
        members: Members::default(),
        recovery,
        layout,
        clients_max,
        application,
    };
    let mut writes: Vec<_> =
        (0..SUPERBLOCK_COPIES).map(|copy| (layout.superblock_offset(copy), superblock.encode(copy))).collect();
    // The root's entry in the header ring, and its prepare, which is its header and nothing else.
    let prepare = root.encode();
    for (offset, bytes) in [(layout.header_sector_offset(0), ring_entry(&prepare)), (layout.prepare_offset(0), prepare)]
    {
        let mut sector = bytes.to_vec();
        sector.resize(SECTOR_SIZE, 0);
        writes.push((offset, sector));
    }
    writes
}
