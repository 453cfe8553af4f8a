//! A replica that hears nobody proposes view after view, and nobody follows it: a view is left on a majority of proposals.

use chronon::wire::header::Command;

use crate::script::{Script, puts};

#[test]
fn a_deaf_backup_disturbs_nobody() {
    for replicas in [3, 5] {
        let mut script = Script::replicas(replicas);
        script.commit(10).converge_all();
        let primary = script.primary();
        let (deaf, view, left) = (script.after(primary, 1), script.vsr(primary).view(), script.probe("view_left"));
        let since_ns = script.world.now_ns();
        script.deafen(deaf);
        let client = script.client(puts(200, 256));
        script.run_ms(5_000);
        assert!(script.workload(client).is_finished());
        assert!(script.minutes().of(deaf, Command::StartViewChange, since_ns).count() > 20, "it wants another view");
        assert_eq!(script.probe("view_left"), left, "nobody left, not even the deaf one");
        script.heal().converge_all();
        assert_eq!(script.vsr(deaf).view(), view);
        script.check();
    }
}

#[test]
fn a_mute_backup_and_one_that_is_cut_off_disturb_nobody_when_they_come_back() {
    let mut script = Script::replicas(5);
    script.commit(10).converge_all();
    let primary = script.primary();
    let (mute, away, view) = (script.after(primary, 1), script.after(primary, 2), script.vsr(primary).view());
    script.isolate(away);
    for other in (0..5).filter(|other| *other != mute) {
        script.cut_one_way(mute, other);
    }
    let proposed = script.probe("view_proposed");
    script.commit(100).run_ms(3_000);
    assert!(script.probe("view_proposed") > proposed, "the one that is cut off does propose");
    script.heal().converge_all().commit(10).converge_all();
    assert_eq!(script.vsr(primary).view(), view);
    script.check();
}
