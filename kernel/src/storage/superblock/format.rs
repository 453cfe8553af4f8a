//! What `format` writes: the superblock of a replica that has seen nothing, and the root of the log.

use alloc::{vec, vec::Vec};

use super::{Identity, Superblock, Vouched};
use crate::{
    frame::SECTOR_SIZE,
    storage::{
        checkpoint::Checkpoint,
        journal::ring_entry,
        layout::{Layout, SUPERBLOCK_COPIES},
    },
    types::{Checksum, CommitIndex, Epoch, Op, View},
    wire::Header,
};

/// The writes, by offset, that make a data file of zeros a replica's. To be made durable before the replica starts.
/// `incarnation` is drawn at random; the layout and `clients_max`, how many sessions there may be, are the same on all replicas.
///
/// # Panics
/// If the layout or the replica is none, or if there is room for no session.
pub fn format(identity: Identity, incarnation: u128, layout: Layout, clients_max: u32) -> Vec<(u64, Vec<u8>)> {
    let Identity { cluster, replica, replica_count } = identity;
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
        layout,
        clients_max,
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
