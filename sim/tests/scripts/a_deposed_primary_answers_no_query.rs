//! A primary that the others have replaced, and that does not know, answers no query, however its clients ask; nor does one whose
//! backups it cannot hear.

use chronon::types::NodeId;

use crate::script::{Script, puts, queries};

#[test]
fn a_primary_that_is_cut_off_from_the_replicas_but_not_from_its_clients_answers_no_query() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let deposed = script.primary();
    let view = script.vsr(deposed).view();
    script.isolate(deposed);
    script.until("another serves", 5_000, |script| script.serving().is_some_and(|primary| primary != deposed));
    script.commit(10);
    // Its readers reach nobody else.
    let readers: Vec<NodeId> = (0..4).map(|_| script.reader(queries(5))).collect();
    for other in (0..3).filter(|other| *other != deposed) {
        for reader in &readers {
            script.world.cut(NodeId(u32::from(other)), *reader);
        }
    }
    script.until("it asks again and again", 5_000, |script| script.probe("read_round_repeated") > 3);
    assert_eq!((script.vsr(deposed).view(), script.vsr(deposed).is_primary()), (view, true), "it does not know");
    assert!(readers.iter().all(|reader| script.reads(*reader).answered() == 0) && script.probe("query_answered") == 0);
    script.heal().until_read(&readers);
    assert!(script.head(0).0 >= 22, "what they were answered has the ten calls that the other primary took");
    script.converge_all().check();
}

#[test]
fn a_primary_that_hears_no_answer_to_its_round_waits_and_goes_on_when_it_does() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    script.deafen(primary);
    let reader = script.reader(queries(3));
    script.run_ms(100);
    assert_eq!(script.reads(reader).answered(), 0);
    script.heal().until_read(&[reader]);
    let client = script.client(puts(3, 64));
    script.until_finished(&[client]).converge_all().check();
}
