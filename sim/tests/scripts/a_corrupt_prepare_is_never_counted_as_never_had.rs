//! What a replica cannot read it may have acknowledged. It says "unknown", and the others wait for somebody who has it,
//! rather than drop what may be committed.

use chronon::wire::message::Claim;

use crate::script::{Script, puts};

#[test]
fn a_corrupt_prepare_is_never_counted_as_never_had() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let (holder, behind) = (script.after(primary, 1), script.after(primary, 2));
    // An op that only the primary and one backup have is committed.
    script.isolate(behind);
    let client = script.client(puts(1, 256));
    script.until_finished(&[client]);
    let lost = script.head(holder);
    let committed = *script.vsr(holder).log().get_tied(lost).expect("the head has a header");
    assert!(script.vsr(primary).commit_max().covers(lost));
    // The primary is gone, and the backup can not read it any more.
    script.kill(primary).cut_power(holder);
    script.corrupt_prepare(holder, lost).heal().recover(holder);
    let started = script.minutes().views_started();
    script.run_ms(5_000);
    assert_eq!(script.minutes().claim(holder, lost), Some(Claim::Unknown));
    assert!(script.minutes().claim(behind, lost).is_none(), "it never heard of it");
    assert!(script.probe("op_undecided") > 0);
    assert_eq!(script.minutes().views_started(), started, "unavailable beats wrong");
    // With the primary it is decided, and the op is still there.
    script.recover(primary).commit(5).converge_all();
    for replica in 0..3 {
        assert_eq!(script.vsr(replica).log().get_tied(lost), Some(&committed));
    }
    assert_eq!((script.probe("op_dropped"), script.ended(client).len()), (0, 1));
    script.check();
}
