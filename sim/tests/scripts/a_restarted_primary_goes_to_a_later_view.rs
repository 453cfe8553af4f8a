//! A primary that restarts has forgotten what it had under way. It serves again in a later view only, whether or not
//! anybody noticed that it was gone.

use chronon::wire::header::Command;

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
