//! A disk that puts a write elsewhere, or nowhere, and says that it is done, leaves what no power cut leaves. Whoever finds that
//! knows of nothing that it was never acknowledged.

use chronon::types::{NodeId, Op};

use crate::script::{Script, puts};

/// A cluster, its primary, and the replica after that, on whose disk the entry of the last prepare landed on the prepare instead of
/// in the ring. The prepare is committed without any other.
fn with_an_entry_over_its_own_prepare(replicas: u8) -> (Script, u8, u8) {
    let mut script = Script::replicas(replicas);
    script.commit(20).converge_all();
    let primary = script.primary();
    let victim = script.after(primary, 1);
    if replicas > 1 {
        script.isolate(script.after(primary, 2));
    }
    let client = script.client(puts(1, 256));
    let disk = NodeId(u32::from(victim));
    script.until("it has the put", 1_000, |script| script.head(victim) == Op(24));
    let offset = script.setup.layout.prepare_offset(24);
    script.until("the prepare is durable", 1_000, |script| {
        let mut start = Vec::new();
        script.world.disk(disk).durable_read(offset, 8, &mut start) && start != [0; 8]
    });
    script.world.disk_mut(disk).misdirect_next_write(offset);
    script.until_finished(&[client]);
    (script, primary, victim)
}

#[test]
fn an_entry_of_the_ring_over_the_prepare_that_it_names_leaves_the_head_uncertain() {
    let (mut script, primary, victim) = with_an_entry_over_its_own_prepare(3);
    script.run_ms(20).cut_power(victim).kill(primary).recover(victim);
    assert_eq!((script.head(victim), script.vsr(victim).head_is_certain()), (Op(23), false));
    assert_eq!((script.probe("recovery_torn_tail"), script.probe("recovery_uncertain_head")), (0, 1));
    // The one that was cut off never had the put: with the victim's word it would be dropped.
    script.heal().run_ms(3_000);
    script.restart(primary).converge_all();
    assert_eq!(script.head(victim), Op(24));
    script.check();
}

#[test]
fn alone_it_stops_and_says_so() {
    let (mut script, _, victim) = with_an_entry_over_its_own_prepare(1);
    script.cut_power(victim).restart(victim).run_ms(100);
    let reason = script.world.halted(NodeId(0)).expect("it cannot go on").to_owned();
    assert!(reason.contains("damaged at op24"), "{reason}");
    script.check();
}
