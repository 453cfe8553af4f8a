//! A chunk that does not hold what its address says is fetched from another replica; a single replica has nobody to ask, and says so.

use chronon::{frame::SECTOR_SIZE, storage::layout::Layout, types::NodeId};

use crate::script::{PATIENCE_MS, Script, Setup, puts};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 64, block_size: 8192 };

/// Damages what lies in every block of a replica's grid, behind the chunk's own header or in it.
fn damage(script: &mut Script, replica: u8, within: u64) -> u32 {
    let disk = script.world.disk_mut(NodeId(u32::from(replica)));
    let mut damaged = 0;
    for block in 0..LAYOUT.block_count {
        let offset = LAYOUT.block_offset(block);
        let first = offset / SECTOR_SIZE as u64;
        if disk.written_sectors(first, first + 1).next().is_some() {
            disk.corrupt(offset + within, &[0x5a; 8]);
            damaged += 1;
        }
    }
    damaged
}

#[test]
fn a_damaged_chunk_is_repaired() {
    for within in [0, 40] {
        let mut script = Script::new(Setup { layout: LAYOUT, ..Setup::default() });
        script.commit(120).converge_all();
        let primary = script.primary();
        for replica in [primary, script.after(primary, 1)] {
            script.kill(replica);
            assert!(damage(&mut script, replica, within) >= 3);
            script.restart(replica).converge_all();
        }
        assert!(script.probe("chunk_fetched") >= 6);
        assert_eq!(script.probe("chunk_lost") > 0, within > 0, "a block whose claim is damaged claims nothing");
        script.commit(120).converge_all();
        script.check();
    }
}

#[test]
fn a_single_replica_says_that_nobody_can_repair_it() {
    let mut script = Script::new(Setup { replicas: 1, layout: LAYOUT, ..Setup::default() });
    script.commit(60).converge_all();
    script.kill(0);
    damage(&mut script, 0, 40);
    script.restart(0).run_ms(1_000);
    let reason = script.world.halted(NodeId(0)).expect("it cannot go on");
    assert!(reason.contains("nobody to repair it from"), "{reason}");
}

/// Until the grid is surveyed, whatever a block claims to hold may be needed, and a full one has no block to repair into.
#[test]
fn a_chunk_of_a_full_grid_is_repaired_when_room_is_known() {
    let layout = Layout { block_count: 16, block_size: 4096, ..LAYOUT };
    let mut script = Script::new(Setup { layout, ..Setup::default() });
    let primary = script.primary();
    let backup = script.after(primary, 1);
    script.client(puts(1_000, 1_500));
    let full = |script: &Script| script.vsr(backup).checkpoints().blocks_used() == layout.block_count as usize;
    let mut is_full = false;
    while !is_full {
        script.until("every block is used", PATIENCE_MS, full).run_ms(1);
        is_full = full(&script);
    }
    script.kill(backup);
    let mut lost = 0;
    for (from, to) in (0..layout.block_count).map(|block| (block, (block + 1) % layout.block_count)) {
        let mut damaged = script.fork();
        // A write that went astray: both blocks claim the same chunk, and neither is free.
        let disk = damaged.world.disk_mut(NodeId(u32::from(backup)));
        disk.misdirect(layout.block_offset(from), layout.block_offset(to), u64::from(layout.block_size));
        damaged.restart(backup).converge_all();
        lost += u32::from(damaged.probe("chunk_fetched") > 0);
        damaged.check();
    }
    assert!(lost > 2, "{lost} of them were needed");
}
