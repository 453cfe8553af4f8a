//! How many attempts an operator is told of: each that is over once, however it ended.

use super::*;

const REFUSED: EffectResult = EffectResult::Refused { code: 404 };
const FAILED: EffectResult = EffectResult::Failed { code: 503 };
const UNKNOWN: EffectResult = EffectResult::Unknown { code: 1 };
const NEVER_TWICE: Policy = Policy::EMIT.with_unknown(OnUnknown::NeverTwice);
const ASK_FIRST: Policy = Policy::EMIT.with_unknown(OnUnknown::AskFirst);

/// An effect of this policy that is under way, in the attempt of op 2 and view 1.
fn under_way(policy: Policy) -> (Log, EffectId) {
    let mut log = Log::claimed();
    let id = log.emit(2, MAIL, policy.with_backoff(SECOND, SECOND));
    if policy.is_guarded() {
        log.outbox.start(id, token(1, 2), Op(3)).unwrap();
    }
    (log, id)
}

fn held(log: &Log, id: EffectId) -> (Stage, u32) {
    let standing = &log.outbox.get(id).unwrap().standing;
    (standing.stage, standing.attempts)
}

#[test]
fn an_attempt_that_was_refused_was_one() {
    for policy in [Policy::EMIT, NEVER_TWICE, ASK_FIRST] {
        let (mut log, id) = under_way(policy);
        assert_eq!(log.outcome(4, id, token(1, 2), REFUSED), Ok(None));
        assert_eq!(held(&log, id), (Stage::Dead(Cause::Refused), 1), "{policy:?}");
    }
    let (mut log, id) = under_way(Policy::EMIT);
    log.outcome(4, id, token(1, 2), FAILED).unwrap();
    log.advance(5);
    log.outcome(6, id, token(1, 5), REFUSED).unwrap();
    assert_eq!(held(&log, id), (Stage::Dead(Cause::Refused), 2), "and the one before it");
    log.outbox.redrive(id, Op(7), Timestamp(7 * SECOND)).unwrap();
    assert_eq!(held(&log, id), (Stage::Ready, 0), "from the beginning");
    log.outcome(8, id, token(1, 7), REFUSED).unwrap();
    assert_eq!(held(&log, id), (Stage::Dead(Cause::Refused), 1));
}

#[test]
fn an_attempt_that_was_given_up_is_not_counted_again_when_its_answer_comes_late() {
    let late = [(FAILED, Cause::Attempts), (REFUSED, Cause::Refused)];
    for (answer, cause) in late.clone() {
        let (mut log, id) = under_way(NEVER_TWICE.with_attempts(1));
        log.outcome(4, id, token(1, 2), UNKNOWN).unwrap();
        assert_eq!(held(&log, id), (Stage::Parked, 1));
        log.outcome(5, id, token(1, 2), answer).unwrap();
        assert_eq!(held(&log, id), (Stage::Dead(cause), 1));
    }
    for (answer, cause) in late.clone() {
        let (mut log, id) = under_way(NEVER_TWICE);
        log.outbox.claim(fence(2), Op(4)).unwrap();
        assert_eq!(held(&log, id), (Stage::Parked, 1), "lost with its primary, and not tried again");
        log.outcome(5, id, token(1, 2), answer).unwrap();
        assert_eq!(held(&log, id), (Stage::Dead(cause), 1));
    }
    for (answer, _) in late {
        let (mut log, id) = under_way(Policy::EMIT.with_total_timeout(2 * SECOND));
        log.advance(4);
        assert_eq!(held(&log, id), (Stage::Dead(Cause::Expired), 1));
        log.outcome(5, id, token(1, 2), answer).unwrap();
        assert_eq!(held(&log, id), (Stage::Dead(Cause::Expired), 1));
    }
    for policy in [Policy::EMIT, ASK_FIRST] {
        let (mut log, id) = under_way(policy);
        log.outcome(4, id, token(1, 2), UNKNOWN).unwrap();
        assert_eq!(held(&log, id).1, 1);
        log.outcome(4, id, token(1, 2), REFUSED).unwrap();
        assert_eq!(held(&log, id), (Stage::Dead(Cause::Refused), 1), "{policy:?}");
    }
}

#[test]
fn what_was_parked_after_its_last_attempt_may_be_in_a_checkpoint() {
    let (mut log, id) = under_way(NEVER_TWICE.with_attempts(1));
    log.outcome(4, id, token(1, 2), UNKNOWN).unwrap();
    let restored = Outbox::decode(&hostile::encoded(&log.outbox)).unwrap();
    assert_eq!(restored.digest(), log.outbox.digest());
}

#[test]
fn what_is_over_before_it_was_begun_had_no_attempt() {
    let patience = 3 * SECOND;
    let mut log = Log::claimed();
    let first = log.emit(2, MAIL, Policy::EMIT);
    let behind = log.emit(3, MAIL, Policy::EMIT.with_total_timeout(patience));
    let mut unclaimed = Log { outbox: Outbox::new(LIMITS) };
    let early = unclaimed.emit(2, MAIL, Policy::EMIT.with_total_timeout(patience));
    log.advance(9);
    unclaimed.advance(9);
    assert_eq!(held(&log, behind), (Stage::Dead(Cause::Expired), 0), "it waited for the first");
    assert_eq!(held(&log, first), (Stage::Ready, 0));
    assert_eq!(held(&unclaimed, early), (Stage::Dead(Cause::Expired), 0), "nobody was to do it");
    let mut log = Log::claimed();
    let delayed = Policy::EMIT.with_backoff(100 * SECOND, 100 * SECOND).with_total_timeout(patience);
    let delayed = log.emit(2, MAIL, delayed);
    log.outcome(4, delayed, token(1, 2), FAILED).unwrap();
    log.advance(9);
    assert_eq!(held(&log, delayed), (Stage::Dead(Cause::Expired), 1), "between two attempts");
}
