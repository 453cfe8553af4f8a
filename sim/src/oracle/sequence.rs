//! Promises: a request that the application refuses leaves no trace in the state; and what the application states of its state
//! holds on every replica.
//!
//! The canonical log is run through the application once, by an executor of its own, in the order of the commits: what replicas
//! answer and become must be what this run answered and became (see replies.rs and state.rs). It is the application's own
//! code: whether that is right only its invariants can tell.

use std::collections::BTreeSet;

use chronon::{
    app::{
        application::{Application, ApplyContext},
        executor::{Answer, Executor},
        operator::OperatorRequest,
        system::SystemEntry,
    },
    digest::{EntryHasher, SetDigest},
    types::{Checksum, ClientId, ClusterId, Op, ReplicaId},
    wire::batch::{Entry, Kind},
};

use super::{
    Violation,
    ledger::{By, Ledger},
    model::Model,
    promise::broken,
    replies::name,
    witness::Witness,
};
use crate::workload::{Invariant, StateOf, Workload};

/// An application, run once in the order of the commits.
#[derive(Clone)]
pub(super) struct Sequence<W: Workload> {
    workload: W,
    plan: W::Plan,
    invariants: Vec<Invariant<W>>,
    executor: Executor<Witness<W::Application>>,
    ledger: Ledger,
    /// How much of what was seen of the application in this op the ledger has judged.
    entered: usize,
    /// The ops at which a state was judged: of other replicas that stand there it is known to be the same.
    judged: BTreeSet<Op>,
}

impl<W: Workload> Sequence<W> {
    /// The application in its first state.
    pub(super) fn new(workload: W, plan: W::Plan, cluster: ClusterId) -> Self {
        let (invariants, application) = (workload.invariants(), Witness(workload.application_for(&plan)));
        let (executor, ledger) = (Executor::new(application, cluster), Ledger::default());
        Self { workload, plan, invariants, executor, ledger, entered: 0, judged: BTreeSet::new() }
    }

    /// The state after all that was run.
    #[cfg(test)]
    pub(super) fn state(&self) -> &StateOf<W> {
        &self.executor.state().state
    }

    /// What the application asked for, and what came of it.
    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The digest of the state after all that was run.
    pub(super) fn digest(&self) -> SetDigest {
        with_effects(self.workload.digest(&self.executor.state().state), &self.executor)
    }

    /// The digest of a replica's state, its effects and timers with it if it ever had any.
    pub(super) fn digest_of(&self, executor: &Executor<W::Application>) -> SetDigest {
        with_effects(self.workload.digest(executor.state()), executor)
    }

    /// An op begins, and with it its time. `context` is that of any event of it.
    pub(super) fn begin(&mut self, context: &ApplyContext) -> Result<(), Violation> {
        let is_due = self.executor.due().is_some_and(|due| due <= context.timestamp);
        self.executor.begin(context);
        self.entered = 0;
        if is_due || !self.executor.state().seen(context.op).is_empty() {
            self.enter(context, By::Time)
        } else {
            Ok(())
        }
    }

    /// Runs an entry that no client asked for.
    pub(super) fn run_system(&mut self, context: &ApplyContext, payload: &[u8]) -> Result<(), Violation> {
        // Whatever it refuses, every replica refuses: what it says may be stale, and known already.
        let _ = self.executor.apply_system(payload, context);
        // What cannot be read is for the promises of effects to say.
        SystemEntry::decode(payload).map_or(Ok(()), |entry| self.enter(context, By::System(&entry)))
    }

    /// Runs a client's request, or an operator's. Its answer becomes the account's last.
    pub(super) fn run(
        &mut self,
        model: &mut Model,
        client: ClientId,
        context: &ApplyContext,
        entry: &Entry<'_>,
    ) -> Result<(), Violation> {
        let before = self.digest();
        let decision = match entry.kind {
            Kind::Operator => OperatorRequest::decode(entry.payload).ok(),
            Kind::Request | Kind::System | Kind::Members => None,
        };
        let answer = match entry.kind {
            Kind::Operator => self.executor.operate(entry.payload, context),
            Kind::Request | Kind::System | Kind::Members => self.executor.apply(entry.payload, context),
        };
        model.accounts.record(client, context.op, context.timestamp, answer);
        let Ok(Answer::Rejected { code, .. }) = Answer::decode(answer) else {
            return self.enter(context, decision.as_ref().map_or(By::Request, By::Operator));
        };
        if self.digest() == before {
            return Ok(());
        }
        let sentence =
            format!("{} refuses a request of {} with code {code} and has changed the state", context.op, name(client));
        Err(broken("rejections", "a refused request left a trace", sentence))
    }

    /// Has the ledger judge what was seen of the application since it last did.
    fn enter(&mut self, context: &ApplyContext, by: By<'_>) -> Result<(), Violation> {
        let seen = self.executor.state().seen(context.op);
        self.ledger.takes(context, by, &seen[self.entered..], self.executor.outbox())?;
        self.entered = seen.len();
        Ok(())
    }

    /// A replica that has just executed something stands at `op`, in the state of whoever stood there before: what the application states of
    /// it is asked of the first.
    pub(super) fn holds_at(&mut self, replica: ReplicaId, op: Op, state: &StateOf<W>) -> Result<(), Violation> {
        if self.judged.insert(op) { self.holds(replica, op, state) } else { Ok(()) }
    }

    /// What the application states of its state holds on a replica that stands at `op`.
    pub(super) fn holds(&self, replica: ReplicaId, op: Op, state: &StateOf<W>) -> Result<(), Violation> {
        for Invariant { name, holds } in &self.invariants {
            if let Err(why) = holds(&self.plan, state) {
                let sentence = format!("after {op} on {replica}, not so that {name}: {why}");
                return Err(broken("invariants", name, sentence));
            }
        }
        Ok(())
    }
}

/// The digest of a state with its effects and timers, if there ever were any.
fn with_effects<A: Application>(mut digest: SetDigest, executor: &Executor<A>) -> SetDigest {
    if executor.has_effects() {
        let Checksum(effects) = executor.effects_digest();
        digest.insert(EntryHasher::new().number(effects as u64).number((effects >> 64) as u64).finish());
    }
    digest
}

#[cfg(test)]
mod tests {
    use chronon::{
        app::{
            application::{Event, Outcome, Rejection},
            number::Number,
        },
        types::Timestamp,
    };

    use super::*;
    use crate::{
        oracle::script::{CLUSTER, R0},
        rng::Stream,
        workload::{Calls, Turn},
    };

    fn entry(payload: &[u8]) -> Entry<'_> {
        let (session, request) = (chronon::types::Session(1), chronon::types::RequestNumber(1));
        Entry { kind: Kind::Request, client: A, session, request, payload }
    }

    /// Adds what it is asked to; refuses what is odd, and is careless about a 9.
    #[derive(Clone, Copy)]
    struct Evens;

    fn add(state: &mut u64, event: Event<'_>, _: &ApplyContext, _: &mut Outcome) -> Result<(), Rejection> {
        let Event::Request { payload } = event else { return Ok(()) };
        let number = u64::from(payload[0]);
        if number.is_multiple_of(2) || number == 9 {
            *state += number;
        }
        if number.is_multiple_of(2) { Ok(()) } else { Err(Rejection::new(1)) }
    }

    impl Workload for Evens {
        type Application = Number;
        type Plan = Calls;
        type Memory = ();

        fn application(&self) -> Number {
            Number::new(add)
        }

        fn plan(&self, random: &mut Stream, calls: u64) -> Calls {
            Calls::draw(random, calls)
        }

        fn ask(&self, (): &mut (), turn: Turn<'_, Calls>, request: &mut Vec<u8>) {
            request.push(turn.call as u8);
        }

        fn digest(&self, state: &u64) -> SetDigest {
            let mut digest = SetDigest::new();
            digest.insert(EntryHasher::new().number(*state).finish());
            digest
        }

        fn invariants(&self) -> Vec<Invariant<Self>> {
            let holds =
                |_: &Calls, state: &u64| if state.is_multiple_of(2) { Ok(()) } else { Err(format!("it is {state}")) };
            vec![Invariant { name: "the sum is even", holds }]
        }
    }

    const A: ClientId = ClientId(10);

    fn run(requests: &[u8]) -> (Sequence<Evens>, Result<(), Violation>) {
        let mut sequence = Sequence::new(Evens, Calls { calls: 1, think_ns_max: 0 }, CLUSTER);
        let mut model = Model::starting_from(CLUSTER, 4, sequence.digest());
        model.accounts.register(A, Op(1), Timestamp(1));
        let context = ApplyContext::new(Op(2), Timestamp(2), Checksum(0), 0);
        let result = requests.iter().try_for_each(|request| sequence.run(&mut model, A, &context, &entry(&[*request])));
        (sequence, result)
    }

    #[test]
    fn a_refusal_that_changes_nothing_is_none_of_anybody_s_business() {
        let (sequence, result) = run(&[2, 3, 4, 5]);
        result.unwrap();
        sequence.holds(R0, Op(2), &6).unwrap();
        assert_eq!(sequence.digest(), Evens.digest(&6));
    }

    #[test]
    fn a_refusal_that_leaves_a_trace_is_a_violation() {
        let violation = run(&[2, 9]).1.unwrap_err();
        assert_eq!((violation.promise, &*violation.place), (Some("rejections"), "a refused request left a trace"));
    }

    #[test]
    fn a_state_that_breaks_an_invariant_is_a_violation() {
        let violation = run(&[]).0.holds(R0, Op(2), &7).unwrap_err();
        assert_eq!((violation.promise, &*violation.place), (Some("invariants"), "the sum is even"));
        assert_eq!(violation.sentence, "after op2 on r0, not so that the sum is even: it is 7");
    }
}
