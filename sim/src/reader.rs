//! A client that only queries.
//!
//! It is a [`Driver`] like a workload's caller, apart from it, so that readers neither share a writer's stream nor wait for its
//! calls. What became of its queries is judged by [`ReadsOracle`](crate::oracle::reads::ReadsOracle), from what is sent and from what
//! is kept here. Deliberately absent: anything that survives the reader's own restart.

use chronon::{
    client::{Driver, Freshness, Next, Outcome},
    process::Now,
    types::{Instant, Op},
};
use serde::{Deserialize, Serialize};

use crate::{
    rng::Stream,
    workload::{KvWorkload, Told, Workload},
};

/// What a reader does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderConfig {
    /// How many queries it makes.
    pub queries: u64,
    /// How many of a million queries may be stale.
    pub stale_ppm: u32,
    /// The longest pause before a query; 0 for none.
    pub think_ns_max: u64,
}

/// A query, and what it came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// How much it may miss.
    pub freshness: Freshness,
    /// The op that its answer is true at, and what the application said; none as long as it is not answered.
    pub answer: Option<(Op, Told)>,
}

/// A seeded reader.
#[derive(Clone)]
pub struct Reader<W: Workload = KvWorkload> {
    workload: W,
    plan: W::Plan,
    config: ReaderConfig,
    stream: Stream,
    history: Vec<Read>,
    ready_at: Option<Instant>,
}

impl<W: Workload> Reader<W> {
    /// A reader of its own course for every seed and number. `plan` is what the callers beside it do.
    pub fn of(workload: W, seed: u64, number: u32, plan: W::Plan, config: ReaderConfig) -> Self {
        let stream = Stream::new(seed, "reader", number, 0);
        Self { workload, plan, config, stream, history: Vec::new(), ready_at: None }
    }

    /// Its queries, in order.
    pub fn history(&self) -> &[Read] {
        &self.history
    }

    /// How many of them are answered.
    pub fn answered(&self) -> usize {
        self.history.iter().filter(|read| read.answer.is_some()).count()
    }

    /// Whether it has no query left, and none outstanding.
    pub fn is_finished(&self) -> bool {
        self.answered() as u64 == self.config.queries
    }
}

impl<W: Workload> Driver for Reader<W> {
    fn next(&mut self, now: Now, request: &mut Vec<u8>) -> Next {
        if self.history.len() as u64 >= self.config.queries {
            return Next::Done;
        }
        let think_ns_max = self.config.think_ns_max;
        let ready_at = *self.ready_at.get_or_insert_with(|| now.monotonic.after(self.stream.range(0, think_ns_max)));
        if ready_at > now.monotonic {
            return Next::WaitUntil(ready_at);
        }
        self.ready_at = None;
        assert!(self.workload.query(&self.plan, &mut self.stream, request), "a reader has something to ask");
        let stale = self.stream.chance(self.config.stale_ppm);
        let freshness = if stale { Freshness::Stale } else { Freshness::Linearizable };
        self.history.push(Read { freshness, answer: None });
        Next::Query(freshness)
    }

    fn done(&mut self, _now: Now, outcome: Outcome<'_>) {
        let Outcome::Queried(queried) = outcome else { panic!("a small query is answered, and not {outcome:?}") };
        let read = self.history.last_mut().expect("what was answered was asked");
        read.answer = Some((queried.op, Told::from(queried.answer)));
    }
}
