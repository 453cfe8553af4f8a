//! Where the chunks of a checkpoint lie.

use chronon::{
    storage::{
        checkpoint::{Root, addresses},
        chunk::{Chunk, ChunkKind},
    },
    types::Checksum,
    vsr::Vsr,
};
use chronon_sim::disk::SimDisk;

/// Whether each chunk of the checkpoint with this root lies, durable, in a block that the replica relies on.
pub(crate) fn is_whole(vsr: &Vsr, disk: &SimDisk, root: Checksum) -> bool {
    let layout = vsr.config().layout;
    let (mut wanted, mut bytes) = (vec![root], Vec::new());
    while let Some(address) = wanted.pop() {
        let mut lies_in = |block| {
            let is_durable = disk.durable_read(layout.block_offset(block), layout.block_size.into(), &mut bytes);
            is_durable && Chunk::parse(&bytes).is_some_and(|chunk| chunk.address == address)
        };
        if !vsr.checkpoints().blocks_of(address).any(&mut lies_in) {
            return false;
        }
        let Chunk { kind, payload, .. } = Chunk::parse(&bytes).expect("it was found");
        match kind {
            ChunkKind::Root => wanted.extend(Root::decode(payload).expect("a root is one").tables),
            ChunkKind::Table => wanted.extend(addresses(payload).expect("a table is one")),
            ChunkKind::Leaf => {}
        }
    }
    true
}
