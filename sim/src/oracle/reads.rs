//! Promise: a linearizable query misses nothing that was executed anywhere before it was asked, and every answer to a query is what
//! the application says of the state at the op that it names.
//!
//! What is acknowledged, to whomever, is executed before: so no acknowledged write is missed, and no later read goes back behind an
//! earlier one. That the state at an op is that of the commit order is [`ClusterOracle`](super::cluster::ClusterOracle)'s promise;
//! with both, an answer equals the sequential state at an op between the query's begin and its end.
//!
//! Deliberately absent: what clients make of the answers. Every answer that leaves a replica is judged, whether or not it arrives.

use std::collections::BTreeMap;

use chronon::{
    app::{
        application::{Application, Rejection},
        executor::Answer,
    },
    process::Action,
    replica::Replica,
    types::{ClientId, NodeId, Op, RequestNumber},
    wire::header::{Command, QUERY_LINEARIZABLE},
};

use super::{Interests, Oracle, StepView, Violation, WorldView, speech::Speech};

/// Watches the queries to a cluster of `Replica<A>`.
#[derive(Clone)]
pub struct ReadsOracle<A> {
    application: A,
    /// The highest op that was executed anywhere.
    executed: Op,
    /// The last query of each client.
    asked: BTreeMap<ClientId, Asked>,
    answers: u64,
}

/// A query as it was first sent.
#[derive(Clone)]
struct Asked {
    number: RequestNumber,
    freshness: u128,
    payload: Vec<u8>,
    /// What was executed by then.
    above: Op,
}

impl<A: Application> ReadsOracle<A> {
    /// Nothing was asked yet.
    pub const fn new(application: A) -> Self {
        Self { application, executed: Op::ROOT, asked: BTreeMap::new(), answers: 0 }
    }

    /// How many answers to the last query of their client left a replica.
    pub const fn answers(&self) -> u64 {
        self.answers
    }

    fn asks(&mut self, speech: Speech<'_>) {
        let known = self.asked.get(&speech.client());
        if known.is_none_or(|known| known.number < speech.request()) {
            let asked = Asked {
                number: speech.request(),
                freshness: speech.context(),
                payload: speech.body().to_vec(),
                above: self.executed,
            };
            self.asked.insert(speech.client(), asked);
        }
    }

    fn answers_with(&mut self, name: &str, replica: &Replica<A>, speech: Speech<'_>) -> Result<(), Violation> {
        let Some(asked) = self.asked.get(&speech.client()).filter(|asked| asked.number >= speech.request()) else {
            let sentence = format!("{name} answers a query that nobody asked");
            return Err(Violation::safety("answered what was not asked", sentence));
        };
        if asked.number != speech.request() {
            // Its client has its answer, and has gone on.
            return Ok(());
        }
        self.answers += 1;
        let (op, applied) = (speech.op(), replica.vsr().applied());
        if op != applied || speech.context() != asked.freshness {
            let sentence =
                format!("{name} has executed {applied}, and answers a query of kind {} with {op}", asked.freshness);
            return Err(Violation::safety("an answer of another op", sentence));
        }
        if asked.freshness == QUERY_LINEARIZABLE && op < asked.above {
            let sentence =
                format!("{name} answers a query with {op}, and {} was executed before it was asked", asked.above);
            return Err(Violation::safety("a read missed a write", sentence));
        }
        let mut response = Vec::new();
        let expected = self.application.query(replica.state(), &asked.payload, &mut response);
        let same = match (Answer::decode(speech.body()), expected) {
            (Ok(Answer::Applied(told)), Ok(())) => told == response,
            (Ok(Answer::Rejected { code, detail }), Err(expected)) => {
                Rejection { code, detail: detail.to_vec() } == expected
            }
            _ => false,
        };
        if same {
            return Ok(());
        }
        let sentence = format!("{name} answers a query with what the application does not say at {op}");
        Err(Violation::safety("another answer", sentence))
    }
}

impl<A: Application> Oracle for ReadsOracle<A> {
    fn name(&self) -> &'static str {
        "reads"
    }

    fn interests(&self) -> Interests {
        Interests::STEPS
    }

    fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        let replica = world.process::<Replica<A>>(node);
        if let Some(replica) = replica {
            self.executed = self.executed.max(replica.vsr().applied());
        }
        for action in step.actions {
            let Action::Send { frame, .. } = action else { continue };
            let Some(speech) = Speech::of(frame) else { continue };
            match (speech.command(), replica) {
                (Some(Command::Query), None) => self.asks(speech),
                (Some(Command::QueryReply), Some(replica)) => self.answers_with(world.name(node), replica, speech)?,
                _ => {}
            }
        }
        Ok(())
    }
}
