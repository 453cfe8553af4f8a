//! What a backup said to an earlier round of a primary, and the network says again, confirms no later round.

use chronon::types::NodeId;

use crate::script::{Script, queries};

#[test]
fn an_answer_that_was_delayed_from_an_earlier_round_does_not_count() {
    let mut script = Script::replicas(3);
    script.world.remember_frames(256);
    script.commit(10).converge_all();
    let deposed = script.primary();
    let backup = script.after(deposed, 1);
    let reader = script.reader(queries(3));
    script.until_read(&[reader]);
    assert_eq!(script.probe("read_round"), 3);
    script.isolate(deposed);
    script.until("another serves", 5_000, |script| script.serving().is_some_and(|primary| primary != deposed));
    script.commit(10);
    let reader = script.reader(queries(1));
    for other in (0..3).filter(|other| *other != deposed) {
        script.world.cut(NodeId(u32::from(other)), reader);
    }
    script.until("a round begins", 5_000, |script| script.probe("read_round") > 3);
    let late = script.probe("read_round_ok_of_another_round");
    let (from, to) = (NodeId(u32::from(backup)), NodeId(u32::from(deposed)));
    script.world.heal_one_way(from, to);
    script.world.echo(from, to);
    script.until("they are heard", 100, |script| script.probe("read_round_ok_of_another_round") > late);
    assert_eq!(script.reads(reader).answered(), 0);
    script.heal().until_read(&[reader]).converge_all().check();
}
