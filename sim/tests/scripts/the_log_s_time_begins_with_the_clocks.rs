//! The first op waits until the replicas' clocks agree: were the log's time to begin before that, every deadline of what was asked for
//! meanwhile would be over as soon as they did.

use chronon::types::{NodeId, Op};
use chronon_sim::network::LinkSettings;

use crate::script::{MS, Script};

#[test]
fn the_first_op_is_as_late_as_the_clocks() {
    for replicas in [1, 2, 3, 5] {
        let mut script = Script::replicas(replicas);
        // Everybody is heard of before anybody has answered.
        let slow = LinkSettings { latency_min_ns: 40 * MS, latency_max_ns: 40 * MS, ..LinkSettings::default() };
        for other in (0..replicas).filter(|other| *other != 1) {
            script.world.set_link(NodeId(1), NodeId(u32::from(other)), slow);
        }
        script.commit(1);
        let primary = script.primary();
        let first = script.vsr(primary).log().get(Op(1)).expect("it is there").timestamp.0;
        let now = script.world.clocks(NodeId(u32::from(primary))).realtime.0;
        assert!(now > 1_000_000 * MS && now - first < 5_000 * MS, "{first} and now {now}");
        script.check();
    }
}
