//! A primary that restarts has forgotten what it had under way. It serves again in a later view only, whether or not
//! anybody noticed that it was gone.

use chronon::{vsr::config::PIPELINE_MAX, wire::header::Command};

use crate::script::{Script, puts};

#[test]
fn a_restarted_primary_goes_to_a_later_view() {
    for replicas in [1, 2, 3] {
        let mut script = Script::replicas(replicas);
        let client = script.client(puts(100, 256));
        script.run_ms(50);
        let primary = script.primary();
        let (view, restarted) = (script.vsr(primary).view(), script.probe("primary_restarted"));
        script.kill(primary);
        let since_ns = script.world.now_ns() + 1;
        script.recover(primary);
        assert_eq!(script.probe("primary_restarted"), restarted + 1);
        assert!(!script.vsr(primary).is_primary() || script.vsr(primary).view() > view);
        script.until_finished(&[client]).converge_all();
        assert!(script.vsr(primary).view() > view);
        let spoke = |command| script.minutes().of(primary, command, since_ns).any(|said| said.header.view == view);
        assert!(![Command::Commit, Command::StartView, Command::Reply].into_iter().any(spoke));
        script.check();
    }
}

/// What recovery writes again, many entries of the ring at once, is no news of a view: it is neither late nor acknowledged for it.
#[test]
fn what_a_start_writes_again_is_not_taken_for_late() {
    for replicas in [1, 3] {
        let mut script = Script::replicas(replicas);
        script.commit(20).converge_all();
        let primary = script.primary();
        let late = script.probe("write_completed_after_leaving_its_view");
        script.kill(primary).recover(primary).converge_all();
        assert_eq!(script.probe("write_completed_after_leaving_its_view"), late);
        let backup = script.after(script.serving().expect("it converged"), 1);
        let since_ns = script.world.now_ns() + 1;
        script.kill(backup).recover(backup);
        let again = script.minutes().of(backup, Command::PrepareOk, since_ns).count();
        assert!(again <= PIPELINE_MAX as usize, "no more can be uncommitted, and {again} were acknowledged afresh");
        script.converge_all().check();
    }
}
