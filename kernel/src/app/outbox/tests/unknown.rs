//! What is known late of attempts that were given up as unknown, and what is never found out.

use super::*;

#[test]
fn the_late_answer_to_what_was_given_up_as_unknown_counts_whatever_was_claimed_since() {
    let mut log = Log::claimed();
    let delayed = log.emit(2, MAIL, Policy::EMIT.with_backoff(10 * SECOND, 10 * SECOND));
    let dead = log.emit(3, Destination::Emit(Channel(2)), Policy::EMIT.with_total_timeout(2 * SECOND));
    assert_eq!(log.outcome(4, delayed, token(1, 2), EffectResult::Unknown { code: 1 }), Ok(None));
    assert_eq!((log.advance(5), log.stage(dead)), (vec![], Stage::Dead(Cause::Expired)));
    log.outbox.claim(fence(2), Op(6)).unwrap();
    for (id, attempt) in [(delayed, 2), (dead, 3)] {
        let mut late = Log { outbox: log.outbox.clone() };
        assert_eq!(late.outcome(7, id, token(2, attempt), done()), Err(Refusal::StaleToken), "never run in view 2");
        assert_eq!(late.outcome(7, id, token(1, attempt), done()), ended(id, End::Acknowledged));
    }
    log.advance(14);
    assert_eq!(log.outbox.redrive(dead, Op(15), Timestamp(15 * SECOND)), Ok(()));
    assert_eq!(log.tasks(), ["run op2 v2/op14", "run op3 v2/op15"]);
    for (id, attempt) in [(delayed, 2), (dead, 3)] {
        let late = log.outcome(16, id, token(1, attempt), done());
        assert_eq!(late, Err(Refusal::StaleToken), "there is a later attempt");
    }
}

#[test]
fn what_is_run_again_by_an_operator_is_asked_about_first_if_nobody_knows_whether_it_was_done() {
    let policy = Policy::EMIT.with_unknown(OnUnknown::AskFirst).with_attempts(1);
    let given_up = |total_timeout_ns| {
        let mut log = Log::claimed();
        let id = log.emit(2, MAIL, policy.with_total_timeout(total_timeout_ns));
        log.outbox.start(id, token(1, 2), Op(3)).unwrap();
        (log, id)
    };
    let (mut exhausted, id) = given_up(100 * SECOND);
    assert_eq!(exhausted.outcome(4, id, token(1, 2), EffectResult::Unknown { code: 1 }), Ok(None));
    let (mut expired, _) = given_up(2 * SECOND);
    expired.advance(4);
    for (mut log, cause) in [(exhausted, Cause::Attempts), (expired, Cause::Expired)] {
        assert_eq!((log.stage(id), log.tasks().len()), (Stage::Dead(cause), 0));
        assert_eq!(log.outbox.redrive(id, Op(5), Timestamp(5 * SECOND)), Ok(()));
        assert_eq!(log.tasks(), ["ask op2 v1/op5"]);
        let mut late = Log { outbox: log.outbox.clone() };
        assert_eq!(late.outcome(6, id, token(1, 2), done()), ended(id, End::Acknowledged), "the run's own answer");

        assert_eq!(log.outcome(6, id, token(1, 5), EffectResult::NotDone), Ok(None));
        assert_eq!(log.tasks(), ["start op2 v1/op6"], "a new start");
        log.outbox.start(id, token(1, 6), Op(7)).unwrap();
        assert_eq!(log.outcome(8, id, token(1, 6), EffectResult::Refused { code: 1 }), Ok(None));
        assert_eq!(log.outbox.redrive(id, Op(9), Timestamp(9 * SECOND)), Ok(()));
        assert_eq!(log.tasks(), ["start op2 v1/op9"], "it is known that it was not done");
    }
}

#[test]
fn what_the_sink_cannot_tell_of_is_run_again_if_an_operator_says_so() {
    let mut log = Log::claimed();
    let id = log.emit(2, MAIL, Policy::EMIT.with_unknown(OnUnknown::AskFirst));
    log.outbox.start(id, token(1, 2), Op(3)).unwrap();
    log.outbox.claim(fence(2), Op(4)).unwrap();
    let [question] = &log.tasks()[..] else { panic!("{:?}", log.tasks()) };
    assert_eq!(question, "ask op2 v2/op4");
    assert_eq!(log.outcome(5, id, token(2, 4), EffectResult::Refused { code: 7 }), Ok(None));
    assert_eq!((log.stage(id), log.tasks().len()), (Stage::Dead(Cause::Refused), 0));
    assert_eq!(log.outbox.redrive(id, Op(6), Timestamp(6 * SECOND)), Ok(()));
    assert_eq!(log.tasks(), ["start op2 v2/op6"], "to ask again would be in vain");
    assert_eq!(log.outcome(7, id, token(1, 2), done()), Err(Refusal::StaleToken));
    log.outbox.start(id, token(2, 6), Op(7)).unwrap();
    assert_eq!(log.outcome(8, id, token(2, 6), done()), ended(id, End::Acknowledged));
}

#[test]
fn what_waits_to_be_asked_about_is_started_in_its_turn_if_its_late_answer_is_that_it_was_not_done() {
    let mut log = Log::claimed();
    let id = log.emit(2, MAIL, Policy::EMIT.with_unknown(OnUnknown::AskFirst).with_attempts(1));
    log.outbox.start(id, token(1, 2), Op(3)).unwrap();
    assert_eq!(log.outcome(4, id, token(1, 2), EffectResult::Unknown { code: 1 }), Ok(None));
    let first = log.emit(5, MAIL, Policy::EMIT);
    assert_eq!(log.outbox.redrive(id, Op(6), Timestamp(6 * SECOND)), Ok(()));
    assert_eq!(log.outcome(7, id, token(1, 2), EffectResult::Failed { code: 1 }), Ok(None));
    assert_eq!((log.stage(id), log.tasks()), (Stage::Ready, vec!["run op5 v1/op5".into()]));
    assert_eq!(log.outcome(8, first, token(1, 5), done()), ended(first, End::Acknowledged));
    assert_eq!(log.tasks(), ["start op2 v1/op8"]);
    assert!(!log.outbox.get(id).unwrap().standing.may_have_run);
}
