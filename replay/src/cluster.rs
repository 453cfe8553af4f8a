//! Chronon's own scenarios: clusters of its replicas under its nemesis.

use chronon_sim::{
    campaign,
    nemesis::{self, Options},
    scenario::{FaultFamily, Kind, SCENARIOS, Scenario},
    schedule::{self, Schedule},
    simulation::Outcome,
    trace::TraceMode,
};

use crate::{
    choice::Choice,
    subject::{Drawn, Family, Subject},
};

/// The sizes that a cluster may have.
const REPLICAS: std::ops::RangeInclusive<u8> = 1..=6;

/// A scenario of the simulator.
struct Cluster(&'static Scenario);

/// All of them, the default one first.
pub(crate) fn subjects() -> Vec<Box<dyn Subject>> {
    SCENARIOS.iter().map(|scenario| Box::new(Cluster(scenario)) as Box<dyn Subject>).collect()
}

impl Cluster {
    fn schedule(&self, seed: u64, choice: &Choice) -> Schedule {
        let family = |name: &String| FaultFamily::find(name).expect("a choice names families that there are");
        let faults = choice.faults.as_ref().map(|names| names.iter().map(family).collect());
        nemesis::draw(seed, &Options { scenario: self.0, replicas: choice.replicas, faults })
    }
}

impl Subject for Cluster {
    fn name(&self) -> &str {
        self.0.name
    }

    fn about(&self) -> &str {
        self.0.about
    }

    fn run(&self, seed: u64, choice: &Choice, trace: TraceMode) -> Outcome {
        campaign::run_schedule(&self.schedule(seed, choice), trace, "")
    }

    fn families(&self) -> Vec<Family> {
        FaultFamily::ALL.into_iter().map(|family| Family { name: family.name(), about: family.about() }).collect()
    }

    fn probes(&self) -> Vec<&'static str> {
        schedule::probes().collect()
    }

    fn expects(&self, _probe: &str) -> bool {
        // The others leave out faults, and with them what only those lead to.
        self.0.kind == Kind::Swarm
    }

    fn check(&self, choice: &Choice) -> Result<(), String> {
        match choice.replicas {
            Some(replicas) if !REPLICAS.contains(&replicas) => {
                Err(format!("a cluster has {} to {} replicas and not {replicas}", REPLICAS.start(), REPLICAS.end()))
            }
            _ => Ok(()),
        }
    }

    fn draw(&self, seed: u64, choice: &Choice) -> Drawn {
        let schedule = self.schedule(seed, choice);
        Drawn { toml: schedule.to_toml(), lines: lines(&schedule) }
    }

    fn tell_schedule(&self, toml: &str) -> Result<Vec<String>, String> {
        Schedule::from_toml(toml).map(|schedule| lines(&schedule)).map_err(|error| error.to_string())
    }

    fn run_schedule(&self, toml: &str, trace: TraceMode) -> Result<Outcome, String> {
        let schedule = Schedule::from_toml(toml).map_err(|error| error.to_string())?;
        Ok(campaign::run_schedule(&schedule, trace, ""))
    }
}

fn lines(schedule: &Schedule) -> Vec<String> {
    schedule.steps.iter().map(ToString::to_string).collect()
}
