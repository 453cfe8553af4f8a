//! Damage in the middle of what was acknowledged, with sound data behind it, is repaired from the others. A log is never
//! shortened because of a checksum, whatever the size of what is damaged.

use chronon::{
    frame::SECTOR_SIZE,
    storage::layout::Layout,
    types::{NodeId, Op},
    vsr::{Held, Status},
    wire::header::Command,
};

use crate::script::{PATIENCE_MS, Script, Setup, puts};

const DAMAGED: Op = Op(20);

/// Three replicas with 42 ops, one of them a backup without power.
fn with_a_backup_down() -> (Script, u8) {
    let mut script = Script::replicas(3);
    script.commit(40).converge_all();
    let primary = script.primary();
    let backup = script.after(primary, 1);
    script.cut_power(backup);
    (script, backup)
}

#[test]
fn a_corrupt_prepare_is_repaired() {
    let (mut script, backup) = with_a_backup_down();
    script.corrupt_prepare(backup, DAMAGED).recover(backup);
    assert_eq!(script.head(backup), Op(42));
    assert_eq!(script.vsr(backup).journal().held(DAMAGED), Held::Unknown);
    assert_eq!(script.probe("recovery_possibly_acknowledged_damage"), 1);
    script.converge_all();
    assert_eq!(script.probe("prepare_repaired"), 1);
    assert!(matches!(script.vsr(backup).journal().held(DAMAGED), Held::Prepare(_)));
    script.check();
}

#[test]
fn a_corrupt_header_is_made_good_from_its_prepare() {
    let (mut script, backup) = with_a_backup_down();
    script.corrupt_header(backup, DAMAGED).recover(backup);
    assert_eq!((script.head(backup), script.probe("recovery_header_missing")), (Op(42), 1));
    script.converge_all();
    assert_eq!(script.probe("prepare_repaired"), 0, "it needed nobody");
    script.check();
}

#[test]
fn a_corrupt_header_and_prepare_are_learned_from_the_others() {
    let (mut script, backup) = with_a_backup_down();
    script.corrupt_prepare(backup, DAMAGED).corrupt_header(backup, DAMAGED).recover(backup);
    assert!(!script.vsr(backup).head_is_certain(), "it can not know what it acknowledged above");
    script.until("it learns the header", PATIENCE_MS, |script| script.probe("header_repaired") > 0);
    let asked = script.minutes().of(backup, Command::RequestPrepare, script.world.now_ns());
    let asked: Vec<Op> = asked.map(|said| said.header.op).collect();
    assert!(asked.contains(&DAMAGED), "and asks for its prepare at once");
    script.converge_all();
    assert_eq!(script.head(backup), Op(42));
    assert!(script.probe("header_repaired") >= 1 && script.probe("prepare_repaired") >= 1);
    script.check();
}

#[test]
fn a_single_replica_with_damage_refuses_in_words_and_changes_nothing() {
    let mut script = Script::replicas(1);
    script.commit(40).converge_all().cut_power(0);
    let sound = script.fork();
    for damaged in [DAMAGED, Op(42)] {
        let mut script = sound.fork();
        script.corrupt_prepare(0, damaged);
        for _ in 0..2 {
            script.restart(0);
            script.until("it refuses", PATIENCE_MS, |script| script.world.halted(NodeId(0)).is_some());
            let reason = script.world.halted(NodeId(0)).expect("it was waited for").to_owned();
            let found = format!("damaged at {damaged}");
            assert!(reason.contains(&found) && reason.contains("restore the data file"), "{reason}");
        }
    }
    let mut script = sound;
    // The headers of ops 32 to 63 cannot be read this time. Nothing is written over what the next start may read.
    let sector = script.setup.layout.header_sector_offset(32);
    script.world.disk_mut(NodeId(0)).make_unreadable(sector, SECTOR_SIZE as u64);
    script.restart(0);
    script.until("it refuses", PATIENCE_MS, |script| script.world.halted(NodeId(0)).is_some());
    script.world.disk_mut(NodeId(0)).repair_media();
    script.recover(0).commit(10).converge_all();
    assert_eq!(script.head(0), Op(53));
    script.check();
}

#[test]
fn a_single_replica_whose_prepare_rots_while_it_runs_stops_in_words() {
    let mut script = Script::replicas(1);
    script.commit(200).converge_all().cut_power(0).restart(0);
    script.until("it has recovered", PATIENCE_MS, |script| script.vsr(0).status() != Status::Booting);
    script.corrupt_prepare(0, Op(3));
    script.until("it stops", PATIENCE_MS, |script| script.world.halted(NodeId(0)).is_some());
    let reason = script.world.halted(NodeId(0)).expect("it was waited for");
    assert!(reason.contains("damaged at op3"), "{reason}");
}

#[test]
fn a_prepare_that_rots_while_the_replica_runs_is_repaired_when_it_is_read() {
    let mut script = Script::replicas(3);
    script.commit(300).converge_all();
    let primary = script.primary();
    let (rotten, behind) = (script.after(primary, 1), script.after(primary, 2));
    // What is long past is in nobody's memory any more.
    script.corrupt_prepare(rotten, DAMAGED).corrupt_prepare(primary, DAMAGED.next());
    script.cut_power(behind);
    let (first, last) = (script.setup.layout.prepare_offset(1), script.setup.layout.prepare_offset(100));
    script.world.disk_mut(NodeId(u32::from(behind))).make_unreadable(first, last - first);
    script.recover(behind).converge_all();
    let held = |op: Op| matches!(script.vsr(rotten).journal().held(op), Held::Prepare(_));
    assert!(held(DAMAGED) && held(DAMAGED.next()));
    assert!(script.probe("prepare_repaired") > 99, "and those two");
    script.check();
}

#[test]
fn a_corrupt_prepare_of_more_than_a_megabyte_is_repaired() {
    let layout = Layout { slot_count: 64, message_size_max: 4 * 1024 * 1024, block_count: 64, block_size: 4096 };
    let mut script = Script::new(Setup { layout, pipeline: 1, clients_max: 256, ..Setup::default() });
    let primary = script.primary();
    let clients = script.clients(200, &puts(1, 16 * 1024));
    script.until("all are registered", 1_000, |script| script.vsr(primary).sessions().len() == 200);
    // While nothing commits, everybody's request waits for the next prepare.
    for replica in 0..3 {
        script.stall_disk(replica, 100);
    }
    script.until_finished(&clients).commit(5).converge_all();
    let backup = script.after(primary, 1);
    let headers: Vec<_> = (1..=script.head(backup).0).filter_map(|op| script.vsr(backup).log().get(Op(op))).collect();
    let largest = **headers.iter().max_by_key(|header| header.size).expect("there are ops");
    assert!(largest.size > 1024 * 1024 && largest.op < script.head(backup), "{} bytes", largest.size);
    script.cut_power(backup);
    let last = u64::from(largest.size) - 10;
    assert!(last > 100 * SECTOR_SIZE as u64);
    let offset = layout.prepare_offset(layout.slot(largest.op)) + last;
    script.world.disk_mut(NodeId(u32::from(backup))).corrupt(offset, &[1]);
    script.recover(backup);
    assert_eq!(script.vsr(backup).journal().held(largest.op), Held::Unknown);
    script.converge_all();
    assert!(script.vsr(backup).journal().holds(&largest));
    assert_eq!(script.probe("prepare_repaired"), 1);
    script.check();
}
