//! What clients ask of the key-value application in a simulation, and what they were told.
//!
//! A workload is a [`Driver`]: plain data, seeded, one per client. Its history is what an oracle reads: it only grows, a
//! call appears in it in the very step that sends it, and the call's end is filled in, once, in the step that learns of
//! it. So an oracle that looks after every step knows the world's time of both; the times in the history are the
//! client's own clock's, which the nemesis may have bent.
//!
//! Values are unique (who wrote it and as which call), so that a lost, repeated or invented write shows in what is read
//! later. A client that lives again is the exception: it makes the same calls anew, so that an answer which was meant for
//! its earlier life would fit, and whose it is shows in the log alone. Deliberately absent: any judgement of the answers, and
//! anything that survives the client's own restart.

use std::collections::BTreeMap;

use chronon::{
    app::{
        executor::Answer,
        kv::{Request, Response},
    },
    client::{Answered, Driver, Next, Outcome},
    frame::Frame,
    process::Now,
    types::{ClientId, Instant, Op, RequestNumber, Session, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::rng::Stream;

/// The bytes of a value that make it unique: the client's number and the call's.
const TOKEN_SIZE: usize = 12;

/// What a client does, as data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvConfig {
    /// How many calls the client makes.
    pub calls: u64,
    /// How many keys all clients share: the fewer, the more they contend.
    pub keys: u32,
    /// The longest value that is put. Shorter than a token is taken for a token.
    pub value_size_max: u32,
    /// The longest pause before a call; 0 for none.
    pub think_ns_max: u64,
    /// How often each kind of call is made.
    pub weights: KvWeights,
    /// The size of the payload of an "oversized" call, which ought to be more than a replica takes.
    pub oversized_size: u32,
}

/// How often each kind of call is made, relative to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvWeights {
    /// Gets.
    pub get: u32,
    /// Puts of a unique value.
    pub put: u32,
    /// Deletes.
    pub delete: u32,
    /// Compare-and-swaps, most of them with the value last seen.
    pub compare_and_swap: u32,
    /// Appends of a token.
    pub append: u32,
    /// Bytes that the application must refuse.
    pub refused: u32,
    /// Payloads that a replica must refuse.
    pub oversized: u32,
}

impl Default for KvConfig {
    fn default() -> Self {
        Self {
            calls: 100,
            keys: 8,
            value_size_max: 256,
            think_ns_max: 0,
            weights: KvWeights::default(),
            oversized_size: 48 * 1024,
        }
    }
}

impl Default for KvWeights {
    fn default() -> Self {
        Self { get: 25, put: 20, delete: 5, compare_and_swap: 15, append: 30, refused: 3, oversized: 0 }
    }
}

/// One call of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The payload.
    pub request: Frame,
    /// When it was made, by the client's monotonic clock.
    pub invoked_at: Instant,
    /// How it ended, if it did.
    pub end: Option<End>,
}

/// The end of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// When the client learnt of it, by its monotonic clock.
    pub at: Instant,
    /// What it learnt.
    pub outcome: CallOutcome,
}

/// What became of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallOutcome {
    /// It was executed, once.
    Answered {
        /// The client as the cluster knows it.
        client: ClientId,
        /// Its session.
        session: Session,
        /// The call's number in the session.
        request: RequestNumber,
        /// The op in which it committed.
        op: Op,
        /// The time of that op.
        timestamp: Timestamp,
        /// What the application said.
        told: Told,
    },
    /// The session was evicted: executed once or not at all.
    Unknown,
    /// It was too large, and not executed.
    TooLarge,
}

/// What the application said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// Its response.
    Applied(Frame),
    /// Its refusal, by code.
    Rejected(u32),
}

/// A seeded client of the key-value application that keeps its history.
#[derive(Clone)]
pub struct KvWorkload {
    client: u32,
    config: KvConfig,
    stream: Stream,
    history: Vec<Call>,
    /// Whether the pause before the next call is over, once it was drawn.
    ready_at: Option<Instant>,
    /// The key of the last call.
    key: u32,
    /// What was last seen under each key (`None`: nothing), to swap for something else.
    seen: BTreeMap<u32, Option<Frame>>,
}

impl KvWorkload {
    /// The workload of the client numbered `client` under `seed`.
    ///
    /// # Panics
    /// If there are no keys, or no kind of call has any weight.
    pub fn new(seed: u64, client: u32, config: KvConfig) -> Self {
        assert!(config.keys > 0, "a workload needs a key to ask about");
        assert!(config.weights.all().iter().any(|(weight, _)| *weight > 0), "a workload needs a kind of call to make");
        let stream = Stream::new(seed, "workload", client, 0);
        Self { client, config, stream, history: Vec::new(), ready_at: None, key: 0, seen: BTreeMap::new() }
    }

    /// All calls so far, in order. Only the last can be without an end.
    pub fn history(&self) -> &[Call] {
        &self.history
    }

    /// Whether a call has no end yet.
    pub fn is_outstanding(&self) -> bool {
        self.history.last().is_some_and(|call| call.end.is_none())
    }

    /// Whether all calls were made and have ended.
    pub fn is_finished(&self) -> bool {
        self.history.len() as u64 >= self.config.calls && !self.is_outstanding()
    }

    fn write_call(&mut self, request: &mut Vec<u8>) {
        let weights = self.config.weights.all();
        let kind = weights[self.stream.weighted(&weights.map(|(weight, _)| weight))].1;
        self.key = self.stream.below(u64::from(self.config.keys)) as u32;
        let name = format!("key {}", self.key);
        let key = name.as_bytes();
        match kind {
            Kind::Get => Request::Get { key }.encode(request),
            Kind::Put => Request::Put { key, value: &self.value() }.encode(request),
            Kind::Delete => Request::Delete { key }.encode(request),
            Kind::CompareAndSwap => {
                let value = self.value();
                // Now and then a value that nothing can be: the swap must fail.
                let expected = match self.seen.get(&self.key) {
                    Some(seen) if !self.stream.chance(200_000) => seen.as_deref(),
                    _ => Some(&b"never"[..]),
                };
                Request::CompareAndSwap { key, expected, value: &value }.encode(request);
            }
            Kind::Append => Request::Append { key, value: &self.token() }.encode(request),
            Kind::Refused => self.write_refused(request),
            Kind::Oversized => {
                Request::Put { key, value: &[] }.encode(request);
                request.resize(request.len().max(self.config.oversized_size as usize), 0xee);
            }
        }
    }

    /// Something that the application must refuse. All of it differs by its token, so that it is told apart in a log.
    fn write_refused(&mut self, request: &mut Vec<u8>) {
        let token = self.token();
        match self.stream.below(3) {
            0 => request.extend_from_slice(&[&[0xff], &token[..]].concat()),
            1 => Request::Put { key: b"", value: &token }.encode(request),
            _ => Request::Put { key: &[0x61; 300], value: &token }.encode(request),
        }
    }

    /// Unique to this call.
    fn token(&self) -> [u8; TOKEN_SIZE] {
        let mut token = [0; TOKEN_SIZE];
        token[..4].copy_from_slice(&self.client.to_le_bytes());
        token[4..].copy_from_slice(&(self.history.len() as u64).to_le_bytes());
        token
    }

    /// The token, and after it more bytes that follow from it.
    fn value(&mut self) -> Vec<u8> {
        let size = self.stream.range(TOKEN_SIZE as u64, u64::from(self.config.value_size_max).max(TOKEN_SIZE as u64));
        let mut value = self.token().to_vec();
        value.resize(size as usize, self.history.len() as u8);
        value
    }

    /// Remembers what the key holds, as far as the response tells.
    fn look(&mut self, request: &Frame, response: &Frame) {
        let written = match Request::decode(request) {
            Ok(Request::Put { value, .. } | Request::CompareAndSwap { value, .. }) => Some(Frame::new(value.to_vec())),
            _ => None,
        };
        let seen = match Response::decode(response) {
            Ok(Response::Found(value) | Response::Mismatch(Some(value))) => Some(Frame::new(value.to_vec())),
            Ok(Response::Missing | Response::Deleted | Response::Mismatch(None)) => None,
            Ok(Response::Stored | Response::Swapped) => written,
            Ok(Response::Appended { .. }) | Err(_) => return,
        };
        self.seen.insert(self.key, seen);
    }
}

impl Driver for KvWorkload {
    fn next(&mut self, now: Now, request: &mut Vec<u8>) -> Next {
        if self.history.len() as u64 >= self.config.calls {
            return Next::Done;
        }
        let think_ns_max = self.config.think_ns_max;
        let ready_at = *self.ready_at.get_or_insert_with(|| now.monotonic.after(self.stream.range(0, think_ns_max)));
        if ready_at > now.monotonic {
            return Next::WaitUntil(ready_at);
        }
        self.ready_at = None;
        self.write_call(request);
        self.history.push(Call { request: Frame::new(request.clone()), invoked_at: now.monotonic, end: None });
        Next::Request
    }

    fn done(&mut self, now: Now, outcome: Outcome<'_>) {
        let outcome = match outcome {
            Outcome::Answered(Answered { client, session, request, op, timestamp, answer }) => {
                let told = match answer {
                    Answer::Applied(response) => Told::Applied(Frame::new(response.to_vec())),
                    Answer::Rejected { code, .. } => Told::Rejected(code),
                };
                CallOutcome::Answered { client, session, request, op, timestamp, told }
            }
            Outcome::Unknown => CallOutcome::Unknown,
            Outcome::TooLarge => CallOutcome::TooLarge,
        };
        let call = self.history.last_mut().expect("a call that ends was made");
        assert!(call.end.is_none(), "a call ends once");
        call.end = Some(End { at: now.monotonic, outcome: outcome.clone() });
        if let CallOutcome::Answered { told: Told::Applied(response), .. } = outcome {
            let request = call.request.clone();
            self.look(&request, &response);
        }
    }
}

/// A kind of call.
#[derive(Clone, Copy)]
enum Kind {
    Get,
    Put,
    Delete,
    CompareAndSwap,
    Append,
    Refused,
    Oversized,
}

impl KvWeights {
    fn all(&self) -> [(u32, Kind); 7] {
        [
            (self.get, Kind::Get),
            (self.put, Kind::Put),
            (self.delete, Kind::Delete),
            (self.compare_and_swap, Kind::CompareAndSwap),
            (self.append, Kind::Append),
            (self.refused, Kind::Refused),
            (self.oversized, Kind::Oversized),
        ]
    }
}

/// A client that puts values of one size over a few keys of its own, as fast as it is answered, and keeps no history:
/// the load of a benchmark.
#[derive(Clone)]
pub struct PutWorkload {
    calls: u64,
    keys: u64,
    asked: u64,
    acknowledged: u64,
    client: u32,
    value: Vec<u8>,
}

impl PutWorkload {
    /// The load of the client numbered `client`: `calls` puts of `value_size` bytes over `keys` keys.
    ///
    /// # Panics
    /// If there are no keys.
    pub fn new(client: u32, calls: u64, keys: u64, value_size: u32) -> Self {
        assert!(keys > 0, "a put needs a key");
        Self { calls, keys, asked: 0, acknowledged: 0, client, value: vec![0x5a; value_size as usize] }
    }

    /// How many puts were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether all puts were made and have ended.
    pub fn is_finished(&self) -> bool {
        self.acknowledged == self.calls
    }
}

impl Driver for PutWorkload {
    fn next(&mut self, _now: Now, request: &mut Vec<u8>) -> Next {
        if self.asked == self.calls {
            return Next::Done;
        }
        let mut key = [0; 12];
        key[..4].copy_from_slice(&self.client.to_le_bytes());
        key[4..].copy_from_slice(&(self.asked % self.keys).to_le_bytes());
        if let Some(number) = self.value.first_chunk_mut() {
            *number = self.asked.to_le_bytes();
        }
        Request::Put { key: &key, value: &self.value }.encode(request);
        self.asked += 1;
        Next::Request
    }

    fn done(&mut self, _now: Now, outcome: Outcome<'_>) {
        let Outcome::Answered(Answered { answer: Answer::Applied(_), .. }) = outcome else {
            panic!("a benchmark's put was not executed: {outcome:?}");
        };
        self.acknowledged += 1;
    }
}

#[cfg(test)]
mod tests;
