//! Scenarios of clusters: replicas of an application, Chronon's own or another, under the simulator's nemesis.

use chronon_sim::{
    campaign,
    nemesis::{self, Options},
    scenario::{FaultFamily, Kind, SCENARIOS, Scenario},
    schedule::{self, Schedule},
    simulation::Outcome,
    trace::TraceMode,
    workload::{BankWorkload, JobsWorkload, KvWorkload, Plan, Workload},
};

use crate::{
    choice::Choice,
    subject::{Drawn, Family, Subject},
};

/// The sizes that a cluster may have.
const REPLICAS: std::ops::RangeInclusive<u8> = 1..=6;

/// The rare paths that only an application with effects or timers leads to.
const EFFECT_PROBES: [&str; 6] = [
    "tick_proposed",
    "system_entry_executed",
    "operator_request_executed",
    "reserved_room_taken",
    "entry_given_to_the_primary",
    MACHINE_FULL,
];

const MACHINE_FULL: &str = "request_refused_machine_full";

/// A scenario of the simulator, over an application.
pub(crate) struct Cluster<W> {
    name: &'static str,
    about: &'static str,
    scenario: &'static Scenario,
    /// Whether a complete campaign must take every rare path: requests of every size and kind are asked.
    exhausts: bool,
    workload: W,
}

/// Chronon's own, the default one first.
pub(crate) fn subjects() -> Vec<Box<dyn Subject>> {
    // Leaving out faults leaves out what only those lead to.
    let exhausts = |cluster: Cluster<_>| Cluster { exhausts: cluster.scenario.kind == Kind::Swarm, ..cluster };
    let mut subjects: Vec<Box<dyn Subject>> =
        over(&KvWorkload).map(|cluster| Box::new(exhausts(cluster)) as Box<dyn Subject>).collect();
    subjects.push(Box::new(swarm("bank", "transfers between accounts, under every fault family", BankWorkload)));
    subjects.push(Box::new(swarm("jobs", "workers with leases of jobs, under every fault family", JobsWorkload)));
    subjects
}

/// Every scenario, over this application.
pub(crate) fn over<W: Workload>(workload: &W) -> impl Iterator<Item = Cluster<W>> {
    SCENARIOS.iter().map(|scenario| Cluster {
        name: scenario.name,
        about: scenario.about,
        scenario,
        exhausts: false,
        workload: workload.clone(),
    })
}

/// The first scenario, over this application and under another name.
pub(crate) fn swarm<W: Workload>(name: &'static str, about: &'static str, workload: W) -> Cluster<W> {
    Cluster { name, about, scenario: &SCENARIOS[0], exhausts: false, workload }
}

impl<W: Workload> Cluster<W> {
    fn schedule(&self, seed: u64, choice: &Choice) -> Schedule<W::Plan> {
        let family = |name: &String| FaultFamily::find(name).expect("a choice names families that there are");
        let faults = choice.faults.as_ref().map(|names| names.iter().map(family).collect());
        let options = Options { scenario: self.scenario, replicas: choice.replicas, faults };
        let drawn = nemesis::draw_for(&self.workload, seed, &options);
        Schedule { scenario: self.name.to_owned(), ..drawn }
    }

    fn read(&self, toml: &str) -> Result<Schedule<W::Plan>, String> {
        nemesis::fits(&self.workload)?;
        let read = Schedule::from_toml(toml).and_then(|schedule| {
            schedule.check_for(&self.workload)?;
            Ok(schedule)
        });
        read.map_err(|error| error.to_string())
    }
}

impl<W: Workload> Subject for Cluster<W> {
    fn name(&self) -> &str {
        self.name
    }

    fn about(&self) -> &str {
        self.about
    }

    fn run(&self, seed: u64, choice: &Choice, trace: TraceMode) -> Outcome {
        campaign::run_schedule_of(self.workload.clone(), &self.schedule(seed, choice), trace, "")
    }

    fn families(&self) -> Vec<Family> {
        FaultFamily::ALL.into_iter().map(|family| Family { name: family.name(), about: family.about() }).collect()
    }

    fn probes(&self) -> Vec<&'static str> {
        schedule::probes().collect()
    }

    fn expects(&self, probe: &str) -> bool {
        // What effects lead to, only those who ask for them can take; but for a full outbox, which a script fills.
        let of_effects = EFFECT_PROBES.contains(&probe);
        if of_effects { self.workload.has_effects() && probe != MACHINE_FULL } else { self.exhausts }
    }

    fn check(&self, choice: &Choice) -> Result<(), String> {
        nemesis::fits(&self.workload)?;
        match choice.replicas {
            Some(replicas) if !REPLICAS.contains(&replicas) => {
                Err(format!("a cluster has {} to {} replicas and not {replicas}", REPLICAS.start(), REPLICAS.end()))
            }
            _ => Ok(()),
        }
    }

    fn draw(&self, seed: u64, choice: &Choice) -> Drawn {
        let schedule = self.schedule(seed, choice);
        Drawn { toml: schedule.to_toml().map_err(|error| error.to_string()), lines: lines(&schedule) }
    }

    fn tell_schedule(&self, toml: &str) -> Result<Vec<String>, String> {
        self.read(toml).map(|schedule| lines(&schedule))
    }

    fn run_schedule(&self, toml: &str, trace: TraceMode) -> Result<Outcome, String> {
        Ok(campaign::run_schedule_of(self.workload.clone(), &self.read(toml)?, trace, ""))
    }
}

fn lines<P: Plan>(schedule: &Schedule<P>) -> Vec<String> {
    schedule.steps.iter().map(ToString::to_string).collect()
}
