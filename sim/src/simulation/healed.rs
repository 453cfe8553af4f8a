//! The second phase: a healed core must converge and answer, whatever became of the others.

use chronon::{
    client::ClientProcess,
    replica::Replica,
    types::{NodeId, Op},
};

use super::{ANSWER_BOUND_NS, LOOK_NS, Relief, Simulation, awaited::Open};
use crate::{
    clock::ClockSettings,
    network::LinkSettings,
    operator::Operator,
    oracle::{Violation, cluster::ClusterOracle, convergence},
    outside::Outside,
    schedule::{ClusterPlan, LeftBehind},
    workload::{Caller, Workload},
};

/// For how long a core must stay in its view, and how often it may try: several election time-outs.
const STAY_NS: u64 = 2_000_000_000;
const STAY_SPANS: u32 = 4;

/// How often the answers of the healed cluster are counted.
const ANSWER_LOOK_NS: u64 = LOOK_NS / 20;

/// A client of the healed cluster.
#[derive(Default)]
struct Asking {
    node: NodeId,
    /// How many of its calls had ended when it was last looked at.
    ended: u64,
    /// When that became so, or when nothing was asked last.
    since_ns: u64,
    /// How many calls are to end.
    until: Option<u64>,
}

impl<W: Workload> Simulation<W> {
    /// Ends every fault. The core comes back; the others are left behind for good, down or deaf.
    pub(super) fn heal(&mut self) {
        self.world.note("healed");
        self.reliefs.clear();
        if let Some(outside) = self.world.service_mut::<Outside>() {
            outside.heal();
        }
        self.world.heal_all();
        let settings = LinkSettings {
            latency_min_ns: self.schedule.network.latency_min_ns,
            latency_max_ns: self.schedule.network.latency_max_ns,
            ..LinkSettings::default()
        };
        self.world.set_links(settings);
        self.set_own_links(settings);
        for node in self.nodes() {
            self.bury(node);
            self.recover(node);
        }
        for node in self.nodes() {
            self.world.clear_disk_faults(node);
            self.world.cancel_planned_kills(node);
            self.downtime_ns[node.0 as usize] = None;
            self.world.resume(node);
            let in_core = self.schedule.core.contains(&(node.0 as u8));
            if !in_core && self.schedule.left_behind == LeftBehind::Down {
                self.world.kill(node);
            } else if !self.world.is_up(node) {
                self.restart(node);
            }
            if !in_core {
                self.deafen_for_good(node);
            }
            self.down[node.0 as usize] = !self.world.is_up(node);
        }
        for client in self.clients() {
            self.world.resume(client);
            self.world.restart(client);
        }
    }

    fn deafen_for_good(&mut self, node: NodeId) {
        let everybody: Vec<NodeId> = self.world.nodes().collect();
        for other in everybody.into_iter().filter(|other| *other != node) {
            self.world.cut_one_way(other, node);
        }
    }

    /// Every request is answered within the bound, until each client has made the calls that it is to make in the healed cluster.
    pub(super) fn must_answer(&mut self) {
        let began_ns = self.world.now_ns();
        let mut clients: Vec<Asking> =
            self.clients().map(|node| Asking { node, since_ns: began_ns, ..Asking::default() }).collect();
        for client in &mut clients {
            client.ended = self.calls_ended(client.node).unwrap_or(0);
            client.until = self.schedule.workload.healed_calls.map(|calls| client.ended.saturating_add(calls));
        }
        while self.world.verdict().is_none() {
            clients.retain_mut(|client| self.is_asking(client));
            if clients.is_empty() {
                return;
            }
            let now_ns = self.world.now_ns();
            if let Some(client) = clients.iter().find(|client| now_ns - client.since_ns > ANSWER_BOUND_NS) {
                let why = self.full_grid().unwrap_or_default();
                let sentence = format!(
                    "a request of {} stayed unanswered for 10 s in a healed cluster{why}",
                    self.world.name(client.node)
                );
                self.world.fail("liveness", Violation::liveness("a request is never answered", sentence));
            }
            self.advance_healed(now_ns + ANSWER_LOOK_NS);
        }
    }

    /// Whether the client has calls to make or waits for an answer. One that has made all that it is to make here stands still from
    /// then on: what it may have asked beyond that is a request like any other, of a client that is gone.
    fn is_asking(&mut self, client: &mut Asking) -> bool {
        let now_ns = self.world.now_ns();
        let Some(process) = self.world.process::<ClientProcess<Caller<W>>>(client.node) else { return false };
        let (finished, outstanding) = (process.driver().is_finished(), process.driver().is_outstanding());
        let ended = self.calls_ended(client.node).unwrap_or(0);
        if ended != client.ended || !outstanding {
            (client.ended, client.since_ns) = (ended, now_ns);
        }
        if client.until.is_some_and(|until| ended >= until) {
            self.world.pause(client.node);
            return false;
        }
        !finished
    }

    /// How many of the client's calls have ended; nothing if it is down.
    fn calls_ended(&self, client: NodeId) -> Option<u64> {
        let caller = self.world.process::<ClientProcess<Caller<W>>>(client)?.driver();
        Some(caller.history().len() as u64 - u64::from(caller.is_outstanding()))
    }

    /// That a state outgrew its data file, if one did: nothing is executed then, and it is no fault of the protocol.
    fn full_grid(&self) -> Option<String> {
        let replicas =
            self.nodes().filter_map(|node| Some((node, self.world.process::<Replica<W::Application>>(node)?)));
        let (node, _) = replicas.into_iter().find(|(_, replica)| replica.vsr().checkpoints().is_full())?;
        let ClusterPlan { block_count, block_size, .. } = self.schedule.cluster;
        Some(format!(
            ": no checkpoint of its state fits the grid of {}, {block_count} blocks of {block_size} bytes; give cluster.block_count more in \
             a schedule, and where the nemesis drew it, see Workload::state_size_max",
            self.world.name(node)
        ))
    }

    /// Every reader is answered within the bound, until none has a query left.
    pub(super) fn must_answer_queries(&mut self) {
        let mut since = (self.reads_answered(), self.world.now_ns());
        while self.world.verdict().is_none() {
            let Some(reader) = self.reading() else { return };
            self.advance_healed(self.world.now_ns() + LOOK_NS);
            if self.reads_answered() != since.0 {
                since = (self.reads_answered(), self.world.now_ns());
            } else if self.world.now_ns() - since.1 > ANSWER_BOUND_NS {
                let sentence =
                    format!("a query of {} stayed unanswered for 10 s in a healed cluster", self.world.name(reader));
                self.world.fail("liveness", Violation::liveness("a query is never answered", sentence));
            }
        }
    }

    /// The operator decides of what there is within the bound, until it leaves.
    pub(super) fn must_let_the_operator_go(&mut self) {
        let Some(node) = self.operator else { return };
        let mut since = (None, self.world.now_ns());
        while self.world.verdict().is_none() {
            let Some(operator) = self.world.process::<ClientProcess<Operator>>(node) else { return };
            let (operator, asked) = (operator.driver(), operator.client().outstanding());
            if operator.is_finished() {
                return;
            }
            let stands = Some((asked, operator.decided().len()));
            if asked.is_none() || since.0 != stands {
                since = (stands, self.world.now_ns());
            } else if self.world.now_ns() - since.1 > ANSWER_BOUND_NS {
                let sentence = "an operator's request stayed unanswered for 10 s in a healed cluster".to_owned();
                self.world.fail("liveness", Violation::liveness("an operator is never answered", sentence));
            }
            self.advance_healed(self.world.now_ns() + LOOK_NS);
        }
    }

    /// Every effect that is awaited comes to an end within the bound, or to an operator; and every such timer fires.
    pub(super) fn must_end_effects(&mut self) {
        let any = |replica: &Replica<W::Application>| {
            let (outbox, timers) = (replica.executor().outbox(), replica.executor().timers());
            !outbox.is_empty() || !timers.is_empty()
        };
        // Leases that are to end wait for the log's time as letters do.
        if self.workload.has_effects() || self.foremost().is_some_and(any) {
            self.mend_clocks();
        }
        let (began_ns, mut asked_by) = (self.world.now_ns(), Op(u64::MAX));
        let mut stands = (Open::default(), began_ns);
        while self.world.verdict().is_none() {
            let Some(replica) = self.foremost() else { return };
            let now_ns = self.world.now_ns();
            if now_ns - began_ns > ANSWER_BOUND_NS {
                // An application may ask for more for ever.
                asked_by = asked_by.min(replica.vsr().applied());
            }
            let (open, wait_ns) = self.open(replica, asked_by);
            if open.is_nothing() {
                return;
            }
            if stands.0 != open {
                stands = (open, now_ns + wait_ns + ANSWER_BOUND_NS);
            } else if now_ns > stands.1 {
                let Open { last, effects, timers, .. } = open;
                let sentence = format!(
                    "{effects} effects and {timers} timers, after {last} of the log, stayed open for 10 s after they were due in a \
                     healed cluster"
                );
                self.world.fail("liveness", Violation::liveness("an effect never ends", sentence));
            }
            self.advance_healed(now_ns + LOOK_NS);
        }
    }

    /// Sets all clocks right, and not before the log's time: where most clocks were ahead the log was too, and waits for them.
    fn mend_clocks(&mut self) {
        let truth = ClockSettings::default().realtime_ns.saturating_add(self.world.now_ns());
        let replicas = self.nodes().filter_map(|node| self.world.process::<Replica<W::Application>>(node));
        let log = replicas.map(|replica| replica.vsr().log().head_header().timestamp.0).max();
        let time_ns = truth.max(log.unwrap_or(0));
        for node in self.nodes() {
            let ahead_ns = i128::from(time_ns) - i128::from(self.world.clocks(node).realtime.0);
            let step_ns = ahead_ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            self.world.skew(node, step_ns, 0);
        }
    }

    pub(super) fn must_converge(&mut self) {
        let core: Vec<NodeId> = self.schedule.core.iter().map(|replica| NodeId(u32::from(*replica))).collect();
        let limit_ns = self.world.now_ns() + ANSWER_BOUND_NS;
        for looks in 0.. {
            let converged = convergence::converged(&self.workload, &self.world.view(), &core);
            let why = match converged.and_then(|()| self.must_have_everything(&core)) {
                Ok(()) => return,
                Err(why) => why,
            };
            if self.world.now_ns() >= limit_ns {
                let sentence = format!("the healed core did not converge within 10 s: {why}");
                self.world.fail("liveness", Violation::liveness("the core does not converge", sentence));
                return;
            }
            // Not in step with what an application does at regular times: there would always be an op on its way.
            self.advance_healed(self.world.now_ns() + LOOK_NS + looks * LOOK_NS / 13);
            if self.world.verdict().is_some() {
                return;
            }
        }
    }

    /// A core that has converged, and of which nobody wants anything, stays in its view: a replica that was left behind disturbs nobody (design
    /// rule 15), and no primary stands down without a reason. One that comes back from the loss of its disk may have it change views for a while.
    pub(super) fn must_stay(&mut self) {
        let view = |simulation: &Self| {
            let core = simulation.schedule.core.iter().map(|replica| NodeId(u32::from(*replica)));
            let replicas = core.filter_map(|node| simulation.world.process::<Replica<W::Application>>(node));
            replicas.map(|replica| replica.vsr().view()).max()
        };
        for _ in 0..STAY_SPANS {
            let before = (view(self), self.world.probe_count("view_left"));
            self.advance_healed(self.world.now_ns() + STAY_NS);
            if self.world.verdict().is_some() || (view(self), self.world.probe_count("view_left")) == before {
                return;
            }
        }
        let sentence =
            "a healed core that had converged left its view again and again, though nobody asked for anything";
        self.world.fail("liveness", Violation::liveness("the core does not stay in its view", sentence));
    }

    /// Not that the core agrees alone: it has everything that anybody ever executed.
    fn must_have_everything(&self, core: &[NodeId]) -> Result<(), String> {
        let Some(oracle) = self.world.oracle::<ClusterOracle<W>>() else { return Ok(()) };
        oracle.converged(&self.world.view(), core).map_err(|violation| violation.sentence)
    }

    /// Like [`Simulation::advance`]; the core alone comes back when it stops by itself.
    fn advance_healed(&mut self, limit_ns: u64) {
        self.advance(limit_ns, |_| false);
        let core = &self.schedule.core;
        self.reliefs.retain(|(_, relief)| !matches!(relief, Relief::Restart(node) if !core.contains(&(node.0 as u8))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nemesis::{Options, draw},
        operator::OperatorPlan,
        scenario,
        trace::TraceMode,
        verdict::Verdict,
    };

    /// A healthy cluster, with an operator who looks so often.
    fn with_operator(looks: u64) -> (Simulation, NodeId) {
        let scenario = scenario::find("fault-free").expect("there is such a scenario");
        let mut schedule = draw(7, &Options { replicas: Some(3), ..Options::new(scenario) });
        schedule.workload.operator = Some(OperatorPlan { looks, pause_ns: 2 * LOOK_NS });
        let simulation = Simulation::new(&schedule, TraceMode::Digest, "");
        let operator = simulation.operator.expect("the schedule has one");
        (simulation, operator)
    }

    /// A healthy cluster whose clients have all their calls to make after the healing, and are to make so many.
    fn with_healed_calls(healed_calls: Option<u64>) -> Simulation {
        let scenario = scenario::find("fault-free").expect("there is such a scenario");
        let mut schedule = draw(7, &Options { replicas: Some(3), ..Options::new(scenario) });
        schedule.workload.healed_calls = healed_calls;
        let mut simulation = Simulation::new(&schedule, TraceMode::Digest, "");
        simulation.run();
        assert_eq!(simulation.outcome().failure, None);
        simulation
    }

    #[test]
    fn clients_stand_still_when_they_have_made_their_calls_in_the_healed_cluster() {
        for healed_calls in [None, Some(1), Some(5), Some(1_000_000)] {
            let simulation = with_healed_calls(healed_calls);
            let calls = simulation.schedule.workload.each.calls;
            for client in simulation.clients() {
                let ended = simulation.calls_ended(client).expect("clients are up at the end");
                let due = healed_calls.map_or(calls, |healed| healed.min(calls));
                assert!(ended >= due, "{ended} calls have ended of {due}");
                assert_eq!(simulation.world.is_paused(client), due < calls, "who has calls left stands still");
            }
        }
    }

    #[test]
    fn a_client_whose_last_calls_are_not_answered_is_a_loss_of_liveness() {
        let scenario = scenario::find("fault-free").expect("there is such a scenario");
        let mut schedule = draw(7, &Options { replicas: Some(3), ..Options::new(scenario) });
        schedule.workload.healed_calls = Some(2);
        let mut simulation = Simulation::new(&schedule, TraceMode::Digest, "");
        let client = simulation.clients().last().expect("there are clients");
        simulation.heal();
        for node in simulation.nodes() {
            simulation.world.cut_one_way(node, client);
        }
        simulation.must_answer();
        let failure = simulation.outcome().failure.expect("it is not answered");
        assert_eq!((failure.verdict, failure.place.as_str()), (Verdict::Liveness, "a request is never answered"));
        assert!(failure.violation.contains(simulation.world.name(client)), "{}", failure.violation);
    }

    #[test]
    fn an_operator_who_is_never_answered_is_a_loss_of_liveness() {
        let (mut simulation, operator) = with_operator(1_000_000);
        simulation.heal();
        simulation.must_answer();
        for node in simulation.nodes() {
            simulation.world.cut_one_way(node, operator);
        }
        assert_eq!(simulation.outcome().failure, None, "the clients were answered");
        simulation.must_let_the_operator_go();
        let failure = simulation.outcome().failure.expect("the operator is not");
        assert_eq!((failure.verdict, failure.place.as_str()), (Verdict::Liveness, "an operator is never answered"));
    }

    #[test]
    fn an_operator_who_is_answered_goes_when_it_has_looked_as_often_as_it_will() {
        // For longer than one request may stay unanswered.
        let looks = 2 * ANSWER_BOUND_NS / LOOK_NS;
        let (mut simulation, operator) = with_operator(looks);
        simulation.run();
        assert_eq!(simulation.outcome().failure, None);
        let process = simulation.world.process::<ClientProcess<Operator>>(operator).expect("it is up");
        assert!(process.driver().is_finished());
    }
}
