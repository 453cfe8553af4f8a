//! What a campaign came to: sums, counts, the failures, and one digest over all of it.
//!
//! Invariant: a report is a function of the outcomes in the order of their seeds. It holds no time and no number of threads,
//! and its size does not grow with the seeds that were clean.

use std::collections::BTreeMap;

use crate::{simulation::Outcome, verdict::Failure};

/// How a campaign ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It has not.
    Running,
    /// With its last seed.
    Complete,
    /// With as many failures as it was to stop at.
    Failures,
    /// It was told to stop.
    Stopped,
}

/// A seed that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeedFailure {
    /// The seed.
    pub seed: u64,
    /// What was violated.
    pub failure: Failure,
    /// The digest of the seed's trace.
    pub digest: [u8; 32],
}

/// What a campaign came to. Sums are over its seeds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the sums are those of the fields of `Outcome` that have the same names")]
pub struct Report {
    /// The first seed.
    pub start: u64,
    /// How many seeds were run, from the first on without a gap.
    pub seeds_run: u64,
    /// How many of them failed.
    pub seeds_failed: u64,
    /// The failures, by seed.
    pub failures: Vec<SeedFailure>,
    pub virtual_ns: u64,
    pub events: u64,
    pub commits: u64,
    pub requests_acknowledged: u64,
    pub view_changes: u64,
    pub crashes: u64,
    pub restarts: u64,
    /// How many seeds had a crash.
    pub seeds_with_crash: u64,
    /// How many seeds had 3 replicas or more.
    pub seeds_with_3_or_more: u64,
    /// How many of those had a view change.
    pub seeds_with_view_change: u64,
    /// How often each rare path was taken, of all that a process of some seed declares.
    pub probes: BTreeMap<&'static str, u64>,
    /// In how many seeds each was taken.
    pub seeds_with_probe: BTreeMap<&'static str, u64>,
    /// How it ended.
    pub ended: Ended,
    /// How many seeds had so many commits.
    commits_of_seeds: BTreeMap<u64, u64>,
    digest: Digest,
}

/// BLAKE3 over what was added so far; two are equal if their digests are.
#[derive(Clone, Debug, Default)]
struct Digest(blake3::Hasher);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.finalize() == other.0.finalize()
    }
}

impl Eq for Digest {}

impl Report {
    /// A report of no seeds.
    pub fn new(start: u64) -> Self {
        Self {
            start,
            seeds_run: 0,
            seeds_failed: 0,
            failures: Vec::new(),
            virtual_ns: 0,
            events: 0,
            commits: 0,
            requests_acknowledged: 0,
            view_changes: 0,
            crashes: 0,
            restarts: 0,
            seeds_with_crash: 0,
            seeds_with_3_or_more: 0,
            seeds_with_view_change: 0,
            probes: BTreeMap::new(),
            seeds_with_probe: BTreeMap::new(),
            ended: Ended::Running,
            commits_of_seeds: BTreeMap::new(),
            digest: Digest::default(),
        }
    }

    /// Takes the outcome of the next seed into account.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        assert_eq!(outcome.seed, self.start + self.seeds_run, "seeds are taken into account in their order");
        self.seeds_run += 1;
        self.digest.0.update(&outcome.digest);
        for (sum, value) in [
            (&mut self.virtual_ns, outcome.virtual_ns),
            (&mut self.events, outcome.events),
            (&mut self.commits, outcome.commits),
            (&mut self.requests_acknowledged, outcome.requests_acknowledged),
            (&mut self.view_changes, outcome.view_changes),
            (&mut self.crashes, outcome.crashes),
            (&mut self.restarts, outcome.restarts),
            (&mut self.seeds_with_crash, (outcome.crashes > 0).into()),
            (&mut self.seeds_with_3_or_more, (outcome.replicas >= 3).into()),
            (&mut self.seeds_with_view_change, (outcome.replicas >= 3 && outcome.view_changes > 0).into()),
        ] {
            *sum = sum.saturating_add(value);
        }
        *self.commits_of_seeds.entry(outcome.commits).or_default() += 1;
        for (name, count) in &outcome.probes {
            let sum = self.probes.entry(name).or_default();
            *sum = sum.saturating_add(*count);
            *self.seeds_with_probe.entry(name).or_default() += u64::from(*count > 0);
        }
        if let Some(failure) = &outcome.failure {
            self.seeds_failed += 1;
            self.failures.push(SeedFailure { seed: outcome.seed, failure: failure.clone(), digest: outcome.digest });
        }
    }

    /// The digest over the digests of the seeds, in their order.
    pub fn digest(&self) -> [u8; 32] {
        *self.digest.0.finalize().as_bytes()
    }

    /// The median of the seeds' commits, the lower one of two; 0 of no seeds.
    pub fn commits_median(&self) -> u64 {
        let mut seeds = 0;
        let reaches_the_middle = |(_, count): &(&u64, &u64)| {
            seeds += **count;
            seeds * 2 >= self.seeds_run
        };
        self.commits_of_seeds.iter().find(reaches_the_middle).map_or(0, |(commits, _)| *commits)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::blank, *};

    #[test]
    fn the_median_is_that_of_the_seeds() {
        let median = |commits: &[u64]| {
            let mut report = Report::new(0);
            for (seed, commits) in (0..).zip(commits) {
                report.add(&Outcome { commits: *commits, ..blank(seed) });
            }
            report.commits_median()
        };
        assert_eq!(median(&[]), 0);
        assert_eq!(median(&[5]), 5);
        assert_eq!(median(&[9, 1]), 1);
        assert_eq!(median(&[1, 100, 100, 2, 3]), 3);
    }

    #[test]
    fn view_changes_are_asked_of_three_replicas_or_more() {
        let mut report = Report::new(0);
        for (seed, replicas, view_changes) in [(0, 1, 1), (1, 3, 0), (2, 3, 2), (3, 5, 1)] {
            let probes = vec![("always", 1), ("seed", seed)];
            report.add(&Outcome { replicas, view_changes, crashes: seed, probes, ..blank(seed) });
        }
        assert_eq!((report.seeds_with_3_or_more, report.seeds_with_view_change), (3, 2));
        assert_eq!((report.crashes, report.seeds_with_crash), (6, 3));
        assert_eq!(report.probes, BTreeMap::from([("always", 4), ("seed", 6)]));
        assert_eq!(report.seeds_with_probe, BTreeMap::from([("always", 4), ("seed", 3)]));
    }
}
