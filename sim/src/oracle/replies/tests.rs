//! Requests, executions and answers by hand: what an outside observer could have seen, and what nobody could.

use chronon::{
    app::kv::{Request, Response},
    client::ClientConfig,
    frame::Frame,
    types::{Instant, Session, Timestamp},
    wire::header::Command,
};

use super::*;
use crate::{
    oracle::script::{CLUSTER, Entry, R0, prepare_of, say_with},
    workload::{End, KvConfig, KvWorkload},
};

const A: u128 = 10 << 96;
const B: u128 = 11 << 96;

/// A model and what its clients know.
struct Scene {
    sequence: Sequence<KvWorkload>,
    model: Model,
    replies: Replies,
}

impl Scene {
    fn new(clients_max: u32) -> Self {
        let sequence = Sequence::new(KvWorkload, KvConfig::default(), CLUSTER);
        Self { sequence, model: Model::new(CLUSTER, clients_max), replies: Replies::default() }
    }

    fn ask(&mut self, client: u128, session: u64, request: u64, payload: &[u8]) {
        let change = |header: &mut Header| {
            (header.client, header.request.0, header.context) = (ClientId(client), request, u128::from(session));
        };
        let frame = say_with(Command::Request, R0, 0, change, payload);
        self.replies.asks(&mut self.model, Speech::of(&frame).unwrap());
    }

    /// Executes these requests as the next op.
    fn execute(&mut self, entries: &[Entry<'_>]) -> Result<(), String> {
        let (op, parent) = (self.model.head().next(), self.model.last().checksum);
        let (header, frame) = prepare_of(1, op.0, parent, entries);
        let Self { sequence, model, replies } = self;
        replies.run(sequence, model, R0, &header, &frame).map_err(|broken| broken.place)?;
        self.model.append(&header, R0, header.view);
        Ok(())
    }

    fn answer(&self, client: u128, session: u64, request: u64, op: u64, body: &[u8]) -> Result<(), String> {
        let change = |header: &mut Header| {
            (header.client, header.request.0, header.context) = (ClientId(client), request, u128::from(session));
            (header.op, header.timestamp) = (Op(op), Timestamp(op * 1000));
        };
        let frame = say_with(Command::Reply, R0, 1, change, body);
        self.replies.answers(&self.model, R0, Speech::of(&frame).unwrap()).map_err(|broken| broken.place)
    }
}

fn put(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Request::Put { key: b"k", value }.encode(&mut bytes);
    bytes
}

fn get() -> Vec<u8> {
    let mut bytes = Vec::new();
    Request::Get { key: b"k" }.encode(&mut bytes);
    bytes
}

fn reply(response: &Response<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    response.encode(&mut bytes);
    bytes.push(0);
    bytes
}

/// Two clients that registered in op 1 and op 2.
fn two() -> Scene {
    let mut scene = Scene::new(4);
    scene.ask(A, 0, 0, b"");
    scene.ask(B, 0, 0, b"");
    scene.execute(&[(A, 0, 0, b"")]).unwrap();
    scene.execute(&[(B, 0, 0, b"")]).unwrap();
    scene
}

const BEFORE_COMMIT: &str = "answered before it was committed";
const ANOTHER: &str = "another answer than the commit order's";
const NOT_ASKED: &str = "executed what nobody asked";

#[test]
fn answers_are_those_of_a_sequential_run() {
    let mut scene = two();
    scene.answer(A, 1, 0, 1, b"").unwrap();
    scene.ask(A, 1, 1, &put(b"one"));
    scene.ask(B, 2, 1, &get());
    scene.execute(&[(A, 1, 1, &put(b"one")), (B, 2, 1, &get())]).unwrap();
    scene.answer(A, 1, 1, 3, &reply(&Response::Stored)).unwrap();
    scene.answer(B, 2, 1, 3, &reply(&Response::Found(b"one"))).unwrap();
    assert_eq!(scene.answer(B, 2, 1, 3, &reply(&Response::Missing)), Err(ANOTHER.into()), "a stale read");
    assert_eq!(scene.answer(B, 2, 1, 4, &reply(&Response::Found(b"one"))), Err(ANOTHER.into()), "another op");
    assert_eq!(scene.answer(B, 1, 1, 3, &reply(&Response::Found(b"one"))), Err(ANOTHER.into()), "another session");
}

/// A client that lives again under its former identity is answered with what the life before had executed.
#[test]
fn an_answer_from_before_the_question_is_a_violation() {
    let config = ClientConfig::new(CLUSTER, ClientId(1), 3);
    let client = Client::new(config);
    let id = client.id().0;
    let mut scene = Scene::new(4);
    scene.ask(id, 0, 0, b"");
    scene.execute(&[(id, 0, 0, b"")]).unwrap();
    scene.ask(id, 1, 1, &put(b"one"));
    scene.execute(&[(id, 1, 1, &put(b"one"))]).unwrap();
    let answered = |scene: &mut Scene| {
        let answered = scene.replies.answered(&scene.model, &client, RequestNumber(1));
        answered.map_err(|broken| broken.place)
    };
    answered(&mut scene).unwrap();
    scene.ask(id, 1, 1, &put(b"one"));
    answered(&mut scene).expect("it asks again");
    scene.model.accounts.life_ends(ClientId(id));
    scene.ask(id, 1, 1, &put(b"one"));
    assert_eq!(answered(&mut scene), Err("answered with what was executed before it was asked".into()));
}

#[test]
fn an_answer_to_what_is_not_committed_is_a_violation() {
    let mut scene = two();
    scene.ask(A, 1, 1, &put(b"one"));
    assert_eq!(scene.answer(A, 1, 1, 3, &reply(&Response::Stored)), Err(BEFORE_COMMIT.into()));
    assert_eq!(scene.answer(12, 1, 1, 3, &reply(&Response::Stored)), Err(BEFORE_COMMIT.into()), "a stranger");
    scene.ask(12, 0, 0, b"");
    assert_eq!(scene.answer(12, 3, 0, 3, b""), Err(BEFORE_COMMIT.into()), "a register");
}

#[test]
fn an_old_answer_that_is_sent_again_is_nobody_s_concern() {
    let mut scene = two();
    for request in 1..3 {
        scene.ask(A, 1, request, &put(b"one"));
        scene.execute(&[(A, 1, request, &put(b"one"))]).unwrap();
    }
    scene.answer(A, 1, 1, 3, b"whatever").unwrap();
}

#[test]
fn a_request_is_executed_once_however_often_it_is_logged() {
    let mut scene = two();
    let append = |bytes: &mut Vec<u8>| Request::Append { key: b"k", value: b"x" }.encode(bytes);
    let mut payload = Vec::new();
    append(&mut payload);
    scene.ask(A, 1, 1, &payload);
    scene.execute(&[(A, 1, 1, &payload), (A, 1, 1, &payload)]).unwrap();
    scene.execute(&[(A, 1, 1, &payload)]).unwrap();
    scene.answer(A, 1, 1, 3, &reply(&Response::Appended { length: 1 })).unwrap();
    assert_eq!(scene.sequence.state().get(b"k"), Some(&b"x"[..]));
}

#[test]
fn what_nobody_asked_or_asked_otherwise_is_not_executed() {
    let mut scene = two();
    assert_eq!(scene.execute(&[(12, 0, 0, b"")]), Err(NOT_ASKED.into()), "a stranger");
    assert_eq!(scene.execute(&[(A, 1, 1, &put(b"one"))]), Err(NOT_ASKED.into()), "not asked yet");
    scene.ask(A, 1, 1, &put(b"one"));
    assert_eq!(scene.execute(&[(A, 1, 1, &put(b"two"))]), Err(NOT_ASKED.into()), "another payload");
    scene.execute(&[(A, 1, 1, &put(b"one"))]).unwrap();
}

#[test]
fn a_batch_that_cannot_be_parsed_is_a_violation() {
    let mut scene = two();
    let (header, _) = prepare_of(1, 3, scene.model.last().checksum, &[]);
    let Scene { sequence, model, replies } = &mut scene;
    let broken = replies.run(sequence, model, R0, &header, &[1; 140]).unwrap_err();
    assert_eq!(broken.place, "executed what is no batch");
}

#[test]
fn what_was_asked_after_an_answer_is_executed_above_it() {
    let mut scene = two();
    scene.replies.answered = Op(5);
    scene.ask(A, 1, 1, &get());
    let outcome = scene.execute(&[(A, 1, 1, &get())]);
    assert_eq!(outcome, Err("executed before what was answered before it was asked".into()), "op 3 after op 5");
    // A repetition of the same request asks nothing new.
    let mut scene = two();
    scene.ask(A, 1, 1, &get());
    scene.replies.answered = Op(5);
    scene.ask(A, 1, 1, &get());
    scene.execute(&[(A, 1, 1, &get())]).unwrap();
}

#[test]
fn what_was_refused_for_good_is_never_executed() {
    let mut scene = two();
    scene.ask(A, 1, 1, &get());
    scene.model.accounts.open(ClientId(A)).refused = Some(RequestNumber(1));
    assert_eq!(scene.execute(&[(A, 1, 1, &get())]), Err("executed what was refused for good".into()));
}

#[test]
fn a_register_that_comes_again_after_an_eviction_is_let_be() {
    let mut scene = Scene::new(1);
    scene.ask(A, 0, 0, b"");
    scene.ask(B, 0, 0, b"");
    scene.execute(&[(A, 0, 0, b"")]).unwrap();
    scene.ask(A, 1, 1, &get());
    scene.execute(&[(A, 1, 1, &get())]).unwrap();
    scene.ask(A, 1, 2, &get());
    scene.execute(&[(B, 0, 0, b"")]).unwrap();
    scene.execute(&[(A, 0, 0, b"")]).unwrap();
    scene.execute(&[(A, 1, 2, &get())]).unwrap();
    scene.answer(A, 1, 1, 2, &reply(&Response::Missing)).unwrap();
    assert_eq!(scene.answer(A, 1, 2, 5, &reply(&Response::Missing)), Err(BEFORE_COMMIT.into()));
}

#[test]
fn a_client_s_own_account_of_its_call_is_the_commit_order_s() {
    let mut scene = two();
    scene.ask(A, 1, 1, &put(b"one"));
    scene.execute(&[(A, 1, 1, &put(b"one"))]).unwrap();
    let mut response = Vec::new();
    Response::Stored.encode(&mut response);
    let told = Told::Applied(Frame::new(response));
    let outcome = |client: u128, op: u64, told: &Told| CallOutcome::Answered {
        client: ClientId(client),
        session: Session(1),
        request: RequestNumber(1),
        op: Op(op),
        timestamp: Timestamp(op * 1000),
        told: told.clone(),
    };
    let ended = |request: &[u8], outcome: CallOutcome| {
        let end = Some(End { at: Instant(2), outcome });
        let call = Call { request: Frame::new(request.to_vec()), invoked_at: Instant(1), end };
        Replies::ended(&scene.model, ClientId(A), &call).map_err(|broken| broken.place)
    };
    assert_eq!(ended(&put(b"one"), outcome(A, 3, &told)), Ok(()));
    assert_eq!(ended(&put(b"two"), outcome(A, 3, &told)), Err(ANOTHER.into()), "another call");
    assert_eq!(ended(&put(b"one"), outcome(A, 2, &told)), Err(ANOTHER.into()), "another op");
    assert_eq!(ended(&put(b"one"), outcome(B, 3, &told)), Err(ANOTHER.into()), "another client");
    assert_eq!(ended(&put(b"one"), outcome(A, 3, &Told::Rejected(1))), Err(ANOTHER.into()), "another answer");
    assert_eq!(ended(&put(b"one"), CallOutcome::Unknown), Ok(()), "what it does not know it may not know");
}
