//! A prepare of the right op and view, whole by every checksum, that names another parent: the chain is broken there. What it
//! replaced may have been acknowledged, and comes back from the others; a replica that is alone says so and stops.

use chronon::{
    types::{NodeId, Op},
    vsr::Held,
    wire::header::{HEADER_SIZE, Header},
};

use crate::script::{PATIENCE_MS, Script};

const BROKEN: Op = Op(20);

/// A cluster with 41 ops, and one of its replicas, without power.
fn with_one_down(replicas: u8) -> (Script, u8) {
    let mut script = Script::replicas(replicas);
    script.commit(40).converge_all();
    let primary = script.primary();
    let replica = script.after(primary, 1);
    script.cut_power(replica);
    (script, replica)
}

/// Gives the prepare of [`BROKEN`] another parent and true checksums; its entry in the ring of headers too, or not. The one
/// that was there.
fn break_chain(script: &mut Script, replica: u8, entry_too: bool) -> Header {
    let layout = script.setup.layout;
    let slot = layout.slot(BROKEN);
    let disk = script.world.disk_mut(NodeId(u32::from(replica)));
    let (mut bytes, place) = (Vec::new(), layout.prepare_offset(slot));
    assert!(disk.durable_read(place, HEADER_SIZE as u64, &mut bytes));
    let sound = Header::decode(&bytes).expect("it was acknowledged");
    assert!(disk.durable_read(place, u64::from(sound.size), &mut bytes));
    let forged = Header { context: !sound.context, ..sound }.sealed(&bytes[HEADER_SIZE..]);
    assert_eq!((forged.verify(), forged.op, forged.view), (Ok(()), sound.op, sound.view));
    let change: Vec<u8> = sound.encode().iter().zip(forged.encode()).map(|(old, new)| old ^ new).collect();
    disk.corrupt(place, &change);
    if entry_too {
        disk.corrupt(layout.header_ring_offset() + u64::from(slot) * HEADER_SIZE as u64, &change);
    }
    sound
}

#[test]
fn a_prepare_with_another_parent_than_its_header_names_is_repaired() {
    let (mut script, backup) = with_one_down(3);
    let sound = break_chain(&mut script, backup, false);
    script.recover(backup);
    assert_eq!(script.head(backup), Op(42), "what lies behind it is still there");
    assert_eq!(script.vsr(backup).journal().held(BROKEN), Held::Unknown);
    script.converge_all();
    assert!(script.vsr(backup).journal().holds(&sound));
    assert_eq!(script.probe("prepare_repaired"), 1);
    script.check();
}

#[test]
fn where_both_rings_agree_on_another_parent_the_log_ends_and_its_head_is_uncertain() {
    let (mut script, backup) = with_one_down(3);
    let sound = break_chain(&mut script, backup, true);
    script.recover(backup);
    assert_eq!(script.head(backup), BROKEN.previous(), "no op is taken that the chain does not vouch for");
    assert!(!script.vsr(backup).head_is_certain(), "what was there may have been acknowledged");
    script.converge_all();
    assert_eq!(script.head(backup), Op(42));
    assert!(script.vsr(backup).journal().holds(&sound));
    assert!(script.probe("prepare_repaired") >= 1);
    script.check();
}

#[test]
fn a_replica_that_is_alone_stops_at_a_broken_chain() {
    for entry_too in [false, true] {
        let (mut script, alone) = with_one_down(1);
        break_chain(&mut script, alone, entry_too);
        script.restart(alone);
        script.until("it refuses", PATIENCE_MS, |script| script.world.halted(NodeId(0)).is_some());
        let reason = script.world.halted(NodeId(0)).expect("it was waited for");
        assert!(reason.contains("damaged at op20"), "{reason}");
    }
}
