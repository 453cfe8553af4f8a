//! Workloads against the model alone: every call is executed where it is made.

use std::collections::BTreeSet;

use chronon::{
    app::{
        application::Application,
        executor::Answer,
        kv::{self, Kv, Refusal, Request, Response},
    },
    client::{Answered, Driver, Next, Outcome},
    frame::Frame,
    process::Now,
    types::{ClientId, Instant, Op, RequestNumber, Session, Timestamp},
};

use super::*;

fn now(ns: u64) -> Now {
    Now { monotonic: Instant(ns), realtime: Timestamp(ns) }
}

/// Answers one request from `state`, as a cluster of one would.
fn answer(state: &mut kv::State, request: &[u8], op: u64, driver: &mut impl Driver) {
    let mut response = Vec::new();
    let result = kv::apply(state, request, &mut response);
    let answer = match &result {
        Ok(()) => Answer::Applied(&response),
        Err(rejection) => Answer::Rejected { code: rejection.code, detail: &rejection.detail },
    };
    driver.done(
        now(op + 1),
        Outcome::Answered(Answered {
            client: ClientId(1),
            session: Session(1),
            request: RequestNumber(op),
            op: Op(op),
            timestamp: Timestamp(op),
            answer,
        }),
    );
}

/// Runs the workloads of `clients` clients, each in its turn, to their ends.
fn run(seed: u64, clients: u32, config: &KvConfig) -> (Vec<KvCaller>, kv::State) {
    let mut state = Kv.genesis();
    let mut workloads: Vec<_> = (0..clients).map(|client| KvCaller::new(seed, client, config.clone())).collect();
    for turn in 0..config.calls {
        for workload in &mut workloads {
            let mut request = Vec::new();
            assert_eq!(workload.next(now(turn), &mut request), Next::Request);
            assert!(workload.is_outstanding());
            answer(&mut state, &request, turn, workload);
        }
    }
    for workload in &mut workloads {
        assert_eq!(workload.next(now(config.calls), &mut Vec::new()), Next::Done);
        assert!(workload.is_finished() && !workload.is_outstanding());
    }
    (workloads, state)
}

fn told(call: &Call) -> &Told {
    match &call.end.as_ref().expect("the call ended").outcome {
        CallOutcome::Answered { told, .. } => told,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_seed_and_client_make_the_same_calls_and_others_make_others() {
    let config = KvConfig::default();
    let (one, one_state) = run(1, 2, &config);
    let (same, same_state) = run(1, 2, &config);
    let (other, _) = run(2, 2, &config);
    assert_eq!(one[0].history(), same[0].history());
    assert_eq!(one_state.digest(), same_state.digest());
    // Not only the tokens differ.
    let keys = |workload: &KvCaller| -> Vec<Vec<u8>> {
        let keys =
            workload.history().iter().map(|call| Request::decode(&call.request).map(|request| request.key().to_vec()));
        keys.map(Result::unwrap_or_default).collect()
    };
    assert_ne!(keys(&one[0]), keys(&one[1]));
    assert_ne!(keys(&one[0]), keys(&other[0]));
}

#[test]
fn every_kind_of_response_and_refusal_comes_up() {
    let (workloads, _) = run(3, 3, &KvConfig { calls: 500, ..KvConfig::default() });
    let mut kinds = BTreeSet::new();
    for call in workloads.iter().flat_map(|workload| workload.history()) {
        kinds.insert(match told(call) {
            Told::Applied(response) => {
                let response = format!("{:?}", Response::decode(response).expect("the model's response"));
                response.split(['(', ' ']).next().expect("a name").to_owned()
            }
            Told::Rejected(code) => format!("{:?}", Refusal::from_code(*code).expect("the model's code")),
        });
    }
    let expected = ["Appended", "Deleted", "Found", "KeySize", "Malformed", "Mismatch", "Missing", "Stored", "Swapped"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn no_two_writes_write_the_same() {
    let (workloads, _) = run(4, 4, &KvConfig::default());
    let mut written = BTreeSet::new();
    for call in workloads.iter().flat_map(|workload| workload.history()) {
        if let Ok(Request::Put { value, .. } | Request::Append { value, .. } | Request::CompareAndSwap { value, .. }) =
            Request::decode(&call.request)
        {
            assert!(written.insert(value.to_vec()));
            assert!(value.len() <= 256);
        }
    }
    assert!(written.len() > 200);
}

#[test]
fn a_request_executed_twice_or_not_at_all_shows_in_what_clients_are_told() {
    let weights = KvWeights { get: 1, put: 0, delete: 0, compare_and_swap: 0, append: 1, refused: 0, oversized: 0 };
    let config = KvConfig { weights, keys: 1, calls: 20, ..KvConfig::default() };
    let (workloads, _) = run(5, 1, &config);
    let history = workloads[0].history();
    let replay = |times: &dyn Fn(usize) -> u32| {
        let mut state = Kv.genesis();
        let mut as_told = true;
        for (position, call) in history.iter().enumerate() {
            let mut response = Vec::new();
            for _ in 0..times(position) {
                response.clear();
                kv::apply(&mut state, &call.request, &mut response).expect("nothing is refused");
            }
            as_told &= times(position) == 0 || *told(call) == Told::Applied(Frame::new(response));
        }
        as_told
    };
    assert!(replay(&|_| 1), "the truth is as told");
    let append = |call: &Call| matches!(Request::decode(&call.request), Ok(Request::Append { .. }));
    let first = history.iter().position(append).expect("an append was made");
    assert!(!replay(&|position| if position == first { 2 } else { 1 }), "executed twice");
    assert!(!replay(&|position| u32::from(position != first)), "lost");
}

#[test]
fn a_client_thinks_before_it_asks_and_draws_each_pause_once() {
    let mut workload = KvCaller::new(6, 0, KvConfig { think_ns_max: 1000, ..KvConfig::default() });
    let Next::WaitUntil(time) = workload.next(now(50), &mut Vec::new()) else { panic!("asked at once") };
    assert!((51..=1050).contains(&time.0));
    assert_eq!(workload.next(now(time.0 - 1), &mut Vec::new()), Next::WaitUntil(time));
    assert!(workload.history().is_empty());
    assert_eq!(workload.next(now(time.0), &mut Vec::new()), Next::Request);
    assert_eq!(workload.history()[0].invoked_at, time);
    workload.done(now(time.0), Outcome::Unknown);
    let Next::WaitUntil(next) = workload.next(now(time.0), &mut Vec::new()) else { panic!("did not think again") };
    assert!(next > time);
}

#[test]
fn calls_that_are_not_executed_end_as_that() {
    let weights = KvWeights { get: 0, put: 0, delete: 0, compare_and_swap: 0, append: 0, refused: 0, oversized: 1 };
    let mut workload = KvCaller::new(7, 0, KvConfig { weights, oversized_size: 9000, ..KvConfig::default() });
    let mut request = Vec::new();
    workload.next(now(0), &mut request);
    assert_eq!(request.len(), 9000);
    workload.done(now(1), Outcome::TooLarge);
    workload.next(now(2), &mut Vec::new());
    workload.done(now(3), Outcome::Unknown);
    let ends: Vec<_> = workload.history().iter().map(|call| call.end.clone()).collect();
    let expected = [
        Some(End { at: Instant(1), outcome: CallOutcome::TooLarge }),
        Some(End { at: Instant(3), outcome: CallOutcome::Unknown }),
    ];
    assert_eq!(ends, expected);
}

#[test]
fn a_benchmark_puts_as_often_as_it_should_over_its_own_keys() {
    let mut state = Kv.genesis();
    for client in 0..2 {
        let mut workload = PutWorkload::new(client, 10, 4, 256);
        let mut request = Vec::new();
        while workload.next(now(0), &mut request) == Next::Request {
            let Ok(Request::Put { value, .. }) = Request::decode(&request) else { panic!("not a put") };
            assert_eq!(value.len(), 256);
            answer(&mut state, &request, 1, &mut workload);
            request.clear();
        }
        assert!(workload.is_finished());
        assert_eq!(workload.acknowledged(), 10);
    }
    assert_eq!(state.len(), 8);
}
