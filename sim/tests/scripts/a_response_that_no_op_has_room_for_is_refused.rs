//! A response that is longer than an op may be ends its fetch as refused, and the application is told why, once; the longest that fits comes
//! through whole. What a service says beside an acknowledgement is dropped, however much it is: what was emitted was done.

use chronon::app::branch::{Branch, Counts};
use chronon::app::effect::{Destination, OnExhausted};
use chronon_sim::outside::{Came, ServicesPlan};

use crate::{
    branch::{Cluster, OFTEN, POLITE, SOUND, letters},
    script::MS,
};

#[test]
fn a_response_that_no_op_has_room_for_is_refused() {
    const PERIODS: u64 = 40;
    let branch = Branch {
        rate: OFTEN.with_exhausted(OnExhausted::Fail),
        period_ns: 20 * MS,
        periods: PERIODS as u32,
        ..letters(POLITE, OFTEN)
    };
    let mut cluster = Cluster::new(3, branch, ServicesPlan { large_ppm: 1_000_000, ..SOUND });
    let client = cluster.client(100);
    cluster.until("the client is answered", 20_000, |cluster| cluster.caller(client).is_finished());
    let ended = |counts: Counts| counts.fetched + counts.failed;
    cluster.until("every rate has come to its end", 20_000, |cluster| {
        ended(cluster.ahead().state().counts()) == PERIODS && cluster.outbox().is_empty()
    });
    let counts = cluster.ahead().state().counts();
    assert!(counts.fetched >= 5 && counts.failed >= 15, "a third has room: {counts:?}");
    let ran = cluster.calls(Came::Ran);
    let fetches = ran.iter().filter(|call| call.destination == Destination::Fetch).count() as u64;
    assert_eq!(fetches, PERIODS, "what is refused is not tried again");
    let sent = ran.iter().filter(|call| matches!(call.destination, Destination::Emit(_))).count() as u64;
    assert!(sent > 20 && counts.acknowledged == sent, "{sent} letters: {counts:?}");
    cluster.check();
}
