//! A disk that stands still for longer than the election time-out elects nobody: its replica is alive, and says so. What
//! waited for the disk completes after the stall, on the request path too.

use chronon::vsr::Timeouts;

use crate::script::{MS, Script, puts};

/// Longer than any election time-out, shorter than what a primary's own disk is granted.
fn stall_ms() -> u64 {
    let Timeouts { election_ns, disk_stall_ns, .. } = Timeouts::default();
    assert!(3 * election_ns < disk_stall_ns, "time-outs are spread up to twice");
    (2 * election_ns + disk_stall_ns) / 2 / MS
}

#[test]
fn a_backup_with_a_stalled_disk_elects_nobody() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let (backup, view) = (script.after(primary, 1), script.vsr(primary).view());
    let proposals = script.probe("view_proposed");
    let client = script.client(puts(100, 256));
    script.run_ms(50).stall_disk(backup, stall_ms()).run_ms(stall_ms());
    assert!(script.workload(client).is_finished(), "the others are a majority");
    assert!(script.vsr(backup).journal().writes_in_flight() > 0, "its disk did stand still");
    assert_eq!((script.vsr(backup).view(), script.probe("view_proposed")), (view, proposals));
    script.converge_all();
    assert_eq!(script.vsr(backup).view(), view);
    script.check();
}

#[test]
fn when_all_disks_stall_requests_wait_and_are_answered_after_it() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let (view, proposals) = (script.vsr(primary).view(), script.probe("view_proposed"));
    let client = script.client(puts(200, 256));
    script.run_ms(50);
    let answered = script.ended(client).len();
    for replica in 0..3 {
        script.stall_disk(replica, stall_ms());
    }
    script.run_ms(stall_ms() - 100);
    assert!(script.ended(client).len() <= answered + 1, "nothing is durable meanwhile");
    script.until_finished(&[client]).converge_all();
    assert_eq!((script.vsr(primary).view(), script.probe("view_proposed")), (view, proposals));
    assert!(script.probe("client_retried") > 0 && script.probe("request_repeated_in_flight") > 0);
    script.check();
}
