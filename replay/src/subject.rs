//! What is simulated: a named family of simulations, one for each seed.

use chronon_sim::{schedule::toml_sentence, simulation::Outcome, trace::TraceMode};

use crate::choice::Choice;

/// A family of faults that can be turned on and off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Family {
    /// As `--faults` takes it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
}

/// What a seed means, written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drawn {
    /// As TOML with at least a key `scenario`: what [`Subject::run_schedule`] takes. An error is a sentence that says why it cannot be
    /// written.
    pub toml: Result<String, String>,
    /// Each fault in one line.
    pub lines: Vec<String>,
}

/// A scenario: gives every seed a simulation.
///
/// Only the first three functions have to be written. [`crate::Program::scenario`] makes a subject of a function.
pub trait Subject: Sync {
    /// The name, as `--scenario` takes it.
    fn name(&self) -> &str;

    /// What it is for, in one sentence.
    fn about(&self) -> &str;

    /// Runs one seed. The same seed and choice give the same outcome, and the same bytes of trace after its header.
    fn run(&self, seed: u64, choice: &Choice, trace: TraceMode) -> Outcome;

    /// The fault families that a choice may name.
    fn families(&self) -> Vec<Family> {
        Vec::new()
    }

    /// The rare paths that its processes declare, for `list`.
    fn probes(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether a complete campaign must take this rare path: one that never does has not tested it.
    fn expects(&self, probe: &str) -> bool {
        let _ = probe;
        true
    }

    /// Whether seeds can be drawn so; says what could be, if not.
    fn check(&self, choice: &Choice) -> Result<(), String> {
        if choice.is_free() { Ok(()) } else { Err("it takes neither --replicas nor --faults".to_owned()) }
    }

    /// What a seed means.
    fn draw(&self, seed: u64, choice: &Choice) -> Drawn {
        let _ = choice;
        Drawn { toml: Ok(format!("scenario = \"{}\"\nseed = {seed}\n", self.name())), lines: Vec::new() }
    }

    /// Each fault of a schedule in one line. An error is a sentence that says what is wrong with the schedule.
    fn tell_schedule(&self, toml: &str) -> Result<Vec<String>, String> {
        bare_seed(toml).map(|_| Vec::new())
    }

    /// Runs an explicit schedule. An error is a sentence that says what is wrong with it.
    fn run_schedule(&self, toml: &str, trace: TraceMode) -> Result<Outcome, String> {
        bare_seed(toml).map(|seed| self.run(seed, &Choice::default(), trace))
    }
}

/// The seed of a schedule that holds nothing else.
fn bare_seed(toml: &str) -> Result<u64, String> {
    let table: toml::Table = toml.parse().map_err(|error: toml::de::Error| toml_sentence(toml, &error))?;
    if let Some(key) = table.keys().find(|key| !["scenario", "seed"].contains(&key.as_str())) {
        return Err(format!("a schedule of this scenario has a `scenario` and a `seed` and no `{key}`"));
    }
    let seed = table.get("seed").and_then(toml::Value::as_integer).and_then(|seed| u64::try_from(seed).ok());
    seed.ok_or_else(|| "a schedule names its `seed`, a number from 0".to_owned())
}

/// A subject made of a function.
pub(crate) struct Function<F> {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: F,
}

impl<F: Fn(u64, TraceMode) -> Outcome + Sync> Subject for Function<F> {
    fn name(&self) -> &str {
        self.name
    }

    fn about(&self) -> &str {
        self.about
    }

    fn run(&self, seed: u64, _choice: &Choice, trace: TraceMode) -> Outcome {
        (self.run)(seed, trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_schedule_is_a_scenario_and_a_seed() {
        assert_eq!(bare_seed("scenario = \"x\"\nseed = 7\n"), Ok(7));
        for toml in ["seed = -1", "seed = \"7\"", "scenario = \"x\"", "seed = 7\nspeed = 3", "seed ="] {
            assert!(bare_seed(toml).is_err(), "{toml}");
        }
    }
}
