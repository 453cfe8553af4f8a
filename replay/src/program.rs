//! A program: its name, its scenarios, and which build it is.

use std::process::ExitCode;

use chronon_sim::{
    nearest::nearest,
    simulation::Outcome,
    trace::{Trace, TraceHeader, TraceMode},
    workload::Workload,
};

use crate::{
    arguments,
    choice::Choice,
    cluster, number,
    output::{Trouble, remark},
    subject::{Function, Subject},
};

/// The framework's sources, by `build.rs`.
const CODE_VERSION: &str = env!("CHRONON_CODE_VERSION");

/// A `replay` program: scenarios under a name.
pub struct Program {
    pub(crate) name: &'static str,
    /// How it is called from a shell.
    pub(crate) command: &'static str,
    /// The package and program that `mutants` builds.
    pub(crate) target: Option<(&'static str, &'static str)>,
    /// What decides the bytes of its traces.
    pub(crate) code_version: String,
    /// What its commit is called, for people.
    pub(crate) commit: Option<&'static str>,
    subjects: Vec<Box<dyn Subject>>,
}

/// A version of one's own sources: a hash of the files that are named, by their paths from the file that says this.
///
/// A program states it so that a trace of another build is told from nondeterminism.
#[macro_export]
macro_rules! version_of {
    ($($file:literal),+ $(,)?) => {
        $crate::version_of_bytes(&[$(&include_bytes!($file)[..]),+])
    };
}

/// What [`version_of`] stands for.
pub fn version_of_bytes(files: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        hasher.update(&(file.len() as u64).to_le_bytes());
        hasher.update(file);
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

impl Program {
    /// A program without scenarios. The version, best of [`version_of`], changes whenever its simulations might.
    pub fn new(name: &'static str, version: impl Into<String>) -> Self {
        let code_version = format!("{CODE_VERSION} {name} {}", version.into());
        Self { name, command: name, target: None, code_version, commit: None, subjects: Vec::new() }
    }

    /// Chronon's own.
    pub fn chronon() -> Self {
        Self {
            name: "replay",
            command: "cargo run --release --",
            target: Some(("chronon-replay", "replay")),
            code_version: CODE_VERSION.to_owned(),
            commit: Some(env!("CHRONON_COMMIT")),
            subjects: cluster::subjects(),
        }
    }

    /// Adds a scenario that is a function of the seed. The first to be added is the default.
    #[must_use]
    pub fn scenario(
        self,
        name: &'static str,
        about: &'static str,
        run: impl Fn(u64, TraceMode) -> Outcome + Sync + 'static,
    ) -> Self {
        self.subject(Function { name, about, run })
    }

    /// Adds every scenario of Chronon's own clusters, over an application of one's own.
    #[must_use]
    pub fn cluster(self, workload: impl Workload) -> Self {
        cluster::over(&workload).fold(self, Self::subject)
    }

    /// Adds a cluster of an application of one's own under every family of faults, as a scenario of this name.
    #[must_use]
    pub fn cluster_as(self, name: &'static str, about: &'static str, workload: impl Workload) -> Self {
        self.subject(cluster::swarm(name, about, workload))
    }

    /// Adds a scenario that has more to say than how to run.
    #[must_use]
    pub fn subject(mut self, subject: impl Subject + 'static) -> Self {
        self.subjects.push(Box::new(subject));
        self
    }

    /// States what `mutants` builds from a scratch copy: a package of the workspace, and its program.
    #[must_use]
    pub fn built_from(mut self, package: &'static str, program: &'static str) -> Self {
        self.target = Some((package, program));
        self
    }

    /// Does what the command line says. To be returned from `main`.
    pub fn main(&self) -> ExitCode {
        arguments::main(self).unwrap_or_else(|trouble| {
            remark(&format!("{}: {trouble}", self.name));
            trouble.status().into()
        })
    }

    /// The scenarios, in the order in which they were added.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &dyn Subject> {
        self.subjects.iter().map(|subject| &**subject)
    }

    pub(crate) fn subject_of(&self, name: &str) -> Result<&dyn Subject, Trouble> {
        self.subjects().find(|subject| subject.name() == name).ok_or_else(|| {
            let names: Vec<&str> = self.subjects().map(Subject::name).collect();
            let hint = nearest(name, &names).map_or(String::new(), |near| format!("did you mean `{near}`? "));
            Trouble::Usage(format!("there is no scenario `{name}`; {hint}`{} list` shows all", self.command))
        })
    }

    pub(crate) fn default_subject(&self) -> Result<&dyn Subject, Trouble> {
        self.subjects()
            .next()
            .ok_or_else(|| Trouble::Usage("this program has no scenario; add one with Program::scenario".to_owned()))
    }

    /// Writes into the header of a trace what only the program knows: the build, the scenario, the schedule.
    ///
    /// # Panics
    /// If the bytes are no trace.
    pub(crate) fn stamp(&self, bytes: Vec<u8>, subject: &dyn Subject, seed: u64, schedule: &str) -> Vec<u8> {
        let trace = Trace::parse(&bytes).expect("a world writes traces");
        let header = TraceHeader {
            code_version: self.code_version.clone(),
            scenario: subject.name().to_owned(),
            seed,
            schedule: schedule.to_owned(),
        };
        if *trace.header() == header {
            return bytes;
        }
        header.over(trace.record_bytes())
    }

    /// Runs a seed with its trace kept, and gives that under this program's header beside the outcome.
    pub(crate) fn run_kept(&self, subject: &dyn Subject, choice: &Choice, seed: u64) -> (Outcome, Option<Vec<u8>>) {
        let mut outcome = subject.run(seed, choice, TraceMode::Keep);
        let trace = outcome.trace.take();
        let toml = match subject.draw(seed, choice).toml {
            Ok(toml) => toml,
            // Verified by its seed, which says all if nothing was chosen beside it.
            Err(_) if choice.is_free() => String::new(),
            Err(why) => format!("# {why}\n"),
        };
        (outcome, trace.map(|bytes| self.stamp(bytes, subject, seed, &toml)))
    }

    /// Which build this is, for people.
    pub(crate) fn build(&self) -> String {
        match self.commit {
            Some(commit) => format!("commit {commit}, sources {}", self.code_version),
            None => format!("sources {}", self.code_version),
        }
    }

    /// What the first line of `--version` says after the name.
    pub(crate) fn version_line(&self) -> String {
        format!(
            "{} ({}, seeds 0 to {})",
            env!("CARGO_PKG_VERSION"),
            self.build(),
            number::grouped(chronon_sim::schedule::SEED_MAX)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_covers_each_file_and_where_it_ends() {
        let version = version_of_bytes(&[b"ab", b"c"]);
        assert_eq!(version.len(), 16);
        assert_ne!(version, version_of_bytes(&[b"a", b"bc"]));
        assert_eq!(version_of!("main.rs"), version_of_bytes(&[include_bytes!("main.rs")]));
    }

    #[test]
    fn an_unknown_scenario_is_answered_with_the_nearest() {
        let program = Program::chronon();
        let text = program.subject_of("swam").err().map(|trouble| trouble.to_string());
        let expected = "there is no scenario `swam`; did you mean `swarm`? `cargo run --release -- list` shows all";
        assert_eq!(text.as_deref(), Some(expected));
        assert_eq!(program.default_subject().map(Subject::name), Ok("swarm"));
    }
}
