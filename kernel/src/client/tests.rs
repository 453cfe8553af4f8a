//! Scripts against fake replicas: plain calls, and a clock that stands where the script puts it.

use std::{vec, vec::Vec};

use super::*;
use crate::{
    process::{Action, Event, Now, Process},
    types::{ClusterId, NodeId},
    vsr::sessions::{Sessions, Verdict},
};

const CLUSTER: ClusterId = ClusterId(9);
const MS: u64 = 1_000_000;

/// A client, what it sent, and a clock.
struct Script {
    client: Client,
    actions: Actions,
    now: Instant,
}

/// A request as a replica sees it.
#[derive(Clone, PartialEq, Debug)]
struct Sent {
    to: u32,
    header: Header,
    payload: Vec<u8>,
}

/// The outcome, with everything that it borrows left out.
#[derive(PartialEq, Debug)]
enum Heard {
    Applied(Vec<u8>),
    Rejected(u32),
    Unknown,
    TooLarge,
    Queried(u64, Vec<u8>),
}

impl Script {
    fn replicas(replica_count: u8) -> Self {
        let config = ClientConfig::new(CLUSTER, ClientId(77), replica_count);
        Self { client: Client::new(config), actions: Actions::new(), now: Instant(0) }
    }

    /// A script whose client has registered as session 5 with replica 0, in view 0, and has `payload` outstanding.
    fn with_request(replica_count: u8, payload: &[u8]) -> (Self, Sent) {
        let mut script = Self::replicas(replica_count);
        let register = script.submit(payload);
        script.hear(&reply(&register, 5, 5, b""));
        let sent = script.sent();
        (script, sent)
    }

    fn submit(&mut self, payload: &[u8]) -> Sent {
        self.client.submit(self.now, payload, &mut self.actions);
        self.sent()
    }

    /// The one frame that was sent since the last look.
    fn sent(&mut self) -> Sent {
        let mut all = self.all_sent();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn all_sent(&mut self) -> Vec<Sent> {
        let sends = self.actions.take().into_iter().filter_map(|action| match action {
            Action::Send { to, frame } => Some(seen(to, &frame)),
            _ => None,
        });
        sends.collect()
    }

    fn probes(&self) -> Vec<&'static str> {
        let probes = self.actions.as_slice().iter().filter_map(|action| match action {
            Action::Probe(probe) => Some(ClientProbe::NAMES[usize::from(probe.0)]),
            _ => None,
        });
        probes.collect()
    }

    fn hear(&mut self, frame: &Frame) -> Option<Heard> {
        self.client.on_frame(self.now, frame, &mut self.actions).map(|outcome| match outcome {
            Outcome::Answered(Answered { answer: Answer::Applied(response), .. }) => Heard::Applied(response.to_vec()),
            Outcome::Answered(Answered { answer: Answer::Rejected { code, .. }, .. }) => Heard::Rejected(code),
            Outcome::Unknown => Heard::Unknown,
            Outcome::TooLarge => Heard::TooLarge,
            Outcome::Queried(Queried { op, answer: Answer::Applied(response) }) => {
                Heard::Queried(op.0, response.to_vec())
            }
            Outcome::Queried(queried) => panic!("{queried:?}"),
        })
    }

    /// Lets the deadline pass; gives how long that took.
    fn pass_deadline(&mut self) -> u64 {
        let deadline = self.client.deadline().expect("something is outstanding");
        let before = self.actions.as_slice().len();
        self.client.on_deadline(Instant(deadline.0 - 1), &mut self.actions);
        assert_eq!(self.actions.as_slice().len(), before, "nothing happens before the deadline");
        let waited_ns = deadline.since(self.now);
        self.now = deadline;
        self.client.on_deadline(self.now, &mut self.actions);
        waited_ns
    }

    /// Lets the deadline pass; gives what is sent then.
    fn time_out(&mut self) -> Sent {
        self.pass_deadline();
        self.sent()
    }
}

fn seen(to: NodeId, frame: &Frame) -> Sent {
    let (header, payload) = crate::wire::seal::open_frame(frame, CLUSTER).expect("a client sends whole frames");
    assert!([Command::Request, Command::Query].contains(&header.command) && header.sender == SENDER_CLIENT);
    Sent { to: to.0, header, payload: payload.to_vec() }
}

fn reply_in_view(to: &Sent, view: u64, session: u64, op: u64, body: &[u8]) -> Frame {
    let mut header = Header::new(CLUSTER, Command::Reply, to.to as u8, View(view));
    header.client = to.header.client;
    header.request = to.header.request;
    header.context = u128::from(session);
    header.op = Op(op);
    header.timestamp = Timestamp(op * 10);
    seal(header, body, &mut Actions::new()).1
}

fn reply(to: &Sent, session: u64, op: u64, body: &[u8]) -> Frame {
    reply_in_view(to, to.header.view.0, session, op, body)
}

fn reject(to: &Sent, view: u64, reason: RejectReason) -> Frame {
    let mut header = Header::new(CLUSTER, Command::Reject, to.to as u8, View(view));
    header.client = to.header.client;
    header.request = to.header.request;
    header.context = reason.context();
    seal(header, b"", &mut Actions::new()).1
}

#[test]
fn a_client_registers_first_and_then_numbers_its_requests() {
    let mut script = Script::replicas(3);
    let register = script.submit(b"first");
    assert_eq!((register.to, register.header.request.0, register.header.context), (0, 0, 0));
    assert!(register.payload.is_empty());
    assert_eq!(script.hear(&reply(&register, 5, 5, b"")), None);
    let first = script.sent();
    assert_eq!((first.header.request.0, first.header.session(), &first.payload[..]), (1, Session(5), &b"first"[..]));
    assert_eq!(first.header.client, register.header.client);
    let answer = reply(&first, 5, 6, b"done\0");
    let outcome = script.client.on_frame(script.now, &answer, &mut script.actions);
    let expected = Answered {
        client: first.header.client,
        session: Session(5),
        request: RequestNumber(1),
        op: Op(6),
        timestamp: Timestamp(60),
        answer: Answer::Applied(b"done"),
    };
    assert_eq!(outcome, Some(Outcome::Answered(expected)));
    assert_eq!(script.client.deadline(), None);
    let second = script.submit(b"second");
    assert_eq!((second.header.request.0, second.header.session()), (2, Session(5)));
    assert_eq!(script.hear(&reply(&second, 5, 7, b"\x03\0\0\0\x01")), Some(Heard::Rejected(3)));
}

#[test]
fn a_request_that_nobody_answers_is_sent_again_byte_for_byte_to_each_replica_in_turn() {
    let (mut script, first) = Script::with_request(3, b"x");
    for to in [1, 2, 0, 1] {
        let again = script.time_out();
        assert_eq!(again, Sent { to, ..first.clone() });
    }
    let to_new_primary = Sent { to: 1, ..first };
    assert_eq!(script.hear(&reply_in_view(&to_new_primary, 4, 5, 6, b"\0")), Some(Heard::Applied(vec![])));
    // The primary of view 4 answered, and is asked first from now on.
    let second = script.submit(b"y");
    assert_eq!((second.to, second.header.view), (1, View(4)));
}

#[test]
fn waits_double_up_to_the_limit_with_jitter_of_up_to_a_half_and_begin_anew_with_the_next_request() {
    let (mut script, first) = Script::with_request(3, b"x");
    for base_ms in [150, 300, 600, 1000, 1000, 1000] {
        let waited_ns = script.pass_deadline();
        script.all_sent();
        assert!((base_ms * MS..base_ms * MS * 3 / 2).contains(&waited_ns), "{base_ms} ms: waited {waited_ns} ns");
    }
    script.hear(&reply(&first, 5, 6, b"\0"));
    script.submit(b"y");
    assert!(script.pass_deadline() < 225 * MS);
}

#[test]
fn two_clients_wait_for_different_times() {
    let waits = [1, 2].map(|id| {
        let mut client = Client::new(ClientConfig::new(CLUSTER, ClientId(id), 3));
        client.submit(Instant(0), b"x", &mut Actions::new());
        client.deadline()
    });
    assert_ne!(waits[0], waits[1]);
}

#[test]
fn a_replica_that_knows_a_later_view_moves_the_client_on_at_once() {
    let (mut script, first) = Script::with_request(3, b"x");
    assert_eq!(script.hear(&reject(&first, 5, RejectReason::NotPrimary)), None);
    assert_eq!(script.probes(), ["client_redirected"]);
    assert_eq!(script.sent(), Sent { to: 2, ..first.clone() });
    assert_eq!(script.client.view(), View(5));
    // Late words of the same and of an earlier view change nothing.
    script.hear(&reject(&first, 5, RejectReason::NotPrimary));
    script.hear(&reject(&first, 4, RejectReason::NotPrimary));
    assert_eq!(script.all_sent(), []);
    assert_eq!(script.client.view(), View(5));
    // The primary of view 0 had executed the request all the same. Its answer counts; its view is past.
    assert_eq!(script.hear(&reply_in_view(&first, 0, 5, 6, b"\0")), Some(Heard::Applied(vec![])));
    assert_eq!(script.submit(b"y").to, 2);
}

#[test]
fn a_view_that_was_seen_elsewhere_says_whom_to_ask_next_and_never_leads_back() {
    let (mut script, first) = Script::with_request(3, b"first");
    script.client.hear_view(View(4));
    assert_eq!(script.client.view(), View(0), "what is outstanding goes on as it is");
    script.hear(&reply(&first, 5, 6, b"done\0"));
    script.client.hear_view(View(4));
    script.client.hear_view(View(2));
    let second = script.submit(b"second");
    assert_eq!((second.to, second.header.view), (1, View(4)));
}

#[test]
fn a_backup_leads_back_to_the_primary_of_the_known_view_but_keeps_nobody_from_asking_the_others() {
    // Replica 0, the primary, is dead; replica 1 is cut off from the others and believes in view 0 for ever; replicas 2
    // to 4 have long begun view 2.
    let (mut script, first) = Script::with_request(5, b"x");
    let to_backup = script.time_out();
    assert_eq!(to_backup.to, 1);
    script.hear(&reject(&to_backup, 0, RejectReason::NotPrimary));
    assert_eq!(script.sent().to, 0, "the message to the primary may have been lost");
    let third = script.time_out();
    assert_eq!(third.to, 2, "not replica 1 again");
    assert_eq!(script.hear(&reply_in_view(&third, 2, 5, 8, b"\0")), Some(Heard::Applied(vec![])));
    assert_eq!(first.header, third.header);
}

#[test]
fn replicas_that_send_the_client_to_each_other_do_not_keep_it_running() {
    let (mut script, first) = Script::with_request(3, b"x");
    let mut sends = 0;
    let mut asked = first;
    for _ in 0..100 {
        // Whoever is asked says that it is not the primary of view 1.
        script.hear(&reject(&asked, 1, RejectReason::NotPrimary));
        let all = script.all_sent();
        sends += all.len();
        if let Some(next) = all.into_iter().next() {
            asked = next;
        }
    }
    assert_eq!(sends, 1);
}

#[test]
fn a_busy_replica_is_asked_again_later_under_the_same_number() {
    let (mut script, first) = Script::with_request(3, b"x");
    for base_ms in [5, 10, 20] {
        script.hear(&reject(&first, 0, RejectReason::Busy));
        script.hear(&reject(&first, 0, RejectReason::Busy));
        assert_eq!(script.probes(), ["client_told_busy", "client_ignored_a_late_answer"]);
        assert_eq!(script.all_sent(), []);
        let paused_ns = script.pass_deadline();
        assert!((base_ms * MS..base_ms * MS * 3 / 2).contains(&paused_ns), "{base_ms} ms: paused {paused_ns} ns");
        assert_eq!(script.sent(), first);
    }
    // A primary that is always busy may be one that the others have long replaced.
    script.hear(&reject(&first, 0, RejectReason::Busy));
    assert_eq!(script.time_out(), Sent { to: 1, ..first.clone() });
    assert_eq!(script.hear(&reply(&first, 5, 6, b"\0")), Some(Heard::Applied(vec![])));
    assert_eq!(script.submit(b"y").header.request, RequestNumber(2));
}

#[test]
fn an_answer_that_comes_while_the_client_pauses_counts() {
    let (mut script, first) = Script::with_request(3, b"x");
    script.hear(&reject(&first, 0, RejectReason::Busy));
    assert_eq!(script.hear(&reply(&first, 5, 6, b"y\0")), Some(Heard::Applied(vec![b'y'])));
    assert_eq!(script.client.deadline(), None);
}

#[test]
fn the_outcome_of_a_request_whose_session_was_evicted_is_unknown_and_it_is_never_sent_again() {
    let (mut script, first) = Script::with_request(3, b"x");
    assert_eq!(script.hear(&reject(&first, 0, RejectReason::Evicted)), Some(Heard::Unknown));
    assert_eq!(script.all_sent(), []);
    assert_eq!((script.client.deadline(), script.client.session()), (None, None));
    // Later requests go under a new session, of what is a new client to the cluster.
    let register = script.submit(b"y");
    assert_eq!(register.header.request, RequestNumber(0));
    assert_ne!(register.header.client, first.header.client);
    script.hear(&reply(&register, 9, 9, b""));
    let second = script.sent();
    assert_eq!((second.header.request.0, second.header.session(), &second.payload[..]), (1, Session(9), &b"y"[..]));
    // What the first session left in the network is not taken for an answer to the second's first request.
    assert_eq!(script.hear(&reply(&first, 5, 6, b"\0")), None);
    assert_eq!(script.hear(&reject(&first, 0, RejectReason::Evicted)), None);
    assert_eq!(script.client.outstanding(), Some(RequestNumber(1)));
}

#[test]
fn a_request_that_is_too_large_is_reported_and_a_late_refusal_of_it_refuses_nothing_else() {
    let (mut script, first) = Script::with_request(3, b"x");
    assert_eq!(script.hear(&reject(&first, 0, RejectReason::TooLarge)), Some(Heard::TooLarge));
    let register = script.submit(b"y");
    script.hear(&reply(&register, 9, 9, b""));
    script.sent();
    assert_eq!(script.hear(&reject(&first, 0, RejectReason::TooLarge)), None);
    assert_eq!(script.client.outstanding(), Some(RequestNumber(1)));
}

#[test]
fn a_register_is_retried_and_redirected_like_a_request_and_cannot_be_evicted() {
    let mut script = Script::replicas(3);
    let register = script.submit(b"x");
    assert_eq!(script.time_out(), Sent { to: 1, ..register.clone() });
    script.hear(&reject(&register, 7, RejectReason::NotPrimary));
    assert_eq!(script.sent(), Sent { to: 1, ..register.clone() });
    assert_eq!(script.hear(&reject(&register, 7, RejectReason::Evicted)), None);
    assert_eq!(script.hear(&reject(&register, 7, RejectReason::TooLarge)), None);
    script.actions.take();
    script.hear(&reply(&register, 4, 4, b""));
    assert_eq!(script.sent().header.session(), Session(4));
    // A second reply to the register is late.
    script.hear(&reply(&register, 4, 4, b""));
    assert_eq!(script.probes(), ["client_ignored_a_late_answer"]);
}

#[test]
fn frames_that_are_not_the_answer_are_ignored() {
    let (mut script, first) = Script::with_request(3, b"x");
    let mut other_request = first.clone();
    other_request.header.request = RequestNumber(2);
    let mut other_client = first.clone();
    other_client.header.client = ClientId(3);
    let mut flipped = reply(&first, 5, 6, b"\0").to_vec();
    flipped[20] ^= 1;
    let mut prepare = first.header;
    prepare.command = Command::Prepare;
    let frames = [
        reply(&other_request, 5, 6, b"\0"),
        reply(&other_client, 5, 6, b"\0"),
        reply(&first, 6, 6, b"\0"),
        reply(&first, 5, 6, b"no status"),
        Frame::new(flipped),
        Frame::new(vec![]),
        reject(&other_request, 9, RejectReason::NotPrimary),
        reject(&other_client, 0, RejectReason::Evicted),
        seal(prepare, b"", &mut Actions::new()).1,
    ];
    for frame in frames {
        assert_eq!(script.hear(&frame), None);
        assert_eq!(script.probes().len(), 1, "each is counted");
        assert_eq!(script.all_sent(), []);
    }
    assert_eq!(script.client.view(), View(0));
    assert_eq!(script.hear(&reply(&first, 5, 6, b"\0")), Some(Heard::Applied(vec![])));
}

#[test]
fn a_client_that_restarts_is_another_client_to_the_cluster() {
    let mut script = Script::replicas(3);
    script.client.begin(1);
    let first_life = script.client.id();
    script.submit(b"x");
    script.client.begin(2);
    assert_ne!(script.client.id(), first_life);
    assert_eq!(script.client.outstanding(), None);
    script.client.begin(1);
    assert_eq!(script.client.id(), first_life, "deterministic");
}

/// Asks `todo` things, pausing before each, and notes what it hears.
#[derive(Clone, Default)]
struct Asker {
    todo: Vec<Vec<u8>>,
    pause_until: Option<Instant>,
    heard: Vec<std::string::String>,
}

impl Driver for Asker {
    fn next(&mut self, now: Now, request: &mut Vec<u8>) -> Next {
        assert!(request.is_empty());
        if let Some(time) = self.pause_until.filter(|time| *time > now.monotonic) {
            return Next::WaitUntil(time);
        }
        let Some(payload) = self.todo.pop() else { return Next::Done };
        request.extend_from_slice(&payload);
        Next::Request
    }

    fn done(&mut self, now: Now, outcome: Outcome<'_>) {
        self.pause_until = Some(now.monotonic.after(10));
        self.heard.push(match outcome {
            Outcome::Answered(answered) => std::format!("{} {:?}", answered.request, answered.answer),
            other => std::format!("{other:?}"),
        });
    }
}

fn now(ns: u64) -> Now {
    Now { monotonic: Instant(ns), realtime: Timestamp(ns + 1000) }
}

/// A replica without a log: executes what is new, and echoes.
fn echo(sessions: &mut Sessions, executed: &mut Vec<Vec<u8>>, sent: &Sent) -> Option<Frame> {
    let header = sent.header;
    let op = Op(executed.len() as u64 + 100);
    let body = [&sent.payload[..], &[0]].concat();
    match sessions.check(header.client, header.session(), header.request) {
        Verdict::New if header.request.0 == 0 => {
            let session = sessions.register(header.client, op, Timestamp(1)).session;
            Some(reply(sent, session.0, op.0, b""))
        }
        Verdict::New => {
            executed.push(sent.payload.clone());
            sessions.record(header.client, header.request, op, Timestamp(1), &body);
            Some(reply(sent, header.session().0, op.0, &body))
        }
        Verdict::Retry(last) => Some(reply(sent, last.session.0, last.op.0, last.body)),
        Verdict::Evicted => Some(reject(sent, 0, RejectReason::Evicted)),
        Verdict::Stale | Verdict::Gap => None,
    }
}

#[test]
fn a_process_asks_what_its_driver_wants_and_each_request_is_executed_once_over_a_lossy_network() {
    let todo: Vec<Vec<u8>> = (0..20).map(|i| vec![i]).collect();
    let driver = Asker { todo, ..Asker::default() };
    let mut process = ClientProcess::new(ClientConfig::new(CLUSTER, ClientId(1), 1), driver);
    let mut sessions = Sessions::new(1);
    let mut executed = Vec::new();
    let mut actions = Actions::new();
    process.step(now(0), Event::Start { nonce: 1 }, &mut actions);
    let mut frames_seen = 0;
    let mut replies = Vec::new();
    let mut time = 0;
    loop {
        assert!(frames_seen < 1000, "the client gets nowhere");
        for action in actions.take() {
            let Action::Send { to, frame } = action else { continue };
            frames_seen += 1;
            // Every third request is lost, every fifth arrives twice, every fourth reply is lost.
            for _ in 0..if frames_seen % 5 == 0 { 2 } else { 1 } {
                if frames_seen % 3 != 0 {
                    replies.extend(echo(&mut sessions, &mut executed, &seen(to, &frame)));
                }
            }
        }
        if let Some(frame) = replies.pop() {
            frames_seen += 1;
            if frames_seen % 4 != 0 {
                process.step(now(time), Event::Message { from: NodeId(0), frame: &frame }, &mut actions);
            }
        } else if let Some(deadline) = process.deadline() {
            time = time.max(deadline.0);
            process.step(now(time), Event::Deadline, &mut actions);
        } else {
            break;
        }
    }
    let expected: Vec<Vec<u8>> = (0..20).rev().map(|i| vec![i]).collect();
    assert_eq!(executed, expected);
    let heard: Vec<_> = (0..20_u8).map(|i| std::format!("#{} Applied([{}])", i + 1, 19 - i)).collect();
    assert_eq!(process.driver().heard, heard);
}

#[test]
fn a_driver_is_woken_when_it_wanted_and_told_of_what_is_too_large_to_send() {
    let driver =
        Asker { todo: vec![b"fits".to_vec(), vec![0; 100]], pause_until: Some(Instant(500)), ..Asker::default() };
    let config = ClientConfig { payload_size_max: 99, ..ClientConfig::new(CLUSTER, ClientId(1), 1) };
    let mut process = ClientProcess::new(config, driver);
    let mut actions = Actions::new();
    process.step(now(0), Event::Start { nonce: 1 }, &mut actions);
    assert_eq!(process.deadline(), Some(Instant(500)));
    process.step(now(499), Event::Deadline, &mut actions);
    assert!(process.driver().heard.is_empty());
    process.step(now(500), Event::Deadline, &mut actions);
    assert_eq!(process.driver().heard, ["TooLarge"]);
    process.step(now(500), Event::Deadline, &mut actions);
    assert_eq!(process.deadline(), Some(Instant(510)));
    assert!(actions.as_slice().is_empty());
    process.step(now(510), Event::Deadline, &mut actions);
    assert_eq!(actions.take().len(), 1, "the register");
}

#[test]
fn every_probe_has_a_name() {
    assert_eq!(ClientProbe::NAMES.len(), ClientProbe::BadFrame as usize + 1);
}

#[test]
fn a_query_needs_no_session_and_takes_no_answer_but_its_own() {
    let mut script = Script::replicas(3);
    script.client.query(script.now, Freshness::Linearizable, b"what", &mut script.actions);
    let query = script.sent();
    assert_eq!((query.header.command, query.header.context, &query.payload[..]), (Command::Query, 0, &b"what"[..]));
    let answer = |query: &Sent, number: u64, command, context| {
        let mut header = Header::new(CLUSTER, command, 1, View(4));
        (header.client, header.request.0, header.context, header.op) = (query.header.client, number, context, Op(9));
        seal(header, b"that\0", &mut Actions::new()).1
    };
    let number = query.header.request.0;
    for late in [
        answer(&query, number - 1, Command::QueryReply, 0),
        answer(&query, number, Command::QueryReply, 1),
        answer(&query, number, Command::Reply, 0),
    ] {
        assert!(script.client.on_frame(script.now, &late, &mut script.actions).is_none());
    }
    assert!(script.client.outstanding().is_some());
    let frame = answer(&query, number, Command::QueryReply, 0);
    let outcome = script.client.on_frame(script.now, &frame, &mut script.actions);
    assert_eq!(outcome, Some(Outcome::Queried(Queried { op: Op(9), answer: Answer::Applied(b"that") })));
    assert_eq!((script.client.session(), script.client.view()), (None, View(4)));
    script.client.query(script.now, Freshness::Stale, b"what", &mut script.actions);
    let stale = script.sent();
    assert_eq!((stale.header.request.0, stale.header.context, stale.to), (number + 1, 1, 1));
    let first = script.client.on_frame(script.now, &frame, &mut script.actions);
    assert!(first.is_none(), "an answer to the query before");
}

#[test]
fn a_query_that_was_given_up_is_not_asked_again_and_a_request_cannot_be_given_up() {
    let mut script = Script::replicas(3);
    script.client.query(script.now, Freshness::Linearizable, b"what", &mut script.actions);
    let query = script.sent();
    script.client.abandon_query(&mut script.actions);
    assert_eq!((script.client.outstanding(), script.client.deadline()), (None, None));
    let mut header = Header::new(CLUSTER, Command::QueryReply, 0, View(0));
    (header.client, header.request) = (query.header.client, query.header.request);
    let late = seal(header, b"that\0", &mut Actions::new()).1;
    script.client.query(script.now, Freshness::Linearizable, b"what else", &mut script.actions);
    assert!(script.client.on_frame(script.now, &late, &mut script.actions).is_none());
    script.client.abandon_query(&mut script.actions);
    script.actions.take();
    let register = script.submit(b"x");
    script.client.abandon_query(&mut script.actions);
    assert_eq!(script.client.outstanding(), Some(register.header.request));
}
