//! A campaign under way: what is said and written of it until it ends, and what ends it before its last seed.
//!
//! Whoever reads the report while the campaign runs, or after the program was killed, finds every failure that was known a
//! moment before. Deliberately absent: traces and screens. They take a run each, and come at the end.

use std::{
    collections::BTreeSet,
    path::Path,
    process::exit,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use chronon_sim::{
    campaign::{Campaign, Ended, Report, run_campaign},
    trace::TraceMode,
};

use crate::{
    choice::Selection,
    failure::command,
    file, interruption,
    measure::Stopwatch,
    output::{Status, Trouble},
    program::Program,
    progress::Progress,
    report::{CampaignReport, Circumstances, Ending, FailureReport},
};

/// How often the report is written at most before the end: each time it is written whole.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// How many of the seeds at hand are named when the program does not wait for them.
const NAMED_MAX: usize = 8;

/// The report file, if one is wanted, and what stands in it beside the seeds.
pub(crate) struct Record<'a> {
    pub(crate) program: &'a Program,
    pub(crate) path: Option<&'a Path>,
    pub(crate) at: Circumstances,
}

impl Record<'_> {
    /// States how the campaign stands, and what it has cost so far.
    fn mark(&mut self, ending: Ending, stopwatch: &Stopwatch) {
        (self.at.ending, self.at.cpu_ns, self.at.wall_ns) = (ending, stopwatch.cpu_ns(), stopwatch.wall_ns());
    }

    pub(crate) fn write(&self, report: &Report, failures: Vec<FailureReport>) -> Result<(), Trouble> {
        let Some(path) = self.path else { return Ok(()) };
        file::write_whole(path, &CampaignReport::new(self.program, report, &self.at, failures).to_json())
    }
}

/// Runs the campaign, with progress, until it ends or its time does or somebody interrupts it.
pub(crate) fn conduct(
    campaign: &Campaign,
    selection: &Selection<'_>,
    mut progress: Progress,
    limit: Option<Duration>,
    record: &mut Record<'_>,
) -> Report {
    let stop = AtomicBool::new(false);
    let attention = interruption::heed();
    let run = |seed| selection.subject.run(seed, &selection.choice, TraceMode::Digest);
    let mut watch = Watch {
        selection,
        record: &mut *record,
        stopwatch: Stopwatch::start(),
        goes_on: campaign.failures_max > 1,
        kinds: BTreeSet::new(),
        told: 0,
        written: 0,
        written_at: None,
        has_said: false,
    };
    let report = run_campaign(campaign, &run, &stop, |report, at_hand| {
        progress.update(report, at_hand);
        watch.look(report, at_hand, &progress);
        // By the clock that the report is written by: one that ended because its time was over was as long, as it says.
        let is_over = limit.is_some_and(|limit| u128::from(watch.stopwatch.wall_ns()) >= limit.as_nanos());
        stop.store(is_over || interruption::is_wanted(), Ordering::Relaxed);
    });
    drop(attention);
    progress.finish();
    let ending = match report.ended {
        Ended::Complete => Ending::Complete,
        Ended::Failures => Ending::Failures,
        Ended::Running | Ended::Stopped if interruption::is_wanted() => Ending::Interrupted,
        Ended::Running | Ended::Stopped => Ending::Time,
    };
    let stopwatch = watch.stopwatch;
    record.mark(ending, &stopwatch);
    report
}

/// Whoever looks at a campaign several times a second.
struct Watch<'a, 'b> {
    selection: &'a Selection<'a>,
    record: &'a mut Record<'b>,
    stopwatch: Stopwatch,
    /// Whether it goes on after a failure. If not, that is on the screen soon.
    goes_on: bool,
    /// The fingerprints of the failures that were told.
    kinds: BTreeSet<String>,
    /// How many failures were told, if they were of a new kind.
    told: usize,
    /// How many failures the report file has.
    written: usize,
    written_at: Option<Instant>,
    has_said: bool,
}

impl Watch<'_, '_> {
    fn look(&mut self, report: &Report, at_hand: &[u64], progress: &Progress) {
        let is_time = self.written_at.is_none_or(|at| at.elapsed() >= WRITE_EVERY);
        if report.failures.len() > self.written && is_time {
            self.write(report, Ending::Running, progress);
        }
        self.tell_failures(report, progress);
        if interruption::is_urgent() {
            self.end_at_once(report, at_hand, progress);
        }
        if interruption::is_wanted() && !self.has_said {
            self.has_said = true;
            progress.remark(
                "interrupted: the seeds at hand are finished, then the report is written; again writes it and ends at once",
            );
        }
    }

    /// The first failure of each kind in a line.
    fn tell_failures(&mut self, report: &Report, progress: &Progress) {
        for found in report.failures.iter().skip(self.told) {
            if self.goes_on && self.kinds.insert(found.failure.fingerprint()) {
                let command = command(self.record.program, self.selection, found.seed);
                progress.remark(&format!("seed {} failed: {}; {command}", found.seed, found.failure.violation));
            }
        }
        self.told = report.failures.len();
    }

    /// Writes what is known. Where that fails, the campaign goes on: it is tried again, at the end at the latest.
    fn write(&mut self, report: &Report, ending: Ending, progress: &Progress) {
        self.record.mark(ending, &self.stopwatch);
        let (program, selection) = (self.record.program, self.selection);
        let failures = report.failures.iter().map(|found| FailureReport::of(program, selection, found, None)).collect();
        if let Err(trouble) = self.record.write(report, failures) {
            progress.remark(&format!("{}: {trouble}", program.name));
        }
        (self.written, self.written_at) = (report.failures.len(), Some(Instant::now()));
    }

    #[expect(clippy::disallowed_methods, reason = "a seed that never returns holds the campaign, and with it `main`")]
    fn end_at_once(&mut self, report: &Report, at_hand: &[u64], progress: &Progress) -> ! {
        self.write(report, Ending::Interrupted, progress);
        progress.remark(&format!("interrupted again: ended at once{}", left(at_hand)));
        exit(Status::Interrupted as i32);
    }
}

/// Which seeds were not waited for: one of them may never come to an end.
fn left(at_hand: &[u64]) -> String {
    let named: Vec<String> = at_hand.iter().take(NAMED_MAX).map(u64::to_string).collect();
    match (named.len(), at_hand.len() - named.len()) {
        (0, _) => String::new(),
        (1, _) => format!("; seed {} was at hand", named[0]),
        (_, 0) => format!("; seeds {} were at hand", named.join(", ")),
        (_, more) => format!("; seeds {} and {more} more were at hand", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_that_were_not_waited_for_are_named() {
        assert_eq!(left(&[]), "");
        assert_eq!(left(&[7]), "; seed 7 was at hand");
        assert_eq!(left(&[7, 9]), "; seeds 7, 9 were at hand");
        let many: Vec<u64> = (0..10).collect();
        assert_eq!(left(&many), "; seeds 0, 1, 2, 3, 4, 5, 6, 7 and 2 more were at hand");
    }
}
