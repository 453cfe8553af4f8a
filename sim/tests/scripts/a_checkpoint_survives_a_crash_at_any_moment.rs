//! A checkpoint is written beside the one before, and takes its place at once or not at all: whenever the power goes, what was
//! acknowledged is there, and the state is that of one op.

use chronon::{storage::layout::Layout, types::Op};

use crate::script::{Script, Setup, puts};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 64, block_size: 4096 };

#[test]
fn the_power_goes_at_any_moment_of_a_checkpoint() {
    for replicas in [1, 3] {
        let mut script = Script::new(Setup { replicas, layout: LAYOUT, ..Setup::default() });
        script.commit(40).converge_all();
        let primary = script.primary();
        let before = script.vsr(primary).checkpoints().op();
        let client = script.client(puts(20, 900));
        script.until("a checkpoint begins", 1_000, |script| script.vsr(primary).checkpoints().is_taking());
        let mut moments = 0;
        while script.vsr(primary).checkpoints().op() == before {
            let mut crashed = script.fork();
            crashed.cut_power_of_all().restart_all().converge_all();
            crashed.until_finished(&[client]).converge_all();
            assert!(crashed.probe("state_restored") > 0, "recovery begins with a checkpoint");
            crashed.check();
            assert!(script.world.step());
            moments += 1;
        }
        assert!(moments > 10, "{moments}");
        script.until_finished(&[client]).converge_all();
        script.check();
    }
}

#[test]
fn the_ring_comes_round_and_recovery_reads_the_checkpoint_and_the_rest() {
    let mut script = Script::new(Setup { layout: LAYOUT, ..Setup::default() });
    script.commit(300).converge_all();
    let primary = script.primary();
    assert!(script.head(primary) > Op(300), "four times as many ops as slots");
    script.cut_power_of_all().restart_all().converge_all();
    assert_eq!(script.probe("state_restored"), 3);
    script.commit(10).converge_all();
    script.check();
}
