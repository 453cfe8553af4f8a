//! Prepares of one pipeline reach the disk in whatever order it likes. Once all of them have, the journal is clean, and has
//! every entry.

use chronon::{
    types::{NodeId, Op},
    vsr::Held,
};
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::script::{MS, PATIENCE_MS, Script, Setup, puts};

/// Where something is durable above something that is not yet.
fn later_before_earlier(script: &Script, replica: u8) -> Option<Op> {
    let vsr = script.vsr(replica);
    let durable = |op: Op| matches!(vsr.journal().held(op), Held::Prepare(_));
    (1..script.head(replica).0).map(Op).find(|op| !durable(*op) && durable(op.next()))
}

#[test]
fn what_was_written_in_another_order_is_clean_when_all_of_it_is_there() {
    for replicas in [1, 3] {
        let disk = |_| DiskSettings { durable_write: LatencyRange::new(MS / 10, 20 * MS), ..DiskSettings::default() };
        let mut script = Script::new(Setup { replicas, pipeline: 8, company: 0, disk, ..Setup::default() });
        let primary = script.primary();
        let victim = script.after(primary, 1);
        let clients = script.clients(8, &puts(20, 256));
        for _ in 0..10 {
            let any = |script: &Script| later_before_earlier(script, victim).is_some();
            script.until("a later write overtakes an earlier one", PATIENCE_MS, any);
            script.until("it is caught up with", PATIENCE_MS, |script| !any(script));
        }
        script.until_finished(&clients).converge_all();
        let (head, state) = (script.head(victim), script.replica(victim).state().digest());
        assert!(script.vsr(victim).journal().writes_in_flight() == 0 && head > Op(20));

        script.cut_power(victim).recover(victim);
        assert_eq!(script.head(victim), head);
        assert!((1..=head.0).all(|op| matches!(script.vsr(victim).journal().held(Op(op)), Held::Prepare(_))));
        for probe in ["recovery_torn_tail", "recovery_header_missing", "recovery_possibly_acknowledged_damage"] {
            assert_eq!(script.probe(probe), 0, "{probe}");
        }
        script.converge_all();
        assert_eq!(script.replica(victim).state().digest(), state);
        assert_eq!(script.probe("prepare_repaired"), 0, "it needed nobody");
        assert!(script.world.is_up(NodeId(u32::from(victim))));
        script.check();
    }
}
