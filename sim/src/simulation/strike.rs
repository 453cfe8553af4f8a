//! The first phase's faults: whom a step means, and what it does to them.

use chronon::{replica::Replica, types::NodeId, vsr::Status};

use super::{Relief, Simulation};
use crate::{
    disk::SimDisk,
    schedule::{Fault, Target},
    workload::Workload,
};

impl<W: Workload> Simulation<W> {
    /// The primary of the latest view that some replica is normal in; replica 0 if there is none.
    fn primary(&self) -> NodeId {
        let normal = |node: NodeId| {
            let vsr = self.world.process::<Replica<W::Application>>(node)?.vsr();
            (vsr.status() == Status::Normal).then(|| vsr.view())
        };
        let latest = self.nodes().filter_map(normal).max();
        latest.map_or(NodeId(0), |view| view.primary(self.replicas).node())
    }

    fn resolve(&self, target: Target) -> NodeId {
        let count = u32::from(self.replicas);
        match target {
            Target::Replica(replica) => NodeId(u32::from(replica)),
            Target::Primary => self.primary(),
            Target::Backup(which) => NodeId((self.primary().0 + u32::from(which)) % count),
        }
    }

    pub(super) fn strike(&mut self, fault: &Fault) {
        match fault {
            Fault::Kill { target, down_ns } => {
                let node = self.resolve(*target);
                self.plan_downtime(node, *down_ns);
                self.world.kill(node);
            }
            Fault::KillInStep { target, actions, down_ns } => {
                let node = self.resolve(*target);
                self.plan_downtime(node, *down_ns);
                self.world.kill_after_actions(node, *actions);
            }
            Fault::KillAtDisk { target, operation, moment, skip, down_ns } => {
                let node = self.resolve(*target);
                self.plan_downtime(node, *down_ns);
                self.world.kill_at_disk_operation(node, Some(*operation), *skip, *moment);
            }
            Fault::KillAll { down_ns } => {
                for node in self.nodes() {
                    let down_ns = down_ns.get(node.0 as usize % down_ns.len().max(1)).copied().unwrap_or_default();
                    self.plan_downtime(node, down_ns);
                    self.world.cut_power(node);
                }
            }
            Fault::Pause { target, for_ns } => {
                let node = self.resolve(*target);
                if self.world.pause(node) {
                    self.later(*for_ns, Relief::Resume(node));
                }
            }
            Fault::KillClient { client, down_ns, clock_forgets } => {
                let node = self.client(*client);
                if self.world.kill(node) {
                    self.later(*down_ns, Relief::Return { client: *client, clock_forgets: *clock_forgets });
                }
            }
            Fault::PauseClient { client, for_ns } => {
                let node = self.client(*client);
                if self.world.pause(node) {
                    self.later(*for_ns, Relief::Resume(node));
                }
            }
            Fault::StepClock { target, delta_ns } => {
                let node = self.resolve(*target);
                self.world.step_clock(node, *delta_ns);
            }
            _ => self.strike_network(fault),
        }
        self.notice_crashes();
    }

    fn plan_downtime(&mut self, node: NodeId, down_ns: u64) {
        if self.world.is_up(node) {
            self.downtime_ns[node.0 as usize] = Some(down_ns);
        }
    }

    fn strike_network(&mut self, fault: &Fault) {
        let everybody: Vec<NodeId> = self.world.nodes().collect();
        match fault {
            Fault::Isolate { target, clients, for_ns } => {
                let node = self.resolve(*target);
                let replicas = usize::from(self.replicas);
                for other in everybody.into_iter().take(if *clients { usize::MAX } else { replicas }) {
                    self.cut(node, other, *for_ns);
                    self.cut(other, node, *for_ns);
                }
            }
            Fault::CutOneWay { from, to, for_ns } => {
                let (from, to) = (self.resolve(*from), self.resolve(*to));
                self.cut(from, to, *for_ns);
            }
            Fault::Deafen { target, mute, for_ns } => {
                let node = self.resolve(*target);
                for other in everybody {
                    let (from, to) = if *mute { (node, other) } else { (other, node) };
                    self.cut(from, to, *for_ns);
                }
            }
            Fault::Partition { side, for_ns } => {
                for a in self.nodes().filter(|node| side.contains(&(node.0 as u8))) {
                    for b in self.nodes().filter(|node| !side.contains(&(node.0 as u8))) {
                        self.cut(a, b, *for_ns);
                        self.cut(b, a, *for_ns);
                    }
                }
            }
            Fault::CutClient { client, target, for_ns } => {
                let (client, node) = (self.client(*client), self.resolve(*target));
                self.cut(client, node, *for_ns);
                self.cut(node, client, *for_ns);
            }
            Fault::Echo { target } => {
                let node = self.resolve(*target);
                for other in self.nodes().filter(|other| *other != node) {
                    self.world.echo(other, node);
                }
            }
            Fault::Clog { from, to, for_ns } => {
                let (from, to) = (self.resolve(*from), self.resolve(*to));
                if from != to && !self.world.network().is_clogged(from, to) {
                    self.world.clog(from, to);
                    self.later(*for_ns, Relief::Unclog(from, to));
                }
            }
            _ => self.strike_disk(fault),
        }
    }

    fn cut(&mut self, from: NodeId, to: NodeId, for_ns: u64) {
        if from != to {
            self.world.cut_one_way(from, to);
            self.later(for_ns, Relief::Heal(from, to));
        }
    }

    fn strike_disk(&mut self, fault: &Fault) {
        let now_ns = self.world.now_ns();
        match fault {
            Fault::StallDisk { target, for_ns } => self.disk(*target).stall_until(now_ns + for_ns),
            Fault::SlowDisk { target, percent, for_ns } => self.disk(*target).slow(*percent, now_ns + for_ns),
            Fault::FailBarrier { target } => self.disk(*target).fail_next_barrier(),
            Fault::FailWrite { target } => self.disk(*target).fail_next_write(),
            Fault::FailRead { target } => self.disk(*target).fail_next_read(),
            Fault::NoSpace { target, for_ns } => {
                let node = self.resolve(*target);
                self.world.disk_mut(node).no_space(true);
                self.later(*for_ns, Relief::Space(node));
            }
            _ => self.harm(fault),
        }
    }

    fn disk(&mut self, target: Target) -> &mut SimDisk {
        let node = self.resolve(target);
        self.world.disk_mut(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::OperationKind,
        nemesis::{Options, draw},
        scenario,
        simulation::LOOK_NS,
        trace::TraceMode,
        world::DiskMoment,
    };

    const TARGET: Target = Target::Replica(1);

    /// A healthy cluster, whose replica 1 waits for a kill that never comes, and would stay away for long.
    fn awaiting_a_kill() -> (Simulation, NodeId) {
        let scenario = scenario::find("fault-free").expect("there is such a scenario");
        let schedule = draw(7, &Options { replicas: Some(3), ..Options::new(scenario) });
        let mut simulation = Simulation::new(&schedule, TraceMode::Digest, "");
        simulation.strike(&Fault::KillAtDisk {
            target: TARGET,
            operation: OperationKind::Write,
            moment: DiskMoment::AfterSubmission,
            skip: u32::MAX,
            down_ns: 1_000_000_000_000,
        });
        (simulation, NodeId(1))
    }

    /// The replica stops by itself, and is back when whoever stops is.
    fn stops_and_comes_back(mut simulation: Simulation, node: NodeId) {
        simulation.strike(&Fault::FailWrite { target: TARGET });
        simulation.advance(simulation.world.now_ns() + 100 * LOOK_NS, |world| !world.is_up(node));
        assert!(simulation.world.halted(node).is_some(), "a write failed");
        simulation.advance(simulation.world.now_ns() + simulation.schedule.downtime_ns, |_| false);
        assert!(simulation.world.is_up(node), "nobody killed it");
    }

    #[test]
    fn who_stops_before_its_kill_comes_is_not_away_for_as_long_as_that_would_have_taken() {
        let (simulation, node) = awaiting_a_kill();
        stops_and_comes_back(simulation, node);
    }

    #[test]
    fn a_kill_that_never_came_keeps_nobody_away_after_the_healing() {
        let (mut simulation, node) = awaiting_a_kill();
        simulation.heal();
        assert_eq!(simulation.downtime_ns[node.0 as usize], None, "no kill is planned any more");
        stops_and_comes_back(simulation, node);
    }

    #[test]
    fn a_kill_that_a_restart_called_off_decides_nothing_of_the_next_one() {
        let (mut simulation, node) = awaiting_a_kill();
        simulation.world.kill(node);
        simulation.restart(node);
        assert_eq!(simulation.downtime_ns[node.0 as usize], None);
    }
}
