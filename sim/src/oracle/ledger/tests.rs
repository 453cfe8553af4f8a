//! What the log may say of effects and timers, and what it may not.

use chronon::{
    app::{
        effect::{Channel, End},
        room::Limits,
    },
    types::{Checksum, ClusterId, Epoch, Op, View},
};

use super::*;

const EMIT: Destination = Destination::Emit(Channel(1));
/// Failed in the end, after three attempts or a thousand nanoseconds.
const POLICY: Policy =
    Policy::EMIT.with_attempts(3).with_backoff(1, 1).with_total_timeout(1_000).with_exhausted(OnExhausted::Fail);
/// The same, and a dead letter.
const LETTER: Policy = POLICY.with_exhausted(OnExhausted::DeadLetter);

/// An outbox, and the ledger that judges it.
struct Books {
    ledger: Ledger,
    outbox: Outbox,
    op: Op,
    now: Timestamp,
}

impl Books {
    /// With one effect, of one policy to the ledger and of another to the outbox, and claimed.
    fn of(destination: Destination, asked: Policy, kept: Policy) -> (Self, EffectId) {
        let (op, now) = (Op(1), Timestamp(1));
        let mut books = Self { ledger: Ledger::default(), outbox: Outbox::new(Limits::DEFAULT), op, now };
        let id = EffectId { cluster: ClusterId(1), op, position: 0, index: 0 };
        let payload = Frame::new(b"what".to_vec());
        let wish = Wish::Effect { destination, policy: asked, payload: payload.clone() };
        books.takes(By::Request, vec![Seen::Asks(id, wish)]).unwrap();
        books.outbox.insert(id, destination, kept, payload, now);
        books.passes(1);
        let fence = Fence { epoch: Epoch(1), view: View(1) };
        books.outbox.claim(fence, books.op).unwrap();
        books.takes(By::System(&SystemEntry::Claim(fence)), Vec::new()).unwrap();
        (books, id)
    }

    fn takes(&mut self, by: By<'_>, seen: Vec<Seen>) -> Result<(), Violation> {
        let context = ApplyContext::new(self.op, self.now, Checksum(0), 0);
        self.ledger.takes(&context, by, &seen, &self.outbox)
    }

    /// Another op, so much later.
    fn passes(&mut self, ns: u64) {
        (self.op, self.now) = (Op(self.op.0 + 1), Timestamp(self.now.0 + ns));
    }

    fn time(&mut self, ns: u64) -> Result<(), Violation> {
        self.passes(ns);
        let mut ended = Vec::new();
        self.outbox.advance(self.op, self.now, 10, &mut ended);
        let seen = ended.iter().map(|ended| seen(ended.id, &ended.end)).collect();
        self.takes(By::Time, seen)
    }

    /// What is due comes to this.
    fn comes_to(&mut self, id: EffectId, result: EffectResult) -> Result<(), Violation> {
        self.time(2)?;
        let token = self.outbox.task(id).expect("it is due").token;
        let (op, now) = (self.op, self.now);
        let ended = self.outbox.outcome(id, token, result.clone(), op, now).expect("it is the latest");
        let seen = ended.iter().map(|ended| seen(ended.id, &ended.end)).collect();
        self.takes(By::System(&SystemEntry::Outcome(EffectReport { id, token, result })), seen)
    }

    fn fails(&mut self, id: EffectId) -> Result<(), Violation> {
        self.comes_to(id, EffectResult::Failed { code: 503 })
    }
}

fn seen(id: EffectId, end: &End) -> Seen {
    Seen::Told(
        id,
        match end {
            End::Acknowledged => Told::Acknowledged,
            End::Fetched { response } => Told::Fetched { response: Frame::new(response.clone()) },
            End::Failed { cause, code, .. } => Told::Failed { cause: *cause, code: *code },
        },
    )
}

fn place(result: Result<(), Violation>) -> String {
    result.expect_err("it is broken").place
}

#[test]
fn what_is_tried_as_its_policy_has_it_is_given_up_in_the_end() {
    for policy in [POLICY, LETTER] {
        let (mut books, id) = Books::of(EMIT, policy, policy);
        (0..3).for_each(|_| books.fails(id).unwrap());
        assert_eq!(books.outbox.get(id).is_some(), policy == LETTER);
        let (mut books, id) = Books::of(EMIT, policy, policy);
        books.fails(id).unwrap();
        books.time(1_000).unwrap();
        assert_eq!(books.outbox.get(id).is_some(), policy == LETTER);
    }
}

#[test]
fn what_is_given_up_too_early_is_seen() {
    for (policy, expected) in [(POLICY, "told another end than the log's"), (LETTER, "held for no reason")] {
        let (mut books, id) = Books::of(EMIT, policy, policy.with_attempts(2));
        books.fails(id).unwrap();
        assert_eq!(place(books.fails(id)), expected);
        let (mut books, _) = Books::of(EMIT, policy, policy.with_total_timeout(999));
        assert_eq!(place(books.time(998)), expected);
    }
}

#[test]
fn what_is_given_up_too_late_is_seen() {
    let (mut books, id) = Books::of(EMIT, LETTER, LETTER.with_attempts(4));
    (0..2).for_each(|_| books.fails(id).unwrap());
    assert_eq!(place(books.fails(id)), "tried more often than its policy allows");
}

#[test]
fn what_is_heard_late_of_an_attempt_before_an_operator_s_counts_for_nothing() {
    let once = LETTER.with_attempts(1);
    let (mut books, id) = Books::of(EMIT, once, once);
    let token = books.outbox.task(id).unwrap().token;
    books.time(1_000).unwrap();
    books.passes(1);
    books.outbox.redrive(id, books.op, books.now).unwrap();
    books.takes(By::Operator(&OperatorRequest::Redrive { id }), Vec::new()).unwrap();
    let report = EffectReport { id, token, result: EffectResult::Failed { code: 503 } };
    books.takes(By::System(&SystemEntry::Outcome(report)), Vec::new()).unwrap();
    books.fails(id).unwrap();
    assert_eq!(books.outbox.get(id).unwrap().standing.stage, Stage::Dead(Cause::Attempts));
}

#[test]
fn what_ends_otherwise_than_it_should_is_seen() {
    let (mut books, id) = Books::of(EMIT, LETTER, POLICY.with_attempts(1));
    assert_eq!(place(books.fails(id)), "told another end than the log's");
    let (mut books, id) = Books::of(EMIT, POLICY, LETTER.with_attempts(3));
    (0..2).for_each(|_| books.fails(id).unwrap());
    assert_eq!(place(books.fails(id)), "held for no reason");
}

#[test]
fn what_is_parked_was_never_to_be_run_twice() {
    let never_twice = LETTER.with_unknown(OnUnknown::NeverTwice);
    for (asked, is_so) in [(never_twice, true), (LETTER.with_unknown(OnUnknown::AskFirst), false)] {
        let (mut books, id) = Books::of(EMIT, asked, never_twice);
        let token = books.outbox.task(id).unwrap().token;
        books.outbox.start(id, token, books.op).unwrap();
        assert_eq!(books.comes_to(id, EffectResult::Unknown { code: 1 }).is_ok(), is_so);
    }
}

#[test]
fn a_fetch_is_told_once_what_its_outcome_says() {
    let done = EffectResult::Done { response: vec![7] };
    let (mut books, id) = Books::of(Destination::Fetch, POLICY, POLICY);
    books.comes_to(id, done.clone()).unwrap();
    let again = vec![seen(id, &End::Fetched { response: vec![7] })];
    assert_eq!(place(books.takes(By::Time, again)), "told of what was not pending");
    let (mut books, id) = Books::of(Destination::Fetch, POLICY, POLICY);
    let token = books.outbox.task(id).unwrap().token;
    let entry = SystemEntry::Outcome(EffectReport { id, token, result: done });
    for end in [End::Fetched { response: vec![8] }, End::Acknowledged] {
        let told = vec![seen(id, &end)];
        assert_eq!(place(books.takes(By::System(&entry), told)), "told another end than the log's");
    }
}

#[test]
fn what_is_long_is_told_in_short() {
    let done = |byte| EffectResult::Done { response: vec![byte; 40_000] };
    let (mut books, id) = Books::of(Destination::Fetch, POLICY, POLICY);
    let token = books.outbox.task(id).unwrap().token;
    let entry = SystemEntry::Outcome(EffectReport { id, token, result: done(7) });
    let told = vec![seen(id, &End::Fetched { response: vec![8; 40_000] })];
    let sentence = books.takes(By::System(&entry), told).expect_err("it is another").sentence;
    assert!(sentence.contains("Fetched with 40000 bytes 0808080808080808.."), "{sentence}");
    assert!(sentence.contains("Done with 40000 bytes 0707070707070707.."), "{sentence}");
    assert!(sentence.len() < 700, "{sentence}");
}

#[test]
fn a_timer_fires_once_and_not_before_its_time() {
    let (mut books, _) = Books::of(EMIT, POLICY, POLICY);
    let id = EffectId { cluster: ClusterId(1), op: books.op, position: 0, index: 0 };
    let wish = Wish::Timer { delay_ns: 10, payload: Frame::new(vec![5]) };
    let fired = || vec![Seen::Told(id, Told::Fired { payload: Frame::new(vec![5]) })];
    books.takes(By::Request, vec![Seen::Asks(id, wish)]).unwrap();
    let asked = books.ledger.clone();
    books.passes(9);
    assert_eq!(place(books.takes(By::Time, fired())), "a timer fires as it was not asked to");
    books.ledger = asked;
    books.passes(1);
    books.takes(By::Time, fired()).unwrap();
    assert_eq!(place(books.takes(By::Time, fired())), "a timer that nobody waits for");
}
