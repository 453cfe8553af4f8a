//! The first phase's lasting faults: what a disk loses, puts elsewhere or lets rot, and says nothing of.

use chronon::{
    frame::SECTOR_SIZE,
    storage::{
        chunk::CHUNK_HEADER_SIZE,
        layout::{Layout, SUPERBLOCK_COPIES, SUPERBLOCK_COPY_SIZE},
        superblock::Superblock,
    },
    types::NodeId,
    wire::header::HEADER_SIZE,
};

use super::Simulation;
use crate::{
    disk::SimDisk,
    schedule::{DamagePlace, Fault, Ring},
    workload::Workload,
};

impl<W: Workload> Simulation<W> {
    pub(super) fn harm(&mut self, fault: &Fault) {
        let layout = self.layout();
        match fault {
            Fault::Damage { replica, place, nth, unreadable } => self.damage(*replica, *place, *nth, *unreadable),
            Fault::LatentError { replica, ring } => {
                let (offset, length) = extent(&layout, *ring);
                self.disk_of(*replica).spoil_next_read_in(offset, length);
            }
            Fault::LoseWrite { replica, ring } => {
                let (offset, length) = extent(&layout, *ring);
                self.disk_of(*replica).lose_next_write_in(offset, length);
            }
            Fault::MisdirectWrite { replica, ring, nth } => {
                let (offset, length) = extent(&layout, *ring);
                let disk = self.disk_of(*replica);
                let first_new = written_slots(disk, &layout).last().map_or(0, |newest| newest + 1);
                let slot = first_new.saturating_sub(*nth).clamp(1, layout.slot_count - 1);
                disk.misdirect_next_write_in(offset, length, layout.prepare_offset(slot));
            }
            Fault::DamageSuperblock { replica, copy, unreadable } => {
                self.damage_superblock(*replica, *copy, *unreadable);
            }
            Fault::Wipe { replica, lost_ns } => self.lose_disk(*replica, *lost_ns),
            Fault::Revenant { replica, for_ns } => self.start_from_lost_disk(*replica, *for_ns),
            _ => unreachable!("every other fault was dealt with before"),
        }
    }

    fn layout(&self) -> Layout {
        self.schedule.cluster.layout()
    }

    fn disk_of(&mut self, replica: u8) -> &mut SimDisk {
        self.world.disk_mut(NodeId(u32::from(replica)))
    }

    /// Damages the journal of one replica, at the `nth` written slot from the newest.
    fn damage(&mut self, replica: u8, place: DamagePlace, nth: u32, unreadable: bool) {
        let layout = self.layout();
        let disk = self.disk_of(replica);
        if place == DamagePlace::Chunk {
            return damage_chunk(disk, &layout, nth, unreadable);
        }
        let slots = written_slots(disk, &layout);
        // The root is no op of anybody's, and in no other replica's gift.
        let slots = &slots[slots.iter().take_while(|slot| **slot == 0).count()..];
        let Some(slot) = slots.len().checked_sub(1 + nth as usize).map(|index| slots[index]) else { return };
        let within = if unreadable { 0 } else { u64::from(slot % 32) * HEADER_SIZE as u64 };
        if place == DamagePlace::Body {
            let within = if unreadable { SECTOR_SIZE } else { HEADER_SIZE } as u64;
            spoil(disk, layout.prepare_offset(slot) + within, SECTOR_SIZE as u64, unreadable);
        }
        if matches!(place, DamagePlace::Prepare | DamagePlace::Both) {
            spoil(disk, layout.prepare_offset(slot), SECTOR_SIZE as u64, unreadable);
        }
        if matches!(place, DamagePlace::Headers | DamagePlace::Both) {
            spoil(disk, layout.header_sector_offset(slot) + within, SECTOR_SIZE as u64, unreadable);
        }
    }

    fn damage_superblock(&mut self, replica: u8, copy: u8, unreadable: bool) {
        let layout = self.layout();
        if self.world.is_up(NodeId(u32::from(replica))) {
            return;
        }
        let disk = self.disk_of(replica);
        let mut bytes = Vec::new();
        let mut sound = |copy: u8| {
            let certain = disk.durable_read(layout.superblock_offset(copy), SUPERBLOCK_COPY_SIZE.into(), &mut bytes);
            Superblock::decode(&bytes, copy).ok().filter(|_| certain)
        };
        let first = sound(0);
        if first.is_some() && (1..SUPERBLOCK_COPIES).all(|copy| sound(copy) == first) {
            spoil(disk, layout.superblock_offset(copy), SUPERBLOCK_COPY_SIZE.into(), unreadable);
        }
    }
}

/// Damages a block of the grid, at the `nth` written one from the last. Behind the chunk's name, so that it still claims to hold it.
fn damage_chunk(disk: &mut SimDisk, layout: &Layout, nth: u32, unreadable: bool) {
    let sector = SECTOR_SIZE as u64;
    let (first, end) = (layout.grid_offset() / sector, layout.size() / sector);
    let per_block = u64::from(layout.block_size) / sector;
    let blocks: Vec<u64> = disk.written_sectors(first, end).filter(|found| (found - first) % per_block == 0).collect();
    let Some(block) = blocks.len().checked_sub(1 + nth as usize).map(|index| blocks[index] * sector) else { return };
    let within = if unreadable { 0 } else { CHUNK_HEADER_SIZE as u64 };
    spoil(disk, block + within, sector, unreadable);
}

/// Makes `length` bytes at `offset` unreadable, or some of the first of them read as something else.
fn spoil(disk: &mut SimDisk, offset: u64, length: u64, unreadable: bool) {
    if unreadable {
        disk.make_unreadable(offset, length);
    } else {
        disk.corrupt(offset, &[0x5A; 64]);
    }
}

/// Where a ring lies, and its length.
fn extent(layout: &Layout, ring: Ring) -> (u64, u64) {
    let prepares = layout.prepare_offset(0);
    match ring {
        Ring::Prepares => (prepares, layout.grid_offset() - prepares),
        Ring::Headers => (layout.header_ring_offset(), layout.header_ring_size()),
        Ring::Chunks => (layout.grid_offset(), layout.size() - layout.grid_offset()),
    }
}

/// The slots of the prepare ring that hold anything for certain, the lowest first.
fn written_slots(disk: &SimDisk, layout: &Layout) -> Vec<u32> {
    let sector = SECTOR_SIZE as u64;
    let per_slot = u64::from(layout.message_size_max) / sector;
    let (first, end) = (layout.prepare_offset(0) / sector, layout.grid_offset() / sector);
    let written = disk.written_sectors(first, end).filter(|found| (found - first) % per_slot == 0);
    written.map(|found| ((found - first) / per_slot) as u32).collect()
}
