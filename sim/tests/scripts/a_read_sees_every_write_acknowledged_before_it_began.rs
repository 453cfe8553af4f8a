//! Readers and writers at once, through kills, partitions and clocks that go wrong: the oracles see to it that no read misses a write
//! that was executed before it was asked.

use chronon::types::NodeId;
use chronon_sim::{oracle::reads::ReadsOracle, reader::ReaderConfig};

use crate::script::{MS, Script, Setup, puts, queries};

#[test]
fn no_read_misses_a_write_through_kills_and_partitions_and_clock_skew() {
    for seed in 1..9 {
        for replicas in [3, 5] {
            reads(replicas, seed);
        }
    }
}

fn reads(replicas: u8, seed: u64) {
    let mut script = Script::new(Setup { replicas, seed, ..Setup::default() });
    for replica in 0..replicas {
        let skew_ns = (i64::from(replica) - 1) * 500 * MS as i64;
        script.world.skew(NodeId(u32::from(replica)), skew_ns, (i32::from(replica) - 1) * 50_000_000);
    }
    let writers = script.clients(3, &puts(150, 64));
    let often = ReaderConfig { think_ns_max: 4 * MS, ..queries(300) };
    let readers: Vec<NodeId> = (0..4).map(|_| script.reader(often.clone())).collect();
    for _ in 0..3 {
        script.run_ms(60);
        let primary = script.primary();
        script.isolate(primary).run_ms(700);
        script.heal();
        let primary = script.primary();
        script.kill(primary).run_ms(500);
        script.recover(primary);
    }
    script.until_read(&readers).until_finished(&writers);
    assert!(script.probe("client_redirected") > 0 && script.probe("view_started") > 1);
    let answers = script.world.oracle::<ReadsOracle>().expect("every script is watched").answers();
    assert!(answers >= 1200, "{answers} answers were judged");
    script.converge_all().check();
}
