//! The draw of what befalls a cluster, step by step.

use super::{MS, UNTIL_HEALED_NS};
use crate::{
    disk::OperationKind,
    rng::Stream,
    scenario::FaultFamily,
    schedule::{Fault, Progress, Ring, Step, Target},
    world::DiskMoment,
};

/// A write of the run that is lost or goes astray.
#[derive(Clone, Copy)]
pub(super) struct Stray {
    pub(super) ring: Ring,
    /// Whether it was drawn already.
    pub(super) struck: bool,
}

/// The draw of a seed's steps.
pub(super) struct Nemesis<'a> {
    pub(super) random: Stream,
    pub(super) replicas: u8,
    pub(super) clients: u8,
    /// Whose disk is harmed, if one is.
    pub(super) damaged: Option<u8>,
    /// Set if the harm is of that sort.
    pub(super) stray: Option<Stray>,
    /// For whether a power cut waits for writes that completed out of order.
    pub(super) disorder: Stream,
    pub(super) families: &'a [FaultFamily],
}

impl Nemesis<'_> {
    pub(super) fn steps(&mut self, steps: &mut Vec<Step>, expected_commits: &mut u64) {
        let striking: Vec<FaultFamily> = (self.families.iter().copied())
            .filter(|family| !matches!(family, FaultFamily::Loss | FaultFamily::BitFlip | FaultFamily::Wipe))
            .collect();
        if striking.is_empty() {
            return;
        }
        let count = self.random.range(4, 11);
        for number in 0..count {
            // The first step is a crash if any is: so that most seeds have one.
            let crashes = [FaultFamily::Kill, FaultFamily::KillMidway, FaultFamily::PowerCut];
            let crash = striking.iter().copied().find(|family| number == 0 && crashes.contains(family));
            let family = crash.unwrap_or_else(|| *self.random.pick(&striking));
            // What was said in one view tries the next one when that begins.
            let after = if family == FaultFamily::Reorder && self.random.chance(700_000) {
                Progress::Probe { name: "view_started".to_owned(), count: 1 }
            } else if family == FaultFamily::PowerCut && self.disorder.chance(400_000) {
                // With a hole below what is durable: nothing above a hole may have been acknowledged.
                Progress::Probe { name: "prepare_durable_before_its_predecessors".to_owned(), count: 1 }
            } else {
                self.progress(steps.last())
            };
            if let Progress::Commits { count } = after {
                *expected_commits += count;
            }
            let patience_ns = self.random.range(200 * MS, 1_200 * MS);
            if family == FaultFamily::Damage {
                self.harm(after, patience_ns, steps);
                continue;
            }
            let carousel = family == FaultFamily::Kill && self.random.chance(150_000);
            let fault = if carousel { self.kill_primary_briefly() } else { self.fault(family) };
            let deposed = matches!(fault, Fault::Isolate { target: Target::Primary, clients: false, .. });
            steps.push(Step { after, patience_ns, fault });
            if deposed {
                self.kill_successor(steps);
            }
            if carousel {
                self.kill_every_successor(steps);
            }
        }
    }

    /// Every primary dies as its view starts, until it is the first one's turn again, with the same ops uncommitted and what was
    /// said of them in its earlier view still under way.
    fn kill_every_successor(&mut self, steps: &mut Vec<Step>) {
        let mut at_start = |fault: Fault| {
            let after = Progress::Probe { name: "view_started".to_owned(), count: 1 };
            steps.push(Step { after, patience_ns: 1_500 * MS, fault });
        };
        for _ in 1..self.replicas {
            at_start(self.kill_primary_briefly());
        }
        if self.families.contains(&FaultFamily::Reorder) {
            at_start(Fault::Echo { target: Target::Primary });
        }
    }

    pub(super) fn kill_primary_briefly(&mut self) -> Fault {
        Fault::Kill { target: Target::Primary, down_ns: self.random.range(MS, 30 * MS) }
    }

    /// A primary that is cut off from the others, and not from its clients, goes on for a while with what nobody else has. Often
    /// its successor dies soon: who then finds the log must tell the longer one from the later one.
    fn kill_successor(&mut self, steps: &mut Vec<Step>) {
        if self.random.chance(400_000) {
            return;
        }
        // Nothing commits any more before there is one.
        let after = Progress::Commits { count: self.random.range(1, 4) };
        let fault = Fault::Kill { target: Target::Primary, down_ns: self.random.range(300 * MS, 1_500 * MS) };
        steps.push(Step { after, patience_ns: 1_500 * MS, fault });
    }

    /// What a step waits for. After something that may change the view, often the midst of that.
    fn progress(&mut self, last: Option<&Step>) -> Progress {
        const PHASES: [&str; 6] =
            ["view_left", "view_started", "view_joined", "view_proposed", "log_adopted", "prepare_repaired"];
        let unsettled = last.is_some_and(|step| {
            !matches!(step.fault, Fault::StepClock { .. } | Fault::FailRead { .. } | Fault::SlowDisk { .. })
        });
        if unsettled && self.random.chance(350_000) {
            let name = (*self.random.pick(&PHASES)).to_owned();
            return Progress::Probe { name, count: self.random.range(1, 2) };
        }
        if self.random.chance(150_000) {
            return Progress::Time { ns: self.random.range(0, 80 * MS) };
        }
        Progress::Commits { count: self.random.range(3, 30) }
    }

    fn fault(&mut self, family: FaultFamily) -> Fault {
        match family {
            FaultFamily::Kill => Fault::Kill { target: self.target(), down_ns: self.down_ns() },
            FaultFamily::KillMidway => self.kill_midway(),
            FaultFamily::PowerCut => {
                Fault::KillAll { down_ns: (0..self.replicas).map(|_| self.random.range(MS, 300 * MS)).collect() }
            }
            FaultFamily::Pause => Fault::Pause { target: self.target(), for_ns: self.random.range(50 * MS, 900 * MS) },
            FaultFamily::Clock => {
                let bound = if self.random.chance(300_000) { 3_600_000 * MS } else { 200 * MS };
                let delta_ns = self.random.below(2 * bound + 1) as i64 - bound as i64;
                Fault::StepClock { target: self.target(), delta_ns }
            }
            FaultFamily::DiskLatency if self.random.chance(600_000) => {
                // Rarely for longer than a primary goes on with.
                let long = self.random.chance(200_000);
                let (least, most) = if long { (1_800 * MS, 3_000 * MS) } else { (20 * MS, 1_500 * MS) };
                let target = if long { Target::Primary } else { self.target() };
                Fault::StallDisk { target, for_ns: self.random.range(least, most) }
            }
            FaultFamily::DiskLatency => Fault::SlowDisk {
                target: self.target(),
                percent: self.random.range(300, 5_000) as u32,
                for_ns: self.random.range(100 * MS, 1_500 * MS),
            },
            FaultFamily::DiskError => self.disk_error(),
            FaultFamily::Client => self.client_fault(),
            FaultFamily::Damage | FaultFamily::Wipe => unreachable!("harm takes more than a step"),
            FaultFamily::Reorder => {
                let target = if self.random.chance(700_000) { Target::Primary } else { self.target() };
                Fault::Echo { target }
            }
            FaultFamily::Partition | FaultFamily::Loss | FaultFamily::BitFlip => self.partition(),
        }
    }

    fn kill_midway(&mut self) -> Fault {
        let (target, down_ns) = (self.target(), self.down_ns());
        if self.random.chance(300_000) {
            return Fault::KillInStep { target, actions: self.random.below(5) as u32, down_ns };
        }
        let operation = match self.random.weighted(&[30, 20, 40, 10]) {
            0 => OperationKind::Barrier,
            1 => OperationKind::Write,
            2 => OperationKind::DurableWrite,
            _ => OperationKind::Read,
        };
        let moment = *self.random.pick(&DiskMoment::ALL);
        Fault::KillAtDisk { target, operation, moment, skip: self.random.below(6) as u32, down_ns }
    }

    fn disk_error(&mut self) -> Fault {
        let target = self.target();
        match self.random.weighted(&[3, 3, 2, 2]) {
            0 => Fault::FailBarrier { target },
            1 => Fault::FailWrite { target },
            2 => Fault::FailRead { target },
            _ => Fault::NoSpace { target, for_ns: self.random.range(20 * MS, 500 * MS) },
        }
    }

    fn client_fault(&mut self) -> Fault {
        let client = self.random.below(u64::from(self.clients)) as u8;
        if self.random.chance(300_000) {
            return Fault::PauseClient { client, for_ns: self.random.range(50 * MS, 900 * MS) };
        }
        let (down_ns, clock_forgets) = (self.random.range(MS, 300 * MS), self.random.chance(500_000));
        Fault::KillClient { client, down_ns, clock_forgets }
    }

    fn partition(&mut self) -> Fault {
        let for_ns = self.random.range(30 * MS, 1_200 * MS);
        match self.random.weighted(&[4, 3, 3, 3, 2, 2]) {
            0 => Fault::Isolate { target: self.target(), clients: self.random.chance(400_000), for_ns },
            1 => {
                let (from, to) = self.ends();
                Fault::CutOneWay { from, to, for_ns }
            }
            2 => Fault::Deafen { target: self.target(), mute: self.random.chance(500_000), for_ns },
            3 => {
                let mut side: Vec<u8> = (0..self.replicas).collect();
                self.random.shuffle(&mut side);
                let count = if self.replicas > 1 { self.random.range(1, u64::from(self.replicas) - 1) } else { 0 };
                side.truncate(count as usize);
                side.sort_unstable();
                Fault::Partition { side, for_ns }
            }
            4 => {
                let client = self.random.below(u64::from(self.clients)) as u8;
                Fault::CutClient { client, target: self.target(), for_ns }
            }
            _ => {
                let (from, to) = self.ends();
                Fault::Clog { from, to, for_ns }
            }
        }
    }

    /// Two ends of a link. Who is called differently may be the same one when it comes to it; nothing is cut then.
    fn ends(&mut self) -> (Target, Target) {
        let (from, mut to) = (self.target(), self.target());
        if to == from && self.replicas > 1 {
            to = if from == Target::Primary { Target::Backup(1) } else { Target::Primary };
        }
        (from, to)
    }

    fn target(&mut self) -> Target {
        match self.random.weighted(&[4, 2, 4]) {
            0 => Target::Primary,
            1 if self.replicas > 1 => Target::Backup(self.random.range(1, u64::from(self.replicas) - 1) as u8),
            _ => Target::Replica(self.random.below(u64::from(self.replicas)) as u8),
        }
    }

    fn down_ns(&mut self) -> u64 {
        match self.random.weighted(&[3, 6, 1]) {
            0 => self.random.range(MS, 50 * MS),
            1 => self.random.range(50 * MS, 900 * MS),
            _ => UNTIL_HEALED_NS,
        }
    }
}
