//! Answers can be told apart, and effects and timers become events, each once.

mod release;
mod ticks;

use std::{format, string::String, vec, vec::Vec};

use super::*;
use crate::{
    app::{
        effect::{Channel, Destination, EffectId, EffectReport, EffectResult, Fence, FencingToken, OnUnknown, Policy},
        kv::{self, Kv},
        record,
        room::Limits,
    },
    frame::Frame,
    types::{Epoch, Op, View},
};

/// Sums the first bytes of requests; refuses empty ones after it began to answer; echoes.
#[derive(Clone)]
struct Sum;

impl Application for Sum {
    type State = u64;

    fn genesis(&self) -> u64 {
        100
    }

    fn apply(
        &self,
        state: &mut u64,
        event: Event<'_>,
        context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let Event::Request { payload } = event else { return Ok(()) };
        outcome.response.extend_from_slice(payload);
        let Some(first) = payload.first() else {
            outcome.response.extend_from_slice(b"begun");
            return Err(Rejection { code: 7, detail: vec![b'o', context.op.0 as u8] });
        };
        *state += u64::from(*first);
        Ok(())
    }

    fn query(&self, state: &u64, request: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        if !request.is_empty() {
            return Err(Rejection::new(9));
        }
        response.extend_from_slice(&state.to_le_bytes());
        Ok(())
    }

    fn snapshot(&self, state: &u64, writer: &mut SnapshotWriter) {
        writer.record(&state.to_le_bytes());
    }

    fn restore(&self, state: &mut u64, record: &[u8]) -> Result<(), RestoreError> {
        *state = u64::from_le_bytes(record.try_into().map_err(|_| RestoreError)?);
        Ok(())
    }

    fn response_size_max(&self) -> u32 {
        8
    }
}

/// The records of what an executor froze.
fn records<A: Application>(executor: &Executor<A>) -> Vec<Vec<u8>> {
    record::written(|writer| executor.snapshot(writer))
}

#[test]
fn a_frozen_state_is_written_as_it_was_and_a_restored_one_is_seen_only_when_it_is_whole() {
    let mut executor = Executor::new(Sum, ClusterId(1));
    executor.apply(&[7], &context(1));
    executor.freeze();
    executor.apply(&[7], &context(2));
    let records = records(&executor);
    assert_eq!((records.len(), &records[2][..]), (3, &107_u64.to_le_bytes()[..]));
    for record in &records {
        assert_eq!((executor.restore(record), *executor.state()), (Ok(()), 114));
    }
    assert_eq!(executor.restore(&[1]), Err(RestoreError));
    assert_eq!((executor.restored(), *executor.state()), (Ok(()), 107));
    assert_eq!(executor.restored(), Err(RestoreError), "nothing was restored");
    assert_eq!(executor.restore(&[1]), Err(RestoreError), "no outbox");
    assert_eq!(executor.restore(&records[0]), Ok(()));
    assert_eq!((executor.restored(), *executor.state()), (Err(RestoreError), 107), "no timers");
}

#[test]
fn a_snapshot_goes_on_in_the_part_that_it_paused_in_and_only_the_application_is_asked_what_is_unchanged() {
    const PAYLOAD: [u8; 1500] = [7; 1500];
    let mut executor = Executor::new(Kv, ClusterId(1));
    let mut pauses = [0; 3];
    for index in 0..6 {
        let id = EffectId { cluster: ClusterId(1), op: Op(1), position: 0, index };
        let payload = Frame::new(PAYLOAD.to_vec());
        let emit = Destination::Emit(MAIL);
        executor.outbox.insert(id, emit, Policy::EMIT, payload.clone(), Timestamp(1));
        executor.timers.insert(id, Timestamp(1), 10, payload);
        let mut put = Vec::new();
        kv::Request::Put { key: &[index as u8], value: &PAYLOAD }.encode(&mut put);
        executor.apply(&put, &context(1));
    }
    executor.freeze();
    executor.keep();
    executor.freeze();
    let mut pause_before: Option<Vec<u8>> = None;
    let records = record::written(|writer| {
        let position = writer.resumed().map(<[u8]>::to_vec);
        if let Some(position) = &position {
            let part = usize::from(position[0]);
            pauses[part] += 1;
            if let Some(before) = &pause_before {
                let within = part == usize::from(before[0]) && part == usize::from(PART_APPLICATION);
                assert_eq!(executor.is_unchanged(before, position), within, "{before:?} to {position:?}");
            }
        }
        pause_before = position;
        executor.snapshot(writer);
    });
    assert!(pauses.iter().all(|pauses| *pauses > 1), "{pauses:?}");
    assert_eq!(records.len(), 7 + 7 + 6);
    let mut other = Executor::new(Kv, ClusterId(1));
    for record in &records {
        other.restore(record).unwrap();
    }
    other.restored().unwrap();
    assert_eq!((other.effects_digest(), other.state()), (executor.effects_digest(), executor.state()));
}

fn context(op: u64) -> ApplyContext {
    ApplyContext::new(Op(op), Timestamp(op), Checksum(0), 0)
}

#[test]
fn a_response_and_a_rejection_can_be_told_apart_whatever_they_hold() {
    let mut executor = Executor::new(Sum, ClusterId(1));
    // A response whose bytes look like the end of a rejection.
    let body = executor.apply(&[5, 0, 0, 0, 1], &context(1)).to_vec();
    assert_eq!(Answer::decode(&body), Ok(Answer::Applied(&[5, 0, 0, 0, 1])));
    assert_eq!(*executor.state(), 105);
    let body = executor.apply(&[], &context(2)).to_vec();
    assert_eq!(Answer::decode(&body), Ok(Answer::Rejected { code: 7, detail: &[b'o', 2] }));
    assert_eq!(*executor.state(), 105);
    assert_eq!(Answer::decode(executor.query(&[])), Ok(Answer::Applied(&105_u64.to_le_bytes())));
    assert_eq!(Answer::decode(executor.query(&[1])), Ok(Answer::Rejected { code: 9, detail: &[] }));
}

#[test]
fn an_answer_holds_nothing_of_the_one_before() {
    let mut executor = Executor::new(Sum, ClusterId(1));
    executor.apply(&[1; 8], &context(1));
    let body = executor.apply(&[2], &context(2));
    assert_eq!(Answer::decode(body), Ok(Answer::Applied(&[2])));
}

#[test]
fn an_answer_is_never_longer_than_the_limit_and_its_overhead() {
    let mut executor = Executor::new(Sum, ClusterId(1));
    assert_eq!(executor.apply(&[1; 8], &context(1)).len(), 9);
    assert!(executor.apply(&[], &context(2)).len() <= 8 + ANSWER_OVERHEAD as usize);
}

#[test]
#[should_panic(expected = "exceeds its own limit of 8")]
fn an_application_that_exceeds_its_own_limit_stops() {
    Executor::new(Sum, ClusterId(1)).apply(&[1; 9], &context(1));
}

#[test]
fn bytes_that_no_executor_made_are_no_answer() {
    for body in [&[][..], &[2], &[255], &[1], &[0, 0, 0, 1]] {
        assert_eq!(Answer::decode(body), Err(AnswerError), "{body:?}");
    }
}

/// Asks for what the first byte of a request says, and writes down all that it is told.
#[derive(Clone)]
struct Scribe;

const MAIL: Channel = Channel(3);

impl Application for Scribe {
    type State = Vec<String>;

    fn genesis(&self) -> Vec<String> {
        Vec::new()
    }

    fn apply(
        &self,
        state: &mut Vec<String>,
        event: Event<'_>,
        context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let at = context.op.0;
        match event {
            Event::Request { payload: b"mail" } => drop(outcome.emit(MAIL, *b"dear", Policy::EMIT).unwrap()),
            Event::Request { payload: b"once" } => {
                let policy = Policy::FETCH.with_total_timeout(5).with_unknown(OnUnknown::NeverTwice);
                outcome.fetch(*b"uri", policy).unwrap();
            }
            Event::Request { payload: b"refuse" } => {
                outcome.emit(MAIL, *b"never", Policy::EMIT).unwrap();
                outcome.schedule(1, *b"never").unwrap();
                return Err(Rejection::new(1));
            }
            Event::Request { payload: b"full" } => while outcome.emit(MAIL, *b"", Policy::EMIT).is_ok() {},
            Event::Request { payload } => drop(outcome.schedule(10, payload).unwrap()),
            Event::Fired { payload, .. } if payload == b"again" => {
                state.push(format!("again at {at}"));
                outcome.schedule(10, payload).unwrap();
            }
            Event::Fired { payload, .. } => state.push(format!("{payload:?} at {at}")),
            Event::Acknowledged { id } => state.push(format!("acknowledged {} at {at}", id.op.0)),
            Event::Fetched { response, .. } => state.push(format!("fetched {response:?} at {at}")),
            Event::Failed { cause, may_have_run, .. } => state.push(format!("{cause:?} {may_have_run} at {at}")),
        }
        Ok(())
    }

    fn query(&self, _: &Vec<String>, _: &[u8], _: &mut Vec<u8>) -> Result<(), Rejection> {
        Err(Rejection::new(2))
    }

    fn response_size_max(&self) -> u32 {
        0
    }

    fn snapshot(&self, state: &Vec<String>, writer: &mut SnapshotWriter) {
        state.iter().for_each(|line| writer.record(line.as_bytes()));
    }

    fn restore(&self, state: &mut Vec<String>, record: &[u8]) -> Result<(), RestoreError> {
        state.push(String::from_utf8(record.to_vec()).map_err(|_| RestoreError)?);
        Ok(())
    }

    fn effects_max(&self) -> Limits {
        Limits { entries_max: 8, ..Limits::DEFAULT }
    }
}

/// Op `n` is of the time `n`.
fn request(executor: &mut Executor<Scribe>, op: u64, payload: &[u8]) {
    executor.begin(&context(op));
    executor.apply(payload, &context(op));
}

fn system(executor: &mut Executor<Scribe>, op: u64, entry: &SystemEntry) -> Result<(), SystemError> {
    let mut payload = Vec::new();
    entry.encode(&mut payload);
    executor.begin(&context(op));
    executor.apply_system(&payload, &context(op))
}

fn outcome(id: EffectId, token: FencingToken, response: &[u8]) -> SystemEntry {
    SystemEntry::Outcome(EffectReport { id, token, result: EffectResult::Done { response: response.to_vec() } })
}

const CLAIM: Fence = Fence { epoch: Epoch(0), view: View(1) };

#[test]
fn timers_fire_as_events_of_the_first_op_that_is_late_enough_and_before_its_requests() {
    let mut executor = Executor::new(Scribe, ClusterId(1));
    request(&mut executor, 1, b"again");
    request(&mut executor, 2, b"b");
    assert_eq!(executor.due(), Some(Timestamp(11)));
    executor.begin(&context(10));
    assert!(executor.state().is_empty());
    executor.begin(&context(40));
    assert_eq!(*executor.state(), ["again at 40", "[98] at 40"]);
    assert_eq!(executor.due(), Some(Timestamp(50)), "what is asked for when a timer fires does not fire with it");
    executor.begin(&context(60));
    assert_eq!(executor.state().len(), 3);
}

#[test]
fn no_more_timers_fire_in_one_op_than_the_bound_and_the_rest_is_still_due() {
    let mut executor = Executor::new(Scribe, ClusterId(1));
    for number in 0..DUE_MAX + 2 {
        executor.apply(&number.to_le_bytes(), &context(1).at(number));
    }
    executor.begin(&context(100));
    assert_eq!(executor.state().len(), DUE_MAX as usize);
    assert_eq!(executor.due(), Some(Timestamp(11)));
    executor.begin(&context(101));
    assert_eq!((executor.state().len(), executor.due()), (DUE_MAX as usize + 2, None));
}

#[test]
fn an_effect_ends_once_and_the_application_is_told_in_that_op() {
    let mut executor = Executor::new(Scribe, ClusterId(1));
    request(&mut executor, 1, b"mail");
    system(&mut executor, 2, &SystemEntry::Claim(CLAIM)).unwrap();
    let task = executor.outbox().tasks().next().unwrap();
    let (id, token) = (task.id, task.token);
    assert_eq!(id, EffectId { cluster: ClusterId(1), op: Op(1), position: 0, index: 0 });
    assert_eq!(system(&mut executor, 3, &SystemEntry::Claim(CLAIM)), Err(SystemError::Refused(Refusal::StaleClaim)));
    system(&mut executor, 4, &outcome(id, token, b"")).unwrap();
    let again = system(&mut executor, 5, &outcome(id, token, b""));
    assert_eq!(again, Err(SystemError::Refused(Refusal::NoSuchEffect)));
    assert_eq!(*executor.state(), ["acknowledged 1 at 4"]);
    assert!(matches!(executor.apply_system(b"none", &context(6)), Err(SystemError::Codec(_))));
}

#[test]
fn what_was_started_is_fetched_once_and_what_is_late_has_failed() {
    let mut executor = Executor::new(Scribe, ClusterId(1));
    system(&mut executor, 1, &SystemEntry::Claim(CLAIM)).unwrap();
    for (op, late) in [(2, false), (10, true)] {
        request(&mut executor, op, b"once");
        let task = executor.outbox().tasks().next().unwrap();
        let (id, token) = (task.id, task.token);
        system(&mut executor, op + 1, &SystemEntry::Start { id, token }).unwrap();
        let ended = system(&mut executor, op + if late { 5 } else { 2 }, &outcome(id, token, b"x"));
        assert_eq!(ended.is_ok(), !late);
    }
    assert_eq!(*executor.state(), ["fetched [120] at 4", "Expired true at 15"]);
}

#[test]
fn a_rejected_request_asks_for_nothing_and_a_full_outbox_takes_no_more() {
    let mut executor = Executor::new(Scribe, ClusterId(1));
    let empty = executor.effects_digest();
    request(&mut executor, 1, b"refuse");
    assert_eq!((executor.effects_digest(), executor.is_high()), (empty, false));
    request(&mut executor, 2, b"full");
    assert_eq!((executor.outbox().len(), executor.is_high()), (8, true));
    assert_ne!(executor.effects_digest(), empty);
}

#[test]
fn effects_and_timers_of_a_checkpoint_take_the_place_of_the_present_ones() {
    let mut executor = Executor::new(Scribe, ClusterId(1));
    request(&mut executor, 1, b"mail");
    request(&mut executor, 2, b"a timer");
    executor.freeze();
    let records = records(&executor);
    let (digest, due) = (executor.effects_digest(), executor.due());
    request(&mut executor, 3, b"mail");
    request(&mut executor, 4, b"another timer");
    let changes = executor.outbox().changes();
    for record in &records {
        executor.restore(record).unwrap();
    }
    executor.restored().unwrap();
    assert_eq!((executor.effects_digest(), executor.due(), executor.outbox().len()), (digest, due, 1));
    assert!(executor.outbox().changes() > changes, "whoever looked before looks again");
}

fn operate(executor: &mut Executor<Scribe>, op: u64, request: &OperatorRequest) -> Result<Vec<u8>, u32> {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    executor.begin(&context(op));
    match Answer::decode(executor.operate(&payload, &context(op))).unwrap() {
        Answer::Applied(response) => Ok(response.to_vec()),
        Answer::Rejected { code, .. } => Err(code),
    }
}

#[test]
fn an_operator_is_answered_about_dead_letters_and_the_application_is_told_what_ended_by_it() {
    let mut executor = Executor::new(Scribe, ClusterId(1));
    system(&mut executor, 1, &SystemEntry::Claim(CLAIM)).unwrap();
    let ids = [2, 4].map(|op| {
        request(&mut executor, op, b"mail");
        let task = executor.outbox().tasks().next().unwrap();
        let report = EffectReport { id: task.id, token: task.token, result: EffectResult::Refused { code: 9 } };
        system(&mut executor, op + 1, &SystemEntry::Outcome(report.clone())).unwrap();
        report.id
    });
    let page = operate(&mut executor, 6, &OperatorRequest::List { after: None }).unwrap();
    let page = Page::decode(&page).unwrap();
    assert!(page.effects.iter().map(|held| held.id).eq(ids) && !page.more);
    assert_eq!((page.effects[0].code, &page.effects[0].preview[..]), (9, &b"dear"[..]));
    let after = operate(&mut executor, 7, &OperatorRequest::List { after: Some(ids[0]) }).unwrap();
    assert_eq!(Page::decode(&after).unwrap().effects[0].id, ids[1]);
    assert_eq!(operate(&mut executor, 8, &OperatorRequest::Redrive { id: ids[0] }), Ok(vec![]));
    let not_held = Err(OperatorRefusal::NotHeld as u32);
    assert_eq!(operate(&mut executor, 9, &OperatorRequest::Redrive { id: ids[0] }), not_held, "it is under way");
    let resolve = OperatorRequest::Resolve { id: ids[1], response: vec![] };
    assert_eq!(operate(&mut executor, 10, &resolve), Ok(vec![]));
    assert_eq!(operate(&mut executor, 11, &resolve), Err(OperatorRefusal::NoSuchEffect as u32));
    assert_eq!(*executor.state(), ["acknowledged 4 at 10"]);
    let malformed = executor.operate(b"none", &context(12)).to_vec();
    let code = OperatorRefusal::Malformed as u32;
    assert_eq!(Answer::decode(&malformed), Ok(Answer::Rejected { code, detail: &[] }));
}
