//! Requests that wait together share a prepare, and a prepare costs two durable writes, whatever it carries.

use chronon::types::NodeId;
use chronon_sim::network::LinkSettings;

use crate::script::{MS, Script, Setup, puts};

#[test]
fn five_hundred_requests_in_batches_of_fifty_cost_at_most_twenty_disk_syncs() {
    for replicas in [1, 3] {
        let link = LinkSettings { latency_min_ns: MS, latency_max_ns: MS, ..LinkSettings::default() };
        let setup = Setup { replicas, link, clients_max: 512, pipeline: 1, ..Setup::default() };
        let mut script = Script::new(setup);
        let primary = script.primary();
        let node = NodeId(u32::from(primary));
        // A prepare has room for some sixty of these.
        let clients = script.clients(500, &puts(1, 900));
        script.until("all are registered", 1_000, |script| script.vsr(primary).sessions().len() == 500);
        let (before, head) = (*script.world.disk(node).counters(), script.head(primary));
        script.until_finished(&clients).converge_all();
        let after = *script.world.disk(node).counters();
        let syncs = after.durable_writes + after.barriers - before.durable_writes - before.barriers;
        let prepares = script.head(primary).0 - head.0;
        assert!(syncs <= 20 && prepares >= 8, "{syncs} syncs for {prepares} prepares");
        assert!(script.probe("requests_batched") >= 8);
        // The chain is whole and recoverable.
        let state = script.replica(primary).state().digest();
        script.cut_power_of_all().restart_all().primary();
        script.converge_all();
        for replica in 0..replicas {
            assert_eq!(script.replica(replica).state().digest(), state);
        }
        script.check();
    }
}
