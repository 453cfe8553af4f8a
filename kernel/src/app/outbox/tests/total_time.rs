//! What the log's time does to effects when all the time that they have is over.

use std::{vec, vec::Vec};

use super::*;

#[test]
fn what_is_not_done_in_its_total_time_is_given_up_and_said_to_have_run_if_it_may_have() {
    let policy = Policy::FETCH.with_total_timeout(10 * SECOND);
    // Under way, waiting behind another, and delayed.
    let mut log = Log::claimed();
    let under_way = log.emit(2, MAIL, policy);
    let waiting = log.emit(2 + 1, MAIL, policy.with_total_timeout(9 * SECOND));
    let delayed = log.emit(4, Destination::Fetch, policy.with_total_timeout(8 * SECOND).with_backoff(99 * SECOND, 0));
    assert_eq!(log.outcome(5, delayed, token(1, 4), EffectResult::Failed { code: 7 }), Ok(None));
    assert_eq!((log.advance(11), log.outbox.due()), (vec![], Some(Timestamp(12 * SECOND))));
    let expired = |id, code, may_have_run| Ended { id, end: failed(Cause::Expired, code, may_have_run) };
    let all = [expired(under_way, 0, true), expired(waiting, 0, true), expired(delayed, 7, false)];
    let mut ends = Vec::new();
    log.outbox.advance(Op(12), Timestamp(12 * SECOND), 1, &mut ends);
    assert_eq!(ends, all[..1], "so many in one op");
    assert_eq!(log.tasks(), ["run op3 v1/op12"]);
    ends.extend(log.advance(13));
    assert_eq!(ends, all);
    assert!(log.outbox.is_empty());
    assert_eq!(log.outcome(14, under_way, token(1, 2), done()), Err(Refusal::NoSuchEffect));

    // A dead letter is no end: what comes late of it counts.
    let policy = Policy::EMIT.with_total_timeout(10 * SECOND);
    let (first, second) = (log.emit(15, MAIL, policy), log.emit(16, MAIL, Policy::EMIT));
    assert_eq!((log.advance(25), log.stage(first)), (vec![], Stage::Dead(Cause::Expired)));
    assert_eq!(log.tasks(), ["run op16 v1/op25"]);
    assert_eq!(log.outcome(26, first, token(1, 15), done()), ended(first, End::Acknowledged));
    assert_eq!(log.outcome(27, second, token(1, 25), done()), ended(second, End::Acknowledged));
}

#[test]
fn what_is_never_run_twice_and_may_have_run_when_its_time_is_over_is_parked_unless_it_may_fail() {
    let policy = Policy::EMIT.with_unknown(OnUnknown::NeverTwice).with_total_timeout(10 * SECOND);
    let mut log = Log::claimed();
    let letter = log.emit(2, MAIL, policy);
    let fails = log.emit(3, Destination::Emit(Channel(2)), policy.with_exhausted(OnExhausted::Fail));
    let parked = log.emit(4, Destination::Emit(Channel(3)), policy.with_exhausted(OnExhausted::Fail));
    for (id, attempt) in [(letter, 2), (fails, 3), (parked, 4)] {
        log.outbox.start(id, token(1, attempt), Op(5)).unwrap();
    }
    assert_eq!(log.outcome(6, parked, token(1, 4), EffectResult::Unknown { code: 1 }), Ok(None));
    let expired = |id, code| Ended { id, end: failed(Cause::Expired, code, true) };
    assert_eq!(log.advance(14), [expired(fails, 0), expired(parked, 1)]);
    assert_eq!((log.stage(letter), log.outbox.due()), (Stage::Parked, None));
}

#[test]
fn a_total_time_without_end_raises_no_alarm() {
    let mut log = Log::claimed();
    let id = log.emit(2, MAIL, Policy::EMIT.with_total_timeout(u64::MAX).with_backoff(u64::MAX, 0));
    assert_eq!(log.outbox.due(), None);
    assert_eq!(log.outcome(3, id, token(1, 2), EffectResult::Failed { code: 0 }), Ok(None));
    assert_eq!((log.outbox.due(), log.advance(1 << 33)), (None, vec![]));
}
