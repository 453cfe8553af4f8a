//! The power of all machines fails at once, at any moment: what was acknowledged is there, no replica is left in doubt by
//! that alone, and the cluster goes on.

use chronon::{types::NodeId, vsr::Status};
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::script::{MS, Script, Setup, puts};

#[test]
fn a_power_cut_of_all_loses_nothing_and_leaves_nobody_in_doubt() {
    for replicas in [1, 2, 3, 5] {
        let mut script = Script::new(Setup { replicas, pipeline: 8, ..Setup::default() });
        let clients = script.clients(6, &puts(40, 16 * 1024));
        for cut in 0..8_u64 {
            script.run_ms(17 + 31 * cut).cut_power_of_all().run_ms(5).restart_all();
        }
        script.until_finished(&clients).converge_all();
        assert_eq!(script.probe("recovery_possibly_acknowledged_damage"), 0, "nothing was damaged");
        assert_eq!(script.probe("recovery_uncertain_head"), 0);
        script.check();
    }
}

/// The slow one's superblocks take long, and its prepares do not: so a prepare can overtake the superblock that says what
/// log it is of. Were it written at once, a power cut would leave a disk that holds a prepare of a view that its superblock
/// knows nothing of, and a replica that cannot tell where its log ends.
#[test]
fn a_power_cut_of_all_while_one_takes_over_a_log_leaves_nobody_in_doubt() {
    const SLOW: u8 = 1;
    let disk = |replica| match replica {
        SLOW => DiskSettings {
            write: LatencyRange::new(50 * MS, 50 * MS),
            barrier: LatencyRange::new(50 * MS, 50 * MS),
            ..DiskSettings::default()
        },
        _ => DiskSettings::default(),
    };
    let mut script = Script::new(Setup { disk, ..Setup::default() });
    script.commit(10).converge_all();
    // It stays in its view. The others choose one of them, who proposes an op that both have and that is not committed.
    script.isolate(SLOW);
    let serves = |script: &Script| script.serving().filter(|primary| *primary != SLOW);
    script.until("another serves", 10_000, |script| serves(script).is_some());
    script.commit(1);
    let (known, proposer) = (script.vsr(SLOW).log_view(), serves(&script).expect("it was waited for"));
    let helper = (0..3).find(|replica| ![SLOW, proposer].contains(replica)).expect("there are three");
    script.cut_one_way(helper, proposer).client(puts(1, 256));
    let both = |script: &Script| {
        let header = script.vsr(proposer).log().head_header();
        header.op > script.vsr(proposer).commit_max().op() && script.vsr(helper).journal().holds(header)
    };
    script.until("it is proposed", 5_000, both);
    script.world.heal_one_way(NodeId(u32::from(helper)), NodeId(u32::from(proposer)));
    let (taken, left) = (script.head(proposer), script.vsr(proposer).view());
    script.kill(proposer).recover(proposer);
    // They go to another view, of which the slow one hears by its start alone.
    let starts = |script: &Script, replica: u8| {
        let vsr = script.vsr(replica);
        vsr.status() == Status::ViewChange && vsr.log_view() == vsr.view() && vsr.view() > left
    };
    script.until("a view is about to start", 10_000, |script| starts(script, helper) || starts(script, proposer));
    let next = if starts(&script, helper) { helper } else { proposer };
    script.world.heal_one_way(NodeId(u32::from(next)), NodeId(u32::from(SLOW)));
    script.until("it hears of that", 1_000, |script| starts(script, SLOW));
    assert!(script.vsr(SLOW).durable().expect("it has recovered").superblock().view == known);
    for tens in 0..12 {
        let mut fork = script.fork();
        fork.heal().run_ms(10 * tens).cut_power_of_all().recover(SLOW);
        assert!(fork.vsr(SLOW).head_is_certain(), "after {tens} times 10 ms");
        fork.restart(next).restart_all().commit(2).converge_all();
        assert_eq!(fork.probe("recovery_uncertain_head"), 0);
        assert!(fork.head(SLOW) > taken);
        fork.check();
    }
}
