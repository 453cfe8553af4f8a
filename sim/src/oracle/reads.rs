//! Promise: a linearizable query misses nothing that was executed anywhere before it was asked, and every answer to a query is what
//! the application says of the state at the op that it names.
//!
//! What is acknowledged, to whomever, is executed before: so no acknowledged write is missed, and no later read goes back behind an
//! earlier one. That the state at an op is that of the commit order is [`ClusterOracle`](super::cluster::ClusterOracle)'s promise;
//! with both, an answer equals the sequential state at an op between the query's begin and its end.
//!
//! Every answer that leaves a replica is judged, whether or not it arrives. What a [`Reader`] takes for its answer must be one of those
//! that were given to that very query: whichever it is, for each of them is judged against what was executed when the query was first
//! sent. Deliberately absent: which view an answer is of. One of a view that is over by the time that it arrives is as good as another.

use std::collections::BTreeMap;

use chronon::{
    app::{
        application::{Application, Rejection},
        executor::Answer,
    },
    client::ClientProcess,
    process::Action,
    replica::Replica,
    types::{ClientId, NodeId, Op, RequestNumber},
    wire::header::{Command, QUERY_LINEARIZABLE},
};

use super::{EventView, Interests, Oracle, StepView, Violation, WorldView, speech::Speech};
use crate::{
    reader::Reader,
    workload::{KvWorkload, Told, Workload},
};

/// Watches the queries to a cluster of replicas of a workload's application, and the readers that make them.
#[derive(Clone)]
pub struct ReadsOracle<W: Workload = KvWorkload> {
    application: W::Application,
    /// The highest op that was executed anywhere.
    executed: Op,
    /// The last query of each client.
    asked: BTreeMap<ClientId, Asked>,
    answers: u64,
    /// How many answers each reader has taken.
    taken: BTreeMap<NodeId, usize>,
}

/// A query as it was first sent.
#[derive(Clone)]
struct Asked {
    number: RequestNumber,
    freshness: u128,
    payload: Vec<u8>,
    /// What was executed by then.
    above: Op,
    /// The answers that replicas have given to it, each once.
    given: Vec<(Op, Told)>,
}

impl<W: Workload> ReadsOracle<W> {
    /// Nothing was asked yet of the application as [`Workload::application`] gives it.
    pub fn new(workload: &W) -> Self {
        Self::over(workload.application())
    }

    /// Nothing was asked yet of the application of a run in which clients follow `plan`.
    pub fn of(workload: &W, plan: &W::Plan) -> Self {
        Self::over(workload.application_for(plan))
    }

    const fn over(application: W::Application) -> Self {
        Self { application, executed: Op::ROOT, asked: BTreeMap::new(), answers: 0, taken: BTreeMap::new() }
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
                given: Vec::new(),
            };
            self.asked.insert(speech.client(), asked);
        }
    }

    fn answers_with(
        &mut self,
        name: &str,
        replica: &Replica<W::Application>,
        speech: Speech<'_>,
    ) -> Result<(), Violation> {
        let Some(asked) = self.asked.get_mut(&speech.client()).filter(|asked| asked.number >= speech.request()) else {
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
        let answer = Answer::decode(speech.body());
        let same = match (answer, expected) {
            (Ok(Answer::Applied(told)), Ok(())) => told == response,
            (Ok(Answer::Rejected { code, detail }), Err(expected)) => {
                Rejection { code, detail: detail.to_vec() } == expected
            }
            _ => false,
        };
        if let (true, Ok(answer)) = (same, answer) {
            let given = (op, Told::from(answer));
            if !asked.given.contains(&given) {
                asked.given.push(given);
            }
            return Ok(());
        }
        let sentence = format!("{name} answers a query with what the application does not say at {op}");
        Err(Violation::safety("another answer", sentence))
    }

    /// What a reader takes for the answer to its last query, if it has taken one.
    fn takes(&mut self, name: &str, node: NodeId, process: &ClientProcess<Reader<W>>) -> Result<(), Violation> {
        let history = process.driver().history();
        let open = usize::from(history.last().is_some_and(|read| read.answer.is_none()));
        let taken = self.taken.entry(node).or_default();
        let Some((op, told)) = history[..history.len() - open].get(*taken).and_then(|read| read.answer.as_ref()) else {
            return Ok(());
        };
        *taken += 1;
        let asked = self.asked.get(&process.client().id());
        if asked.is_some_and(|asked| asked.given.iter().any(|given| (given.0, &given.1) == (*op, told))) {
            return Ok(());
        }
        let sentence =
            format!("{name} takes {told:?} at {op} for the answer to its query {taken}, and no replica gave it that");
        Err(Violation::safety("took the answer to another query", sentence))
    }
}

impl<W: Workload> Oracle for ReadsOracle<W> {
    fn name(&self) -> &'static str {
        "reads"
    }

    fn interests(&self) -> Interests {
        Interests::STEPS
    }

    fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        let replica = world.process::<Replica<W::Application>>(node);
        if let Some(replica) = replica {
            self.executed = self.executed.max(replica.vsr().applied());
        } else if let EventView::Message { .. } = step.event
            && let Some(reader) = world.process::<ClientProcess<Reader<W>>>(node)
        {
            // Before it sends the next.
            self.takes(world.name(node), node, reader)?;
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
