//! The key-value store's workload: contended gets, puts, deletes, swaps and appends, and what must be refused.
//!
//! Values are unique (who wrote it and as which call), so that a lost, repeated or invented write shows in what is read
//! later. A client that lives again is the exception: it makes the same calls anew, so that an answer which was meant for
//! its earlier life would fit, and whose it is shows in the log alone.

use std::collections::BTreeMap;

use chronon::{
    app::kv::{self, Kv, Request, Response, VALUE_SIZE_MAX},
    digest::SetDigest,
    frame::Frame,
};
use serde::{Deserialize, Serialize};

use super::{Caller, Plan, Turn, Workload};
use crate::{rng::Stream, schedule::MESSAGE_SIZE_MAX};

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

impl Plan for KvConfig {
    fn calls(&self) -> u64 {
        self.calls
    }

    fn think_ns_max(&self) -> u64 {
        self.think_ns_max
    }

    fn check(&self) -> Result<(), &'static str> {
        let is_any = self.weights.all().iter().any(|(weight, _)| *weight > 0);
        let rules = [
            (self.keys > 0, "workload.each.keys must be positive"),
            (self.value_size_max as usize <= VALUE_SIZE_MAX, "workload.each.value_size_max must be at most 16384"),
            (self.oversized_size <= MESSAGE_SIZE_MAX, "workload.each.oversized_size must be at most 1048576"),
            (is_any, "one of workload.each.weights must be positive"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(*rule))
    }
}

/// The key-value store under test.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct KvWorkload;

/// A client of the key-value store.
pub type KvCaller = Caller<KvWorkload>;

impl KvCaller {
    /// The client numbered `client` under `seed`.
    ///
    /// # Panics
    /// If no client can follow `config`: without keys, or without a kind of call that has any weight.
    pub fn new(seed: u64, client: u32, config: KvConfig) -> Self {
        if let Err(why) = config.check() {
            panic!("{why}");
        }
        Self::of(KvWorkload, seed, client, config)
    }
}

fn key_name(key: u32) -> String {
    format!("key {key}")
}

/// What a client of the store remembers.
#[derive(Clone, Default, Debug)]
pub struct KvMemory {
    /// The key of the last call.
    key: u32,
    /// What was last seen under each key (`None`: nothing), to swap for something else.
    seen: BTreeMap<u32, Option<Frame>>,
}

impl Workload for KvWorkload {
    type Application = Kv;
    type Plan = KvConfig;
    type Memory = KvMemory;

    fn application(&self) -> Kv {
        Kv
    }

    fn plan(&self, random: &mut Stream, calls: u64) -> KvConfig {
        let weights = KvWeights { oversized: u32::from(random.chance(100_000)), ..KvWeights::default() };
        KvConfig {
            calls,
            keys: random.range(2, 40) as u32,
            value_size_max: if random.chance(50_000) { 8 * 1024 } else { random.range(16, 600) as u32 },
            think_ns_max: if random.chance(300_000) { random.range(1_000_000, 10_000_000) } else { 0 },
            weights,
            ..KvConfig::default()
        }
    }

    /// Tokens are appended until somebody puts, swaps or deletes, which is soon; and whoever lives again is another client.
    fn state_size_max(&self, plan: &KvConfig, clients: u8) -> Option<u64> {
        const AROUND: u64 = 64;
        const APPENDED: u64 = 32 * TOKEN_SIZE as u64;
        let value = u64::from(plan.value_size_max.max(TOKEN_SIZE as u32)) + APPENDED + AROUND;
        Some((u64::from(plan.keys) + 2 * u64::from(clients) + 4) * value)
    }

    fn ask(&self, memory: &mut KvMemory, mut turn: Turn<'_, KvConfig>, request: &mut Vec<u8>) {
        let weights = turn.plan.weights.all();
        let kind = weights[turn.random.weighted(&weights.map(|(weight, _)| weight))].1;
        memory.key = turn.random.below(u64::from(turn.plan.keys)) as u32;
        let name = key_name(memory.key);
        let key = name.as_bytes();
        match kind {
            Kind::Get => Request::Get { key }.encode(request),
            Kind::Put => Request::Put { key, value: &value(&mut turn) }.encode(request),
            Kind::Delete => Request::Delete { key }.encode(request),
            Kind::CompareAndSwap => {
                let value = value(&mut turn);
                // Now and then a value that nothing can be: the swap must fail.
                let expected = match memory.seen.get(&memory.key) {
                    Some(seen) if !turn.random.chance(200_000) => seen.as_deref(),
                    _ => Some(&b"never"[..]),
                };
                Request::CompareAndSwap { key, expected, value: &value }.encode(request);
            }
            Kind::Append => Request::Append { key, value: &token(&turn) }.encode(request),
            Kind::Refused => write_refused(&mut turn, request),
            Kind::Oversized => {
                Request::Put { key, value: &[] }.encode(request);
                request.resize(request.len().max(turn.plan.oversized_size as usize), 0xee);
            }
        }
    }

    /// Remembers what the key holds, as far as the response says.
    fn told(&self, memory: &mut KvMemory, request: &[u8], response: &[u8]) {
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
        memory.seen.insert(memory.key, seen);
    }

    fn query(&self, plan: &KvConfig, random: &mut Stream, query: &mut Vec<u8>) -> bool {
        let key = key_name(random.below(u64::from(plan.keys)) as u32);
        Request::Get { key: key.as_bytes() }.encode(query);
        true
    }

    fn digest(&self, state: &kv::State) -> SetDigest {
        state.set_digest()
    }
}

/// Something that the application must refuse. All of it differs by its token, so that it is told apart in a log.
fn write_refused(turn: &mut Turn<'_, KvConfig>, request: &mut Vec<u8>) {
    let token = token(turn);
    match turn.random.below(3) {
        0 => request.extend_from_slice(&[&[0xff], &token[..]].concat()),
        1 => Request::Put { key: b"", value: &token }.encode(request),
        _ => Request::Put { key: &[0x61; 300], value: &token }.encode(request),
    }
}

/// Unique to this call.
fn token(turn: &Turn<'_, KvConfig>) -> [u8; TOKEN_SIZE] {
    let mut token = [0; TOKEN_SIZE];
    token[..4].copy_from_slice(&turn.client.to_le_bytes());
    token[4..].copy_from_slice(&turn.call.to_le_bytes());
    token
}

/// The token, and after it more bytes that follow from it.
fn value(turn: &mut Turn<'_, KvConfig>) -> Vec<u8> {
    let size = turn.random.range(TOKEN_SIZE as u64, u64::from(turn.plan.value_size_max).max(TOKEN_SIZE as u64));
    let mut value = token(turn).to_vec();
    value.resize(size as usize, turn.call as u8);
    value
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
