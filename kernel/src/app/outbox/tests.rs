//! Each promise of the outbox by itself; `history` takes them together, over many histories.

use std::{format, vec, vec::Vec};

use super::*;
use crate::{
    app::effect::{Cause, Channel, EffectResult, End, OnExhausted, Severity},
    types::{ClusterId, Epoch, View},
    wire::codec::CodecError,
};

mod attempts;
mod history;
mod hostile;
mod total_time;
mod unknown;

pub(super) const LIMITS: Limits = Limits { entries_max: 64, bytes_max: 1 << 20 };
const MAIL: Destination = Destination::Emit(Channel(1));
const SECOND: u64 = 1_000_000_000;

pub(super) fn id(op: u64) -> EffectId {
    EffectId { cluster: ClusterId(7), op: Op(op), position: 0, index: 0 }
}

pub(super) fn fence(view: u64) -> Fence {
    Fence { epoch: Epoch(0), view: View(view) }
}

fn token(view: u64, attempt: u64) -> FencingToken {
    FencingToken { fence: fence(view), attempt: Op(attempt) }
}

fn done() -> EffectResult {
    EffectResult::Done { response: b"response".to_vec() }
}

/// An outbox at the end of a log whose op `n` is at second `n`.
struct Log {
    outbox: Outbox,
}

impl Log {
    /// Claimed in view 1, at op 1.
    fn claimed() -> Self {
        let mut outbox = Outbox::new(LIMITS);
        outbox.claim(fence(1), Op(1)).expect("the first claim");
        Self { outbox }
    }

    fn emit(&mut self, op: u64, destination: Destination, policy: Policy) -> EffectId {
        self.outbox.insert(id(op), destination, policy, Frame::new(vec![op as u8]), Timestamp(op * SECOND));
        id(op)
    }

    fn outcome(&mut self, op: u64, id: EffectId, token: FencingToken, result: EffectResult) -> Outcome {
        self.outbox.outcome(id, token, result, Op(op), Timestamp(op * SECOND))
    }

    fn advance(&mut self, op: u64) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.outbox.advance(Op(op), Timestamp(op * SECOND), u32::MAX, &mut ended);
        ended
    }

    /// What is to be done, as `start op2 v1-a2`.
    fn tasks(&self) -> Vec<std::string::String> {
        let text = |task: Task<'_>| {
            let kind = format!("{:?}", task.kind).to_lowercase();
            format!("{kind} {} {}/{}", task.id.op, task.token.fence.view, task.token.attempt)
        };
        self.outbox.tasks().map(text).collect()
    }

    fn stage(&self, id: EffectId) -> Stage {
        self.outbox.get(id).expect("an effect that has not ended").standing.stage
    }
}

type Outcome = Result<Option<Ended>, Refusal>;

const fn ended(id: EffectId, end: End) -> Outcome {
    Ok(Some(Ended { id, end }))
}

const fn failed(cause: Cause, code: u32, may_have_run: bool) -> End {
    End::Failed { cause, code, may_have_run }
}

#[test]
fn nothing_is_to_be_done_before_a_claim() {
    let mut log = Log { outbox: Outbox::new(LIMITS) };
    let id = log.emit(1, MAIL, Policy::EMIT);
    assert_eq!(log.tasks(), [""; 0]);
    assert_eq!(log.outcome(2, id, token(0, 1), done()), Err(Refusal::StaleToken));
    log.outbox.claim(fence(0), Op(3)).unwrap();
    assert_eq!(log.tasks(), ["run op1 v0/op1"]);
}

#[test]
fn a_claim_that_is_not_later_changes_nothing() {
    let mut log = Log::claimed();
    log.emit(2, MAIL, Policy::EMIT);
    let before = log.outbox.digest();
    assert_eq!(log.outbox.claim(fence(1), Op(3)), Err(Refusal::StaleClaim));
    assert_eq!(log.outbox.claim(fence(0), Op(3)), Err(Refusal::StaleClaim));
    assert_eq!((log.outbox.digest(), log.outbox.fence()), (before, Some(fence(1))));
    assert_eq!(log.outbox.claim(Fence { epoch: Epoch(1), view: View(0) }, Op(4)), Ok(()), "a later epoch");
}

#[test]
fn effects_of_a_channel_are_done_one_after_another_under_rising_tokens_and_other_channels_do_not_wait() {
    let mut log = Log::claimed();
    let (first, second) = (log.emit(2, MAIL, Policy::EMIT), log.emit(3, MAIL, Policy::EMIT));
    log.emit(4, Destination::Emit(Channel(2)), Policy::EMIT);
    assert_eq!(log.tasks(), ["run op2 v1/op2", "run op4 v1/op4"]);
    assert_eq!(log.outcome(5, second, token(1, 3), done()), Err(Refusal::StaleToken), "it waits");
    assert_eq!(log.outcome(6, first, token(1, 2), done()), ended(first, End::Acknowledged));
    assert_eq!(log.tasks(), ["run op3 v1/op6", "run op4 v1/op4"]);
    assert_eq!(log.outcome(7, first, token(1, 2), done()), Err(Refusal::NoSuchEffect), "the same again");
    assert_eq!(log.outcome(8, second, token(1, 6), done()), ended(second, End::Acknowledged));
    assert_eq!(log.tasks(), ["run op4 v1/op4"]);
}

#[test]
fn fetches_wait_for_nothing_and_lines_of_the_log_for_each_other() {
    let mut log = Log::claimed();
    let fetch = log.emit(2, Destination::Fetch, Policy::FETCH);
    log.emit(3, Destination::Fetch, Policy::FETCH);
    let line = log.emit(4, Destination::Log(Severity::Error), Policy::LOG);
    log.emit(5, Destination::Log(Severity::Info), Policy::LOG);
    assert_eq!(log.tasks(), ["run op2 v1/op2", "run op3 v1/op3", "run op4 v1/op4"]);
    assert_eq!(
        log.outcome(6, fetch, token(1, 2), done()),
        ended(fetch, End::Fetched { response: b"response".to_vec() })
    );
    assert_eq!(log.outcome(7, line, token(1, 4), done()), Ok(None), "nobody is told of a line");
    assert_eq!(log.tasks(), ["run op3 v1/op3", "run op5 v1/op7"]);
}

#[test]
fn what_failed_is_tried_again_after_delays_of_the_logs_time_and_holds_up_its_channel() {
    let mut log = Log::claimed();
    let first = log.emit(2, MAIL, Policy::EMIT.with_backoff(2 * SECOND, 100 * SECOND).with_attempts(3));
    let second = log.emit(3, MAIL, Policy::EMIT);
    assert_eq!(log.outcome(4, first, token(1, 2), EffectResult::Failed { code: 503 }), Ok(None));
    assert_eq!((log.tasks().len(), log.outbox.due()), (0, Some(Timestamp(6 * SECOND))));
    assert_eq!((log.advance(5), log.tasks().len()), (vec![], 0), "too early");
    let repeated = EffectResult::Failed { code: 503 };
    assert_eq!(log.outcome(5, first, token(1, 2), repeated.clone()), Err(Refusal::StaleToken), "the same again");
    log.advance(7);
    assert_eq!(log.tasks(), ["run op2 v1/op7"]);
    assert_eq!(log.outcome(8, first, token(1, 7), repeated.clone()), Ok(None));
    assert_eq!(log.outbox.due(), Some(Timestamp(12 * SECOND)), "twice as long");
    log.advance(12);
    assert_eq!(log.outcome(13, first, token(1, 12), repeated), Ok(None));
    assert_eq!(log.stage(first), Stage::Dead(Cause::Attempts));
    assert_eq!(log.tasks(), ["run op3 v1/op13"], "a dead letter lets its channel pass");
    assert_eq!(log.outcome(14, second, token(1, 13), done()), ended(second, End::Acknowledged));
}

#[test]
fn an_effect_that_may_fail_tells_the_application_so_and_leaves() {
    for (result, cause, may_have_run) in [
        (EffectResult::Failed { code: 5 }, Cause::Attempts, false),
        (EffectResult::Unknown { code: 5 }, Cause::Attempts, true),
        (EffectResult::Refused { code: 5 }, Cause::Refused, false),
    ] {
        let mut log = Log::claimed();
        let id = log.emit(2, Destination::Fetch, Policy::FETCH.with_attempts(1));
        assert_eq!(log.outcome(3, id, token(1, 2), result), ended(id, failed(cause, 5, may_have_run)));
        assert!(log.outbox.is_empty());
        let line = log.emit(4, Destination::Log(Severity::Error), Policy::LOG);
        assert_eq!(log.outcome(5, line, token(1, 4), EffectResult::Refused { code: 5 }), Ok(None));
        assert!(log.outbox.is_empty(), "a line is forgotten");
    }
}

#[test]
fn the_late_answer_to_an_attempt_without_a_later_one_counts_and_to_any_other_does_not() {
    let mut log = Log::claimed();
    let id = log.emit(2, MAIL, Policy::EMIT.with_backoff(SECOND, SECOND));
    assert_eq!(log.outcome(3, id, token(1, 2), EffectResult::Unknown { code: 1 }), Ok(None));
    let mut late = Log { outbox: log.outbox.clone() };
    assert_eq!(late.outcome(3, id, token(1, 2), EffectResult::Unknown { code: 1 }), Err(Refusal::Repeated));
    assert_eq!(late.outcome(4, id, token(1, 2), done()), ended(id, End::Acknowledged));
    log.advance(4);
    assert_eq!(log.tasks(), ["run op2 v1/op4"]);
    assert_eq!(log.outcome(5, id, token(1, 2), done()), Err(Refusal::StaleToken));
}

#[test]
fn what_ran_for_an_older_claim_without_a_start_is_run_again_and_its_outcome_refused() {
    let mut log = Log::claimed();
    let id = log.emit(2, Destination::Fetch, Policy::FETCH.with_attempts(1));
    log.outbox.claim(fence(4), Op(3)).unwrap();
    assert_eq!(log.tasks(), ["run op2 v4/op2"]);
    assert_eq!(log.outcome(4, id, token(1, 2), done()), Err(Refusal::StaleToken));
    let end = failed(Cause::Attempts, 9, true);
    assert_eq!(
        log.outcome(5, id, token(4, 2), EffectResult::Failed { code: 9 }),
        ended(id, end),
        "view 1 may have run it"
    );
}

#[test]
fn a_guarded_effect_is_run_only_after_its_start_is_committed() {
    for on_unknown in [OnUnknown::NeverTwice, OnUnknown::AskFirst] {
        let mut log = Log::claimed();
        let id = log.emit(2, MAIL, Policy::EMIT.with_unknown(on_unknown));
        let behind = log.emit(3, MAIL, Policy::EMIT.with_unknown(on_unknown));
        assert_eq!(log.tasks(), ["start op2 v1/op2"]);
        assert_eq!(log.outcome(4, id, token(1, 2), done()), Err(Refusal::StaleToken), "nothing was started");
        assert_eq!(log.outbox.start(id, token(0, 2), Op(4)), Err(Refusal::StaleToken), "an older claim");
        assert_eq!(log.outbox.start(id, token(1, 3), Op(4)), Err(Refusal::StaleToken), "another attempt");
        assert_eq!(log.outbox.start(behind, token(1, 3), Op(4)), Err(Refusal::NotReady), "it waits");
        assert_eq!(log.outbox.start(id, token(1, 2), Op(4)), Ok(()));
        assert_eq!(log.tasks(), ["run op2 v1/op2"]);
        assert_eq!(log.outbox.start(id, token(1, 2), Op(5)), Err(Refusal::NotReady), "the same again");
        assert_eq!(log.outcome(6, id, token(1, 2), EffectResult::Failed { code: 1 }), Ok(None));
        log.advance(7);
        assert_eq!(log.tasks(), ["start op2 v1/op7"], "a new attempt has a new start");
        log.outbox.start(id, token(1, 7), Op(8)).unwrap();
        assert_eq!(log.outcome(9, id, token(1, 7), done()), ended(id, End::Acknowledged));
    }
    let mut log = Log::claimed();
    let id = log.emit(2, MAIL, Policy::EMIT);
    assert_eq!(log.outbox.start(id, token(1, 2), Op(3)), Err(Refusal::NotReady), "it needs none");
}

/// A guarded effect that was started in view 1, before view 2 claimed the outbox in op 4; another one waits behind it.
fn abandoned(policy: Policy) -> (Log, EffectId) {
    let mut log = Log::claimed();
    let id = log.emit(2, MAIL, policy);
    log.emit(3, MAIL, Policy::EMIT);
    log.outbox.start(id, token(1, 2), Op(3)).unwrap();
    log.outbox.claim(fence(2), Op(4)).unwrap();
    (log, id)
}

#[test]
fn what_is_never_run_twice_is_parked_when_its_primary_is_gone_and_its_late_outcome_resolves_it() {
    let policy = Policy::EMIT.with_unknown(OnUnknown::NeverTwice);
    let (mut log, id) = abandoned(policy);
    assert_eq!((log.stage(id), log.tasks()), (Stage::Parked, vec!["run op3 v2/op4".into()]));
    assert_eq!(log.outcome(5, id, token(2, 2), done()), Err(Refusal::StaleToken), "never started in view 2");
    assert_eq!(log.outcome(5, id, token(1, 2), EffectResult::Unknown { code: 3 }), Err(Refusal::Repeated));
    log.outbox.claim(fence(3), Op(6)).unwrap();
    assert_eq!(log.outcome(7, id, token(1, 2), done()), ended(id, End::Acknowledged), "whatever was claimed since");

    let (mut log, id) = abandoned(policy);
    assert_eq!(log.outcome(5, id, token(1, 2), EffectResult::Failed { code: 3 }), Ok(None));
    assert_eq!(log.stage(id), Stage::Dead(Cause::Attempts), "its channel went on: it is not run out of order");
    assert!(!log.outbox.get(id).unwrap().standing.may_have_run, "and certainly did nothing");
    assert_eq!(log.outcome(6, id, token(1, 2), done()), Err(Refusal::StaleToken));
}

#[test]
fn what_is_never_run_twice_is_parked_when_no_answer_came_in_time() {
    let mut log = Log::claimed();
    let id = log.emit(2, MAIL, Policy::EMIT.with_unknown(OnUnknown::NeverTwice));
    log.outbox.start(id, token(1, 2), Op(3)).unwrap();
    assert_eq!(log.outcome(4, id, token(1, 2), EffectResult::Unknown { code: 1 }), Ok(None));
    assert_eq!((log.stage(id), log.tasks().len()), (Stage::Parked, 0));
}

#[test]
fn the_sink_is_asked_before_an_effect_whose_outcome_is_unknown_is_run_again() {
    let policy = Policy::EMIT.with_unknown(OnUnknown::AskFirst).with_backoff(SECOND, SECOND).with_attempts(3);
    let (mut log, id) = abandoned(policy);
    assert_eq!(log.tasks(), ["ask op2 v2/op4"]);
    assert_eq!(log.outbox.start(id, token(2, 4), Op(5)), Err(Refusal::NotReady), "a question needs no start");

    let mut yes = Log { outbox: log.outbox.clone() };
    assert_eq!(yes.outcome(5, id, token(2, 4), done()), ended(id, End::Acknowledged));
    let mut late = Log { outbox: log.outbox.clone() };
    assert_eq!(late.outcome(5, id, token(1, 2), done()), ended(id, End::Acknowledged), "the answer to the start");
    let mut known = Log { outbox: log.outbox.clone() };
    assert_eq!(known.outcome(5, id, token(1, 2), EffectResult::Failed { code: 1 }), Ok(None));
    assert_eq!(known.outbox.get(id).unwrap().standing.attempts, 1, "an attempt, and not a question");

    assert_eq!(log.outcome(5, id, token(2, 4), EffectResult::Unknown { code: 1 }), Ok(None));
    log.advance(6);
    assert_eq!(log.tasks(), ["ask op2 v2/op6"], "asked again");
    assert_eq!(log.outcome(7, id, token(1, 2), EffectResult::Unknown { code: 1 }), Err(Refusal::Repeated));
    let mut never = Log { outbox: log.outbox.clone() };
    assert_eq!(never.outcome(7, id, token(2, 6), EffectResult::Refused { code: 1 }), Ok(None));
    assert!(never.outbox.get(id).unwrap().standing.may_have_run, "that there will be no answer says nothing");
    assert_eq!(never.stage(id), Stage::Dead(Cause::Refused));
    let mut failed = Log { outbox: log.outbox.clone() };
    assert_eq!(failed.outcome(7, id, token(2, 6), EffectResult::Failed { code: 1 }), Ok(None));
    failed.advance(9);
    assert_eq!(failed.tasks(), ["ask op2 v2/op9"], "that there was no answer says nothing");
    assert_eq!(log.outcome(7, id, token(1, 2), EffectResult::NotDone), Err(Refusal::StaleToken), "not asked");
    assert_eq!(log.outcome(7, id, token(2, 6), EffectResult::NotDone), Ok(None));
    assert_eq!(log.tasks(), ["start op2 v2/op7"], "it has not happened: run again, at once");
    assert!(!log.outbox.get(id).unwrap().standing.may_have_run);
    assert_eq!(
        log.outcome(8, id, token(1, 2), done()),
        Err(Refusal::StaleToken),
        "the sink said that it cannot any more"
    );
    log.outbox.start(id, token(2, 7), Op(9)).unwrap();
    assert_eq!(log.outcome(10, id, token(2, 7), EffectResult::Unknown { code: 1 }), Ok(None));
    log.advance(11);
    assert_eq!(log.outcome(12, id, token(2, 11), EffectResult::Unknown { code: 1 }), Ok(None));
    assert_eq!(log.stage(id), Stage::Dead(Cause::Attempts), "two unknown answers to questions and one run");
    assert_eq!(log.outcome(13, id, token(2, 7), done()), ended(id, End::Acknowledged), "the run's own answer, at last");
}

#[test]
fn an_operator_decides_of_what_is_parked_or_dead_and_of_nothing_else() {
    let (mut log, parked) = abandoned(Policy::EMIT.with_unknown(OnUnknown::NeverTwice));
    let live = id(3);
    assert_eq!(log.outbox.redrive(live, Op(5), Timestamp(0)), Err(Refusal::NotHeld));
    assert_eq!(log.outbox.resolve(live, Op(5), vec![]), Err(Refusal::NotHeld));
    assert_eq!(log.outbox.discard(live, Op(5)), Err(Refusal::NotHeld));
    assert_eq!(log.outbox.discard(id(99), Op(5)), Err(Refusal::NoSuchEffect));

    let mut resolved = Log { outbox: log.outbox.clone() };
    assert_eq!(resolved.outbox.resolve(parked, Op(5), vec![]), ended(parked, End::Acknowledged));
    assert_eq!(resolved.outbox.len(), 1);
    let mut dropped = Log { outbox: log.outbox.clone() };
    assert_eq!(dropped.outbox.discard(parked, Op(5)), ended(parked, failed(Cause::Dropped, 0, true)));

    assert_eq!(log.outbox.redrive(parked, Op(5), Timestamp(5 * SECOND)), Ok(()));
    assert_eq!(log.tasks(), ["run op3 v2/op4"], "behind what its channel holds by now");
    assert_eq!(log.outcome(6, parked, token(1, 2), done()), Err(Refusal::StaleToken), "a new start is to come");
    assert_eq!(log.outcome(7, live, token(2, 4), done()), ended(live, End::Acknowledged));
    assert_eq!(log.tasks(), ["start op2 v2/op7"]);
    assert_eq!(log.outbox.get(parked).unwrap().standing.expires_at.0, 5 * SECOND + Policy::EMIT.total_timeout_ns());
}

#[test]
fn room_is_taken_and_given_back_with_the_effects() {
    let mut log = Log::claimed();
    assert_eq!(log.outbox.room(), Room::new(LIMITS));
    let id = log.emit(2, MAIL, Policy::EMIT);
    assert_eq!((log.outbox.room().entries(), log.outbox.room().bytes()), (1, crate::app::room::ENTRY_OVERHEAD + 1));
    log.outcome(3, id, token(1, 2), done()).unwrap();
    assert_eq!(log.outbox.room(), Room::new(LIMITS));
}

#[test]
fn every_difference_shows_in_the_digest_and_none_is_left_by_what_has_ended() {
    let base = Log::claimed();
    let mut with = Log { outbox: base.outbox.clone() };
    let id = with.emit(2, MAIL, Policy::EMIT);
    let variants = [
        with.outbox.digest(),
        base.outbox.digest(),
        Outbox::new(LIMITS).digest(),
        Outbox::new(Limits { entries_max: 63, ..LIMITS }).digest(),
        {
            let mut other = Log { outbox: base.outbox.clone() };
            other.emit(2, MAIL, Policy::FETCH);
            other.outbox.digest()
        },
        {
            let mut other = Log { outbox: with.outbox.clone() };
            other.outbox.claim(fence(2), Op(3)).unwrap();
            other.outbox.digest()
        },
        {
            let mut other = Log { outbox: with.outbox.clone() };
            other.outcome(3, id, token(1, 2), EffectResult::Failed { code: 0 }).unwrap();
            other.outbox.digest()
        },
    ];
    let distinct: BTreeSet<_> = variants.iter().collect();
    assert_eq!(distinct.len(), variants.len());
    let mut again = Log::claimed();
    for log in [&mut with, &mut again] {
        let other = if log.outbox.is_empty() { log.emit(2, Destination::Fetch, Policy::LOG) } else { id };
        log.outcome(3, other, token(1, 2), done()).unwrap();
    }
    assert_eq!(with.outbox.digest(), again.outbox.digest(), "each had one effect, which has ended");
}
