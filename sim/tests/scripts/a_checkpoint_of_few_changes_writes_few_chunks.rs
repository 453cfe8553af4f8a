//! What did not change since the last checkpoint is neither read nor written again: the leaves of a state that is large next to its
//! changes are taken over. A replica that has restarted reads all of them once, and writes none again.

use chronon::{storage::layout::Layout, types::Op};
use chronon_sim::workload::KvConfig;

use crate::script::{Script, Setup, puts};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 512, block_size: 4096 };

/// Puts under so many keys.
fn puts_under(keys: u32, calls: u64) -> KvConfig {
    KvConfig { keys, ..puts(calls, 500) }
}

/// How many chunks were written, were in the grid already, and were taken over, by all replicas.
fn chunks(script: &Script) -> [u64; 3] {
    ["checkpoint_chunk_written", "checkpoint_chunk_kept", "checkpoint_chunk_taken_over"].map(|name| script.probe(name))
}

/// Has the next checkpoint come: what it wrote, kept and took over.
fn next_checkpoint(script: &mut Script, calls: &KvConfig) -> [u64; 3] {
    script.converge_all();
    let (before, primary) = (chunks(script), script.primary());
    let at = script.vsr(primary).checkpoints().op();
    while script.vsr(primary).checkpoints().op() == at {
        let client = script.client(calls.clone());
        script.until_finished(&[client]).converge_all();
    }
    assert!(script.vsr(primary).checkpoints().op() > Op(0));
    let after = chunks(script);
    [0, 1, 2].map(|place: usize| after[place] - before[place])
}

#[test]
fn few_changes_cost_few_chunks() {
    let mut script = Script::new(Setup { layout: LAYOUT, ..Setup::default() });
    let all = script.clients(4, &puts_under(400, 400));
    script.until_finished(&all);
    next_checkpoint(&mut script, &puts_under(1, 4));
    let [written, kept, taken_over] = next_checkpoint(&mut script, &puts_under(1, 4));
    // On each replica a root, a table, the sessions, the effects, and the leaf or two that the key is in.
    assert!(written <= 3 * 9, "{written} were written");
    assert!(kept <= 3 * 6, "{kept} were read");
    assert!(taken_over >= 3 * 25, "{taken_over} were taken over");
    // Another key comes between those that there are, and moves what lies behind it.
    let [written, kept, taken_over] = next_checkpoint(&mut script, &puts_under(401, 4));
    assert!(written <= 3 * 40 && kept <= 3 * 20, "{written} were written, {kept} were read");
    assert!(taken_over > 0, "{taken_over}");
    script.check();
}

#[test]
fn a_restarted_replica_reads_its_state_once_and_writes_nothing_of_it_again() {
    let mut script = Script::new(Setup { layout: LAYOUT, ..Setup::default() });
    let all = script.clients(4, &puts_under(400, 400));
    script.until_finished(&all);
    next_checkpoint(&mut script, &puts_under(1, 4));
    script.cut_power_of_all().restart_all().converge_all();
    let [written, kept, _] = next_checkpoint(&mut script, &puts_under(1, 4));
    assert!(written <= 3 * 9 && kept >= 3 * 25, "{written} were written, {kept} were read");
    let [written, kept, taken_over] = next_checkpoint(&mut script, &puts_under(1, 4));
    assert!(written <= 3 * 9 && kept <= 3 * 6 && taken_over >= 3 * 25, "{written}, {kept}, {taken_over}");
    script.check();
}
