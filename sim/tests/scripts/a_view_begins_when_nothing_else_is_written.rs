//! What an earlier view was still writing when a view without it begins is on the disk before the log of that view is: or a power cut
//! could tear its entry of the ring next to the head of a log that no replica could be certain of any more.

use chronon::types::NodeId;
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::script::{MS, PATIENCE_MS, Script, Setup, puts};

#[test]
fn a_write_that_outlasts_its_view_is_waited_for() {
    // The prepares of this journal will take longer than the change of a view, and its superblock will not.
    let disk = |_| DiskSettings {
        write: LatencyRange::new(MS / 100, MS / 100),
        durable_write: LatencyRange::new(50 * MS, 50 * MS),
        barrier: LatencyRange::new(MS / 100, MS / 100),
        ..DiskSettings::default()
    };
    let mut script = Script::new(Setup { replicas: 2, disk, ..Setup::default() });
    let primary = script.primary();
    let backup = script.after(primary, 1);
    script.converge_all();
    let last = script.head(primary);
    for replica in [0, 1] {
        let until_ns = script.world.now_ns() + 60_000 * MS;
        script.world.disk_mut(NodeId(replica)).slow(5_000, until_ns);
    }
    let view = script.vsr(primary).view();
    script.client(puts(1, 256));
    script.until("both write it", 1_000, |script| {
        [0, 1]
            .iter()
            .all(|replica| script.head(*replica) > last && script.vsr(*replica).journal().writes_in_flight() == 1)
    });
    script.cut_one_way(primary, backup).cut_one_way(backup, primary).run_ms(600).heal();
    let began = |script: &Script, replica: u8| {
        let superblock = script.vsr(replica).durable().expect("it has started").superblock();
        superblock.log_view > view && superblock.log_view == superblock.view
    };
    for replica in [backup, primary] {
        script.until("the next view is durable", 2 * PATIENCE_MS, |script| began(script, replica));
        let vsr = script.vsr(replica);
        let beside = vsr.journal().writes_in_flight() > 0 && vsr.log().head() == last;
        assert!(!beside, "r{replica} writes what its log is without");
    }
    assert!(script.probe("op_dropped") > 0, "neither had it");
    script.run_ms(60_000).converge_all().check();
}
