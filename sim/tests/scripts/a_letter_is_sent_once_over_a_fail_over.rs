//! A primary dies while what it has had sent is not acknowledged: the next one claims the outbox and sends it again, under the same ids, and
//! who remembers ids has done each once; every one is acknowledged once.

use chronon_sim::outside::Came;

use crate::branch::{Cluster, OFTEN, POLITE, SOUND, letters};

#[test]
fn a_letter_is_sent_once_over_a_fail_over() {
    let mut cluster = Cluster::new(3, letters(POLITE, OFTEN), SOUND);
    let client = cluster.client(120);
    cluster.until("a letter is out and nobody knows", 5_000, |cluster| {
        let ran = cluster.calls(Came::Ran);
        ran.len() >= 20 && cluster.outbox().get(ran[ran.len() - 1].id).is_some()
    });
    let primary = cluster.until_primary();
    cluster.kill(primary);
    cluster.until("the client is answered", 20_000, |cluster| cluster.caller(client).is_finished());
    cluster.until("all is acknowledged", 20_000, |cluster| cluster.outbox().is_empty());
    cluster.restart(primary).run_ms(2_000);
    let counts = cluster.ahead().state().counts();
    let ran = cluster.calls(Came::Ran);
    assert!(!cluster.calls(Came::Remembered).is_empty(), "what the first primary had sent, the second sent again");
    assert_eq!((counts.failed, counts.omitted, counts.unexpected), (0, 0, 0));
    let ids: std::collections::BTreeSet<_> = ran.iter().map(|call| call.id).collect();
    assert_eq!(counts.acknowledged, ids.len() as u64, "what was run is what was acknowledged");
    let fences: std::collections::BTreeSet<_> = ran.iter().map(|call| call.token.fence).collect();
    assert_eq!(fences.len(), 2, "each primary under its own claim");
    cluster.check();
}
