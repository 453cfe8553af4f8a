//! Promises of effects and timers: run under a committed claim, in order, once where that was promised, and ended once; none is lost.
//!
//! Orders are watched as processes give them, calls as services record them ([`Outside`]), ends as the log decides them. What is ordered is
//! what the application asked for, and an attempt has as long as its policy gives it. How often an effect may be run is for its own policy
//! to say, as far as the service of its channel promises anything ([`is_done_once`]). What an outcome in the log says is what some replica
//! was told of that very attempt, to the byte, or that nobody answered in time. Of a response that is longer than the log has room for it
//! says that it was refused for that; of what comes with an acknowledgement, nothing.
//!
//! What the application waits for, by its own account ([`Workload::waiting`]), must be what the outbox holds. What follows from the log
//! alone is the ledger's (see `ledger.rs`), and that outboxes and timers are the same on every replica is the state's promise (see
//! `state.rs`).

use std::collections::{BTreeMap, BTreeSet};

use chronon::{
    app::{
        effect::{
            Destination, EffectId, EffectOrder, EffectReport, EffectResult, Errand, Fence, FencingToken,
            RESPONSE_TOO_LARGE, TIMED_OUT,
        },
        operator::OperatorRequest,
        system::SystemEntry,
    },
    effect::Channel,
    frame::Frame,
    replica::Replica,
    types::{Instant, NodeId, Op},
    vsr::Config,
    wire::{
        batch::{Batch, Kind},
        header::{HEADER_SIZE, Header},
    },
};

use super::{
    EventView, Violation, WorldView,
    brief::{Brief, BriefResult},
    ledger::Ledger,
    promise::broken,
};
use crate::{
    outside::{Came, Outside, ServiceCall, is_done_once, manners, response_size_max},
    workload::Workload,
};

const PROMISE: &str = "effects";

/// The promises of effects of a cluster of replicas of a workload's application at nodes 0 and up.
#[derive(Clone)]
pub(super) struct Effects<W: Workload> {
    workload: W,
    replica_count: u8,
    /// The longest response that the log has room for, in bytes.
    response_size_max: usize,
    claims: BTreeSet<Fence>,
    starts: BTreeSet<(EffectId, FencingToken)>,
    /// What a life of each node has ordered.
    ordered: Vec<BTreeSet<(EffectId, FencingToken, Errand)>>,
    attempts: BTreeMap<(EffectId, FencingToken), Attempt>,
    /// What was ordered and is to be done once.
    once: BTreeSet<EffectId>,
    /// How many calls were looked at.
    calls: usize,
    /// By channel, the effect that was run last of those that had not been before.
    last: BTreeMap<Channel, EffectId>,
    highest: BTreeMap<Channel, FencingToken>,
    acknowledged: BTreeSet<EffectId>,
    /// What operators had run again: behind whatever its channel held by then, and not in the order of the ids.
    redriven: BTreeSet<EffectId>,
}

/// An attempt that was ordered, whether or not the order arrived.
#[derive(Clone)]
struct Attempt {
    is_fetch: bool,
    /// Who ordered it, and when it may be given up by that replica's clock.
    by: NodeId,
    until: Instant,
    /// What replicas were told that it came to, each once, as they may say it in the log.
    heard: Vec<EffectResult>,
}

impl<W: Workload> Effects<W> {
    /// The promises of the cluster that `config`, any replica's, is of.
    pub(super) fn new(workload: W, config: &Config) -> Self {
        let replica_count = config.replica_count;
        Self {
            workload,
            replica_count,
            response_size_max: response_size_max(config),
            claims: BTreeSet::new(),
            starts: BTreeSet::new(),
            ordered: vec![BTreeSet::new(); usize::from(replica_count)],
            attempts: BTreeMap::new(),
            once: BTreeSet::new(),
            calls: 0,
            last: BTreeMap::new(),
            highest: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            redriven: BTreeSet::new(),
        }
    }

    /// A replica takes an event.
    pub(super) fn takes(&mut self, world: &WorldView<'_>, node: NodeId, event: EventView<'_>) -> Result<(), Violation> {
        if matches!(event, EventView::Start) {
            self.ordered[node.0 as usize].clear();
        }
        self.watch_services(world)?;
        if let EventView::Effect { report } = event {
            self.hears(report);
        }
        Ok(())
    }

    /// Looks at the entries of an op that no replica had executed.
    pub(super) fn executes(&mut self, world: &WorldView<'_>, header: &Header, frame: &Frame) -> Result<(), Violation> {
        let Ok(batch) = Batch::parse(&frame[HEADER_SIZE..]) else { return Ok(()) };
        for entry in batch.iter().filter(|entry| entry.kind == Kind::Operator) {
            if let Ok(OperatorRequest::Redrive { id }) = OperatorRequest::decode(entry.payload) {
                self.redriven.insert(id);
            }
        }
        for entry in batch.iter().filter(|entry| entry.kind == Kind::System) {
            match SystemEntry::decode(entry.payload) {
                Ok(SystemEntry::Claim(fence)) => drop(self.claims.insert(fence)),
                Ok(SystemEntry::Start { id, token }) => drop(self.starts.insert((id, token))),
                Ok(SystemEntry::Outcome(report)) => self.comes_to(world, header.op, &report)?,
                Err(error) => {
                    let sentence = format!("{} holds a system entry that is none: {error}", header.op);
                    return Err(broken(PROMISE, "a system entry that is none", sentence));
                }
            }
        }
        Ok(())
    }

    /// A replica is told what an attempt came to.
    fn hears(&mut self, report: &EffectReport) {
        let Some(attempt) = self.attempts.get_mut(&(report.id, report.token)) else { return };
        let result = match &report.result {
            // Nobody asked for what comes with it, and it takes no room in the log.
            EffectResult::Done { .. } if !attempt.is_fetch => EffectResult::Done { response: Vec::new() },
            EffectResult::Done { response } if response.len() > self.response_size_max => {
                EffectResult::Refused { code: RESPONSE_TOO_LARGE }
            }
            result => result.clone(),
        };
        if !attempt.heard.contains(&result) {
            attempt.heard.push(result);
        }
    }

    /// Whether it may be said in the log by now that an attempt came to this.
    fn may_say(&self, world: &WorldView<'_>, report: &EffectReport) -> bool {
        let Some(attempt) = self.attempts.get(&(report.id, report.token)) else { return false };
        let heard = &attempt.heard;
        match &report.result {
            EffectResult::Unknown { code: TIMED_OUT } => world.monotonic(attempt.by) >= attempt.until,
            // An answer that nobody asked for.
            EffectResult::Unknown { code: 0 } if heard.contains(&EffectResult::NotDone) => true,
            result => heard.contains(result),
        }
    }

    fn comes_to(&mut self, world: &WorldView<'_>, op: Op, report: &EffectReport) -> Result<(), Violation> {
        if !self.may_say(world, report) {
            let EffectReport { id, token, result } = report;
            let attempt = self.attempts.get(&(*id, *token));
            if let (EffectResult::Unknown { code: TIMED_OUT }, Some(Attempt { by, until, .. })) = (result, attempt) {
                let (name, now) = (world.name(*by), world.monotonic(*by));
                let sentence = format!(
                    "{op} says that effect {id} was given up under {token}, and {name} has {} ns left for that",
                    until.0 - now.0
                );
                return Err(broken(PROMISE, "given up too early", sentence));
            }
            let heard = attempt.map_or(&[][..], |attempt| &attempt.heard);
            let heard: Vec<String> = heard.iter().map(|heard| BriefResult(heard).to_string()).collect();
            let sentence = format!(
                "{op} says that effect {id} came to {} under {token}, of which was heard [{}]",
                BriefResult(result),
                heard.join(", ")
            );
            return Err(broken(PROMISE, "an outcome that nobody heard", sentence));
        }
        let (id, EffectResult::Done { .. }) = (report.id, &report.result) else { return Ok(()) };
        self.acknowledged.insert(id);
        let runs = world.service::<Outside>().map_or(1, |outside| outside.runs(id));
        if runs > 0 {
            return Ok(());
        }
        let sentence = format!("{op} says that effect {id} was done, and no service has done it");
        Err(broken(PROMISE, "said to be done and never run", sentence))
    }

    /// A process has something done.
    pub(super) fn orders(
        &mut self,
        world: &WorldView<'_>,
        ledger: &Ledger,
        (node, now): (NodeId, Instant),
        order: &EffectOrder,
        replica: &Replica<W::Application>,
    ) -> Result<(), Violation> {
        let (id, token, name) = (order.id, order.token, world.name(node));
        let (vsr, outbox) = (replica.vsr(), replica.executor().outbox());
        // Orders are given last in a step: it is then what it was when it gave them.
        if !vsr.is_primary() || vsr.view() != token.fence.view {
            let sentence = format!("{name} orders effect {id} under {token}, and is no primary of that view any more");
            return Err(broken(PROMISE, "ordered by who leads no more", sentence));
        }
        if !self.claims.contains(&token.fence) {
            let sentence = format!("{name} orders effect {id} under {token}, and nobody has committed that claim");
            return Err(broken(PROMISE, "ordered without a committed claim", sentence));
        }
        if token.fence.view.primary(self.replica_count).node() != node {
            let sentence = format!("{name} orders effect {id} under {token}, which is another primary's claim");
            return Err(broken(PROMISE, "ordered under another's claim", sentence));
        }
        let Some(asked) = ledger.asked(id) else {
            let sentence = format!("{name} orders effect {id} under {token}, which nobody asked for");
            return Err(broken(PROMISE, "ordered what nobody asked for", sentence));
        };
        let policy = outbox.get(id).map(|entry| entry.standing.policy);
        if policy != Some(asked.policy)
            || order.timeout_ns != asked.policy.attempt_timeout_ns()
            || order.destination != asked.destination
            || order.payload[..] != asked.payload[..]
        {
            let sentence = format!(
                "{name} orders effect {id} under {token} as {:?} with {} for {} ns by {policy:?}, and {:?} was asked for with {} by {:?}",
                order.destination,
                Brief(&order.payload),
                order.timeout_ns,
                asked.destination,
                Brief(&asked.payload),
                asked.policy
            );
            return Err(broken(PROMISE, "ordered otherwise than it was asked for", sentence));
        }
        if let Destination::Emit(channel) = order.destination
            && is_done_once(channel, &asked.policy)
        {
            self.once.insert(id);
        }
        if asked.policy.is_guarded() && order.errand == Errand::Run && !self.starts.contains(&(id, token)) {
            let sentence = format!("{name} orders effect {id} under {token}, whose start is not committed");
            return Err(broken(PROMISE, "ordered without a committed start", sentence));
        }
        if !self.ordered[node.0 as usize].insert((id, token, order.errand)) {
            let sentence = format!("{name} orders effect {id} twice under {token}");
            return Err(broken(PROMISE, "ordered twice under one token", sentence));
        }
        let is_fetch = order.destination == Destination::Fetch;
        let until = now.after(asked.policy.attempt_timeout_ns());
        self.attempts.entry((id, token)).or_insert(Attempt { is_fetch, by: node, until, heard: Vec::new() });
        Ok(())
    }

    /// What services did since this was last looked at.
    pub(super) fn watch_services(&mut self, world: &WorldView<'_>) -> Result<(), Violation> {
        let Some(outside) = world.service::<Outside>() else { return Ok(()) };
        while let Some(call) = outside.calls().get(self.calls) {
            self.calls += 1;
            self.serves(call, outside.runs(call.id))?;
        }
        Ok(())
    }

    fn serves(&mut self, call: &ServiceCall, runs: u32) -> Result<(), Violation> {
        let (Destination::Emit(channel), Came::Ran) = (call.destination, call.came) else { return Ok(()) };
        let ServiceCall { id, token, .. } = *call;
        if runs > 1 && self.once.contains(&id) {
            let sentence = format!("effect {id} was run {runs} times, the last under {token}, and may be run once");
            return Err(broken(PROMISE, "run twice", sentence));
        }
        if !manners(channel).fences {
            return Ok(());
        }
        let highest = self.highest.entry(channel).or_insert(token);
        if token < *highest {
            let sentence = format!("effect {id} was run under {token} after another under {highest}");
            return Err(broken(PROMISE, "run under an older fence", sentence));
        }
        *highest = token;
        if self.redriven.contains(&id) {
            return Ok(());
        }
        let last = self.last.entry(channel).or_insert(id);
        if runs <= 1 && id < *last {
            let sentence = format!("effect {id} was run after {last}, which was asked for later in the same channel");
            return Err(broken(PROMISE, "run out of order", sentence));
        }
        *last = id.max(*last);
        Ok(())
    }

    /// What the application was told no end of is what the outbox holds, apart from lines of the log.
    pub(super) fn waits(&self, name: &str, replica: &Replica<W::Application>) -> Result<(), Violation> {
        let op = replica.vsr().applied();
        let Some(waiting) = self.workload.waiting(replica.state()) else { return Ok(()) };
        let told = |id: &EffectId| {
            let entry = replica.executor().outbox().get(*id);
            entry.is_some_and(|entry| !matches!(entry.standing.destination, Destination::Log(_)))
        };
        if let Some(id) = waiting.iter().find(|id| !told(id)) {
            let sentence =
                format!("after {op} the application on {name} waits for effect {id}, which the outbox has not");
            return Err(broken(PROMISE, "an effect is lost", sentence));
        }
        let held = replica.executor().outbox().iter().filter(|(id, _)| told(id)).count();
        if held != waiting.len() {
            let sentence =
                format!("after {op} the outbox on {name} holds {held} effects, and {} are waited for", waiting.len());
            return Err(broken(PROMISE, "an effect that nobody waits for", sentence));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chronon::app::effect::{OnUnknown, Policy};

    use super::*;
    use crate::{
        nemesis::{Options, draw_for},
        outside::ServicesPlan,
        scenario,
        simulation::Simulation,
        trace::TraceMode,
        workload::wishes::Wishes,
    };

    const MS: u64 = 1_000_000;

    /// How many effects were done more than once by services whose answers are often lost. No promise is broken by it.
    fn done_again(on_unknown: OnUnknown, channels: &[u32]) -> usize {
        let policy = Policy::EMIT.with_attempt_timeout(100 * MS).with_backoff(5 * MS, 20 * MS).with_unknown(on_unknown);
        let letters = channels.iter().map(|channel| (Channel(*channel), policy)).collect();
        let workload = Wishes { letters, ..Wishes::default() };
        let mut again = 0;
        for seed in 0..2 {
            let scenario = scenario::find("crashes").expect("there is such a scenario");
            let mut schedule = draw_for(&workload, seed, &Options::new(scenario));
            let plan = ServicesPlan { latency_min_ns: MS, latency_max_ns: 3 * MS, ..ServicesPlan::default() };
            let plan = ServicesPlan { twice_ppm: 100_000, unheard_ppm: 200_000, failed_ppm: 100_000, ..plan };
            schedule.workload.services = Some(plan);
            let mut simulation = Simulation::of(workload.clone(), &schedule, TraceMode::Digest, "");
            simulation.run();
            assert_eq!(simulation.outcome().failure, None, "seed {seed}, {on_unknown:?}");
            let outside = simulation.world().service::<Outside>().expect("it has services");
            let ids: BTreeSet<EffectId> = outside.calls().iter().map(|call| call.id).collect();
            again += ids.iter().filter(|id| outside.runs(**id) > 1).count();
        }
        again
    }

    #[test]
    fn what_is_run_again_when_in_doubt_may_be_done_twice_wherever_it_goes() {
        assert!(done_again(OnUnknown::RunAgain, &[1, 2, 3]) > 30);
    }

    #[test]
    fn what_is_not_run_again_is_done_once_wherever_nothing_comes_twice() {
        assert_eq!(done_again(OnUnknown::NeverTwice, &[0, 1, 2]), 0);
        assert_eq!(done_again(OnUnknown::AskFirst, &[0, 2]), 0);
    }

    #[test]
    fn what_the_channel_s_service_cannot_promise_is_asked_of_nobody() {
        done_again(OnUnknown::NeverTwice, &[3]);
        done_again(OnUnknown::AskFirst, &[1, 3]);
    }
}
