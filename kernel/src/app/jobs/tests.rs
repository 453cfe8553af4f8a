//! Leases end in the log's time, tokens fence, and each job ends once.

use std::{vec, vec::Vec};

use super::*;
use crate::{
    app::{application::snapshot, effect::EffectId, outcome::Wish},
    types::{ClusterId, Op, Timestamp},
};

const JOBS: Jobs = Jobs { attempts_max: 2, lease_ns_max: 100, jobs_max: 3, ended_max: 2, what_max: 8 };

/// When the timers that were asked for are due.
type Timers = Vec<u64>;

/// Applies an event at the time `at`.
fn apply(state: &mut State, timers: &mut Timers, at: u64, event: Event<'_>) -> Result<Vec<u8>, Refusal> {
    let context = ApplyContext::new(Op(at), Timestamp(at), Checksum(0), 0);
    let mut outcome = Outcome::default();
    outcome.begin(ClusterId(1), &context, outcome.effects(), outcome.timers());
    let before = state.clone();
    if let Err(rejection) = JOBS.apply(state, event, &context, &mut outcome) {
        assert_eq!(*state, before, "{event:?} was refused");
        return Err(Refusal::from_code(rejection.code).expect("our own code"));
    }
    for (_, wish) in outcome.wishes() {
        let Wish::Timer { delay_ns, .. } = wish else { panic!("the queue asks for no effects: {wish:?}") };
        timers.push(at + delay_ns);
    }
    let digest = state.jobs.iter().fold(SetDigest::new(), |mut digest, (number, job)| {
        digest.insert(hash(*number, job));
        digest
    });
    assert_eq!(state.digest.digest(), digest.digest(), "{event:?}");
    Ok(outcome.response)
}

fn ask(state: &mut State, timers: &mut Timers, at: u64, request: Request<'_>) -> Result<Response, Refusal> {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    let response = apply(state, timers, at, Event::Request { payload: &payload })?;
    Ok(Response::decode(&response).expect("our own response decodes"))
}

fn fire(state: &mut State, timers: &mut Timers, at: u64) {
    let id = EffectId { cluster: ClusterId(1), op: Op(1), position: 0, index: 0 };
    let due = timers.extract_if(.., |due| *due <= at).count();
    for _ in 0..due {
        apply(state, timers, at, Event::Fired { id, payload: &[] }).unwrap();
    }
}

#[test]
fn a_job_is_leased_to_one_at_a_time_extended_and_completed_once() {
    let (state, timers) = (&mut State::default(), &mut Timers::new());
    let lease = Request::Lease { duration_ns: 10 };
    assert_eq!(ask(state, timers, 1, lease), Err(Refusal::Nothing));
    assert_eq!(ask(state, timers, 2, Request::Enqueue { what: b"dishes" }), Ok(Response::Enqueued { job: 1 }));
    let leased = Response::Leased { job: 1, token: 1, until: 13, what: b"dishes".to_vec() };
    assert_eq!(ask(state, timers, 3, lease), Ok(leased));
    assert_eq!(ask(state, timers, 4, lease), Err(Refusal::Nothing), "one at a time");
    let extend = |duration_ns| Request::Extend { job: 1, token: 1, duration_ns };
    assert_eq!(ask(state, timers, 5, extend(20)), Ok(Response::Extended { until: 25 }));
    assert_eq!(ask(state, timers, 6, extend(1)), Ok(Response::Extended { until: 25 }), "no lease is cut short");
    assert_eq!(ask(state, timers, 6, extend(101)), Err(Refusal::Duration));
    fire(state, timers, 13);
    assert_eq!((state.counts().leased, &timers[..]), (1, &[25][..]));
    let complete = |token| Request::Complete { job: 1, token };
    for stale in [0, 2] {
        assert_eq!(ask(state, timers, 14, complete(stale)), Err(Refusal::StaleToken));
    }
    assert_eq!(ask(state, timers, 15, complete(1)), Ok(Response::Completed));
    assert_eq!(ask(state, timers, 16, complete(1)), Err(Refusal::StaleToken), "once");
    fire(state, timers, 25);
    let standing = Standing { stage: Stage::Done { under: 1 }, attempts: 1, token: 1 };
    assert_eq!(ask(state, timers, 26, Request::Look { job: 1 }), Ok(Response::Standing(standing)));
    assert_eq!(state.counts(), Counts { done: 1, ..Counts::default() });
}

#[test]
fn a_lease_that_is_over_is_another_s_and_a_job_that_fails_too_often_is_dead() {
    let (state, timers) = (&mut State::default(), &mut Timers::new());
    ask(state, timers, 1, Request::Enqueue { what: b"a" }).unwrap();
    let lease = Request::Lease { duration_ns: 10 };
    ask(state, timers, 2, lease).unwrap();
    let late = Request::Complete { job: 1, token: 1 };
    assert_eq!(ask(state, timers, 12, late), Err(Refusal::StaleToken), "over though its timer has not fired");
    fire(state, timers, 12);
    let leased = Response::Leased { job: 1, token: 2, until: 23, what: b"a".to_vec() };
    assert_eq!(ask(state, timers, 13, lease), Ok(leased));
    for request in [late, Request::Fail { job: 1, token: 1 }, Request::Extend { job: 1, token: 1, duration_ns: 9 }] {
        assert_eq!(ask(state, timers, 14, request), Err(Refusal::StaleToken), "{request:?}");
    }
    assert_eq!(ask(state, timers, 15, Request::Fail { job: 1, token: 2 }), Ok(Response::Failed { dead: true }));
    assert_eq!(ask(state, timers, 16, lease), Err(Refusal::Nothing));
    assert_eq!(state.counts(), Counts { dead: 1, ..Counts::default() });
    // By the timer as well.
    ask(state, timers, 20, Request::Enqueue { what: b"b" }).unwrap();
    for (at, left) in
        [(30, Counts { waiting: 1, dead: 1, ..Counts::default() }), (50, Counts { dead: 2, ..Counts::default() })]
    {
        ask(state, timers, at, lease).unwrap();
        fire(state, timers, at + 10);
        assert_eq!(state.counts(), left);
    }
}

#[test]
fn one_timer_is_enough_for_leases_that_end_in_order_and_all_that_are_over_end_with_it() {
    let (state, timers) = (&mut State::default(), &mut Timers::new());
    for at in 1..4 {
        ask(state, timers, at, Request::Enqueue { what: b"" }).unwrap();
    }
    for (at, duration_ns, due) in [(4, 30, &[34][..]), (5, 40, &[34]), (6, 10, &[34, 16])] {
        ask(state, timers, at, Request::Lease { duration_ns }).unwrap();
        assert_eq!(timers, due);
    }
    fire(state, timers, 16);
    assert_eq!((state.counts().leased, &timers[..]), (2, &[34][..]));
    fire(state, timers, 34);
    assert_eq!((state.counts().leased, &timers[..]), (1, &[45][..]));
    ask(state, timers, 40, Request::Lease { duration_ns: 3 }).unwrap();
    fire(state, timers, 60);
    assert_eq!((state.counts().leased, state.timers.len(), timers.len()), (0, 0, 0));
}

#[test]
fn short_leases_beside_a_long_one_leave_no_timers_behind() {
    let (state, timers) = (&mut State::default(), &mut Timers::new());
    ask(state, timers, 1, Request::Enqueue { what: b"long" }).unwrap();
    ask(state, timers, 1, Request::Lease { duration_ns: 100 }).unwrap();
    for round in 1..=8 {
        let at = 10 * round;
        ask(state, timers, at, Request::Enqueue { what: b"short" }).unwrap();
        let Ok(Response::Leased { job, token, .. }) = ask(state, timers, at, Request::Lease { duration_ns: 5 }) else {
            panic!("there is one");
        };
        ask(state, timers, at + 1, Request::Complete { job, token }).unwrap();
        fire(state, timers, at + 5);
        assert_eq!((&timers[..], state.timers.len()), (&[101][..], 1), "the long one's");
    }
    fire(state, timers, 101);
    assert_eq!((state.counts().leased, timers.len(), state.timers.len()), (0, 0, 0));
}

#[test]
fn leases_that_each_end_earlier_than_the_last_need_few_timers() {
    let config = Jobs { lease_ns_max: 1 << 46, ..JOBS };
    let state = &mut State::default();
    let (mut timers, mut at) = (Timers::new(), 0);
    let mut lease = |state: &mut State, timers: &mut Timers, duration_ns, completes| {
        at += 1;
        let mut outcome = Outcome::default();
        outcome.begin(
            ClusterId(1),
            &ApplyContext::new(Op(at), Timestamp(at), Checksum(0), 0),
            outcome.effects(),
            outcome.timers(),
        );
        state.enqueue(&config, b"").unwrap();
        let Ok(Response::Leased { job, token, .. }) = state.lease(duration_ns, at, &mut outcome) else {
            panic!("there is one")
        };
        timers.extend(outcome.wishes().iter().map(|(_, wish)| match wish {
            Wish::Timer { delay_ns, .. } => at + delay_ns,
            other => panic!("the queue asks for no effects: {other:?}"),
        }));
        if completes {
            state.complete(job, token, at).unwrap();
        }
    };
    for number in 0..5_000 {
        lease(state, &mut timers, (1 << 46) - 1_000 * number, true);
    }
    assert!(timers.len() <= 48, "{} timers", timers.len());
    // One that lasts ends in time, by however many looks.
    lease(state, &mut timers, (1 << 46) - 10_000_000, false);
    let until = state.ends.first().expect("it lasts").0;
    while let Some(due) = timers.iter().copied().min().filter(|due| *due <= until) {
        fire(state, &mut timers, due);
        assert_eq!(state.counts().leased, u64::from(due < until), "at {due} of {until}");
    }
    assert_eq!(state.counts().leased, 0);
}

#[test]
fn there_are_limits_and_the_oldest_that_ended_are_forgotten() {
    let (state, timers) = (&mut State::default(), &mut Timers::new());
    assert_eq!(ask(state, timers, 1, Request::Enqueue { what: &[0; 9] }), Err(Refusal::TooLong));
    for at in 2..5 {
        ask(state, timers, at, Request::Enqueue { what: &[at as u8] }).unwrap();
    }
    assert_eq!(ask(state, timers, 5, Request::Enqueue { what: b"" }), Err(Refusal::Full));
    for duration_ns in [0, 101] {
        assert_eq!(ask(state, timers, 6, Request::Lease { duration_ns }), Err(Refusal::Duration));
    }
    for token in 1..=3 {
        ask(state, timers, 6 + token, Request::Lease { duration_ns: 50 }).unwrap();
        ask(state, timers, 6 + token, Request::Complete { job: token, token }).unwrap();
    }
    assert_eq!(ask(state, timers, 20, Request::Look { job: 1 }), Err(Refusal::NoJob));
    assert_eq!((state.jobs.len(), state.counts().done), (2, 3));
    assert_eq!(apply(state, timers, 21, Event::Request { payload: &[9] }), Err(Refusal::Malformed));
    let mut response = Vec::new();
    assert_eq!(JOBS.query(state, &[2, 1, 0, 0, 0, 0, 0, 0, 0], &mut response), Err(Refusal::Malformed.into()));
    JOBS.query(state, &[7], &mut response).unwrap();
    assert_eq!(Response::decode(&response), Some(Response::Counts(state.counts())));
}

#[test]
fn a_snapshot_is_the_state_again() {
    let (state, timers) = (&mut State::default(), &mut Timers::new());
    let jobs = Jobs { jobs_max: 1_000, what_max: 64, ended_max: 1_000, ..JOBS };
    for number in 0..300 {
        state.enqueue(&jobs, &vec![number as u8; number % 60]).unwrap();
    }
    for at in 1..100 {
        ask(state, timers, at, Request::Lease { duration_ns: at }).unwrap();
        match at % 3 {
            0 => drop(state.complete(at, at, at).unwrap()),
            1 => drop(state.give_back(&Jobs { attempts_max: 0, ..jobs }, at)),
            _ => {}
        }
    }
    let (restored, parts) = snapshot::restored(&jobs, state);
    assert_eq!(restored, *state);
    assert!(parts > 1, "{parts} parts");
    let fresh = || State { last_job: 5, last_token: 3, ..State::default() };
    let record = |number: u8, attempts: u8, token: u8| {
        let standing = [&[1][..], &[attempts; 4], &[token], &[0; 15]].concat();
        [&[2, number][..], &[0; 7], &standing].concat()
    };
    assert_eq!(jobs.restore(&mut fresh(), &record(5, 0, 3)), Ok(()));
    let foreign = [
        record(0, 0, 3),
        record(6, 0, 3),
        record(5, 255, 3),
        record(5, 0, 4),
        vec![],
        vec![4],
        vec![1; 41],
        vec![RECORD_COUNTS; 47],
        vec![2, 1],
    ];
    for record in &foreign {
        assert_eq!(jobs.restore(&mut fresh(), record), Err(RestoreError), "{record:?}");
    }
    let mut late = fresh();
    assert_eq!(jobs.restore(&mut late, &record(4, 0, 0)), Ok(()));
    assert_eq!(jobs.restore(&mut late, &record(3, 0, 0)), Err(RestoreError), "not in their order");
    let counts = |last: u8| [&[RECORD_COUNTS][..], &[0; 7], &[last], &[0; 40]].concat();
    assert_eq!(jobs.restore(&mut State::default(), &counts(0x7f)), Ok(()));
    assert_eq!(jobs.restore(&mut State::default(), &counts(0x80)), Err(RestoreError), "no log counts so far");
    assert_eq!(jobs.restore(&mut late, &counts(1)), Err(RestoreError), "what is counted comes first");
}
