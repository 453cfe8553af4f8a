//! How far a campaign is: a bar on a terminal, a plain line every few seconds elsewhere. On standard error alone.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use chronon_sim::campaign::Report;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    number::{counted, duration, grouped, per_second_milli, rate},
    output::remark,
};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often the bar moves.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// How long a seed is at hand until it is named: it may be one that never comes to an end.
const LONG: Duration = Duration::from_secs(10);

/// How far a campaign is.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    /// When it was last shown.
    told: Instant,
    /// How many seeds there will be, unless time alone ends it.
    seeds: Option<u64>,
    limit: Option<Duration>,
    /// Since when each seed at hand is seen to be.
    since: BTreeMap<u64, Instant>,
}

impl Progress {
    pub(crate) fn new(seeds: Option<u64>, limit: Option<Duration>) -> Self {
        let now = Instant::now();
        let bar = stderr().is_terminal().then(|| bar(seeds));
        Self { bar, started: now, told: now, seeds, limit, since: BTreeMap::new() }
    }

    /// `at_hand` are the seeds that are being run, the lowest first.
    pub(crate) fn update(&mut self, report: &Report, at_hand: &[u64]) {
        self.since.retain(|seed, _| at_hand.binary_search(seed).is_ok());
        for seed in at_hand {
            self.since.entry(*seed).or_insert_with(Instant::now);
        }
        let every = if self.bar.is_some() { BAR_EVERY } else { LINE_EVERY };
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        match &self.bar {
            Some(bar) => {
                bar.set_position(report.seeds_run);
                bar.set_message(self.message(report));
            }
            None => remark(&self.line(report)),
        }
    }

    /// Says something else, above the bar.
    pub(crate) fn remark(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| remark(text)),
            None => remark(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, report: &Report) -> String {
        let seeds = match self.seeds {
            Some(seeds) => format!("{} of {}", grouped(report.seeds_run), counted(seeds, "seed")),
            None => counted(report.seeds_run, "seed"),
        };
        format!("{seeds}, {}", self.message(report))
    }

    fn message(&self, report: &Report) -> String {
        let elapsed_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let speed = rate(per_second_milli(report.seeds_run, elapsed_ns));
        let mut text = format!("{} failed, {speed} a second, {}", grouped(report.seeds_failed), duration(elapsed_ns));
        if let Some(limit) = self.limit {
            text.push_str(&format!(" of {}", duration(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))));
        }
        let longest = self.since.iter().min_by_key(|(_, since)| **since);
        if let Some((seed, since)) = longest.filter(|(_, since)| since.elapsed() >= LONG) {
            let ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            text.push_str(&format!("; seed {seed} has been at hand for {}", duration(ns)));
        }
        text
    }
}

fn bar(seeds: Option<u64>) -> ProgressBar {
    let (bar, template) = match seeds {
        Some(seeds) => (ProgressBar::new(seeds), "{bar:32} {human_pos} of {human_len} seeds, {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {human_pos} seeds, {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(ProgressStyle::with_template(template).expect("the templates above are well formed"));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let progress = Progress::new(Some(20_000), None);
        let line = progress.line(&Report::new(0));
        assert!(line.starts_with("0 of 20,000 seeds, 0 failed, 0.0 a second, "), "{line}");
        let timed = Progress::new(None, Some(Duration::from_secs(90)));
        let line = timed.line(&Report::new(0));
        assert!(line.starts_with("0 seeds, ") && line.ends_with(" of 1 min 30 s"), "{line}");
    }

    #[test]
    fn a_seed_that_is_at_hand_for_long_is_named_as_long_as_it_is() {
        let mut progress = Progress::new(Some(20_000), None);
        progress.update(&Report::new(0), &[3, 8, 9]);
        assert!(!progress.line(&Report::new(0)).contains("at hand"), "hardly begun");
        let long_ago = Instant::now().checked_sub(Duration::from_secs(12)).expect("the machine is up for longer");
        *progress.since.get_mut(&8).expect("it is at hand") = long_ago;
        let line = progress.line(&Report::new(0));
        assert!(line.contains("; seed 8 has been at hand for 12"), "{line}");
        progress.update(&Report::new(0), &[3, 9, 10]);
        assert!(!progress.line(&Report::new(0)).contains("at hand"), "it came to its end");
    }
}
