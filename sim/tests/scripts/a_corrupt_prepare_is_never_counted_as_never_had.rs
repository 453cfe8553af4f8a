//! What a replica cannot read it may have acknowledged. It says "unknown", and the others wait for somebody who has it,
//! rather than drop what may be committed.

use chronon::{
    vsr::Status,
    wire::{
        header::{Command, Header},
        message::Claim,
    },
};

use crate::script::{PATIENCE_MS, Script};

/// An op that only this primary and one backup have is committed. The primary is gone, and the backup cannot read it any more.
fn with_a_lost_op(primary: u8) -> (Script, [u8; 2], Header) {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    while script.primary() != primary {
        let former = script.primary();
        script.kill(former).until("another serves", PATIENCE_MS, |script| script.serving().is_some());
        script.recover(former).converge_all();
    }
    let (holder, behind) = (script.after(primary, 1), script.after(primary, 2));
    script.isolate(behind).commit(1);
    let lost = script.head(holder);
    let committed = *script.vsr(holder).log().get_tied(lost).expect("the head has a header");
    assert!(script.vsr(primary).commit_max().covers(lost));
    script.kill(primary).cut_power(holder);
    script.corrupt_prepare(holder, lost).heal().recover(holder);
    (script, [holder, behind], committed)
}

fn all_have(script: &Script, committed: &Header) -> bool {
    (0..3).all(|replica| script.vsr(replica).log().get_tied(committed.op) == Some(committed))
}

#[test]
fn a_corrupt_prepare_is_never_counted_as_never_had() {
    let (mut script, [holder, behind], committed) = with_a_lost_op(1);
    let (lost, started) = (committed.op, script.minutes().views_started());
    script.run_ms(5_000);
    assert_eq!(script.minutes().claim(holder, lost), Some(Claim::Unknown));
    assert!(script.minutes().claim(behind, lost).is_none(), "it never heard of it");
    assert!(script.probe("op_undecided") > 0);
    assert_eq!(script.minutes().views_started(), started, "unavailable beats wrong");
    // With the primary it is decided, and the op is still there.
    script.recover(1).commit(5).converge_all();
    assert!(all_have(&script, &committed) && script.probe("op_dropped") == 0);
    script.check();
}

/// The two of them are a quorum, and cannot decide it. The third gives its log to whoever leads their view, and hears of nothing after
/// that: it is there that it is decided, and not when the third comes to lead.
#[test]
fn what_a_quorum_cannot_decide_is_decided_with_one_more() {
    for primary in 0..3 {
        let (mut script, pair, committed) = with_a_lost_op(primary);
        script.until("they wait for somebody else", PATIENCE_MS, |script| {
            let [one, other] = pair.map(|replica| script.vsr(replica));
            let are_between = [one, other].iter().all(|vsr| vsr.status() == Status::ViewChange);
            let is_led = pair.contains(&one.primary_of_view().0) && one.view() == other.view();
            are_between && is_led && script.probe("op_undecided") > 0
        });
        let since_ns = script.world.now_ns();
        let given = |script: &Script| {
            script.minutes().of(primary, Command::DoViewChange, since_ns).next().map(|said| said.header.view)
        };
        script.recover(primary).until("it gives its log", PATIENCE_MS, |script| given(script).is_some());
        script.deafen(primary).until("they go on", PATIENCE_MS, |script| script.serving().is_some());
        let serving = script.serving().expect("it was waited for");
        assert_eq!(Some(script.vsr(serving).view()), given(&script));
        script.heal().commit(5).converge_all();
        assert!(all_have(&script, &committed) && script.probe("op_dropped") == 0);
        script.check();
    }
}
