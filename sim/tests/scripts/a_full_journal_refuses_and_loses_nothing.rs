//! A state that does not fit the checkpoint grid ends in a journal without a free slot for requests, which refuses: "busy", before anything is
//! logged, and everybody who waits is told. What is in it stays, over a power cut too.

use chronon::{storage::layout::Layout, types::Op};

use crate::script::{Script, Setup, puts};

#[test]
fn a_full_journal_refuses_and_loses_nothing() {
    for replicas in [1, 3] {
        let layout = Layout { slot_count: 32, message_size_max: 32 * 1024, block_count: 8, block_size: 4096 };
        let mut script = Script::new(Setup { replicas, layout, pipeline: 1, ..Setup::default() });
        let clients = script.clients(10, &puts(1_000, 16 * 1024));
        script.until("it is full", 10_000, |script| script.probe("client_told_busy") > 20);
        script.run_ms(500).converge_all();
        let primary = script.primary();
        assert_eq!(script.head(primary), Op(24), "every slot is used but those that requests never get");
        assert!(script.vsr(primary).checkpoints().is_full() && script.vsr(primary).checkpoints().op() == Op(0));
        assert_eq!(script.vsr(primary).requests_in_flight(), 0, "nobody waits for a slot that never comes");
        let answered: Vec<usize> = clients.iter().map(|client| script.ended(*client).len()).collect();
        let state = script.replica(primary).state().digest();
        script.cut_power_of_all().restart_all().run_ms(2_000).converge_all();
        let primary = script.primary();
        assert_eq!((script.head(primary), script.replica(primary).state().digest()), (Op(24), state));
        let still: Vec<usize> = clients.iter().map(|client| script.ended(*client).len()).collect();
        assert_eq!(still, answered);
        assert!(script.probe("request_refused_busy") > 20);
        script.check();
    }
}
