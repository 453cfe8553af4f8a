//! The failure screen: what was violated, how to see it again, when, after which faults, in which last moments, and where
//! all of it lies. One screen that a newcomer can read aloud.

use chronon_sim::{
    campaign::{self, Panic, SeedFailure},
    simulation::Particular,
    trace::Trace,
};

use crate::{
    choice::Selection,
    number::moment,
    program::Program,
    tell::{Table, Told, shortened},
};

/// How many lines of the schedule are shown.
const SCHEDULE_LINES: usize = 12;

/// How many transitions are shown.
const TRANSITION_LINES: usize = 14;

/// How wide a line of the schedule may be.
const WIDTH: usize = 118;

/// A failure with all that there is to show of it.
pub(crate) struct Screen<'a> {
    pub(crate) program: &'a Program,
    pub(crate) selection: &'a Selection<'a>,
    pub(crate) found: &'a SeedFailure,
    /// The trace, if it was kept.
    pub(crate) trace: Option<&'a [u8]>,
    /// What is known of the run beside its trace.
    pub(crate) particulars: &'a [Particular],
    /// Where the trace lies, or why it does not.
    pub(crate) place: &'a str,
}

/// What to type to see a seed again.
pub(crate) fn command(program: &Program, selection: &Selection<'_>, seed: u64) -> String {
    format!("{} seed {seed}{}", program.command, selection.arguments())
}

impl Screen<'_> {
    pub(crate) fn text(&self) -> String {
        let SeedFailure { seed, failure, .. } = self.found;
        let mut lines =
            vec![format!("{}: {}", failure.verdict.name().to_uppercase(), failure.violation), String::new()];
        let mut row = |name: &str, text: String| lines.push(format!("{name:<10} {text}"));
        row("replay", command(self.program, self.selection, *seed));
        row("build", self.program.build());
        row("when", format!("{} s of virtual time, step {}", moment(failure.at_ns), failure.step));
        let (oracle, place, fingerprint) = (&failure.oracle, &failure.place, failure.fingerprint());
        row("found by", format!("{oracle}: {place} (fingerprint {fingerprint})"));
        self.schedule(&mut lines);
        self.transitions(&mut lines);
        lines.push(format!("{:<10} {}", "trace", self.place));
        lines.join("\n")
    }

    fn schedule(&self, lines: &mut Vec<String>) {
        lines.push(String::new());
        // What failed may be the drawing.
        let drawn = match campaign::caught(|| self.selection.subject.draw(self.found.seed, &self.selection.choice)) {
            Ok(drawn) => drawn,
            Err(Panic { place, message }) => {
                let line = format!(
                    "schedule   none: the seed cannot be drawn, for the simulator panicked at {place}: {message}"
                );
                return lines.extend([shortened(&line, WIDTH), String::new()]);
            }
        };
        if drawn.lines.is_empty() {
            lines.push("schedule   the seed draws no explicit faults".to_owned());
        } else {
            lines.push("schedule   what the seed drew".to_owned());
        }
        for (number, line) in (1..).zip(&drawn.lines).take(SCHEDULE_LINES) {
            lines.push(shortened(&format!("  {number:>3}. {line}"), WIDTH));
        }
        if drawn.lines.len() > SCHEDULE_LINES {
            let more = drawn.lines.len() - SCHEDULE_LINES;
            let command = command(self.program, self.selection, self.found.seed);
            let all =
                drawn.toml.as_ref().map_or(String::new(), |_| format!("; all of them: {command} --schedule FILE.toml"));
            lines.push(format!("       and {more} more{all}"));
        }
        if let Err(why) = &drawn.toml {
            lines.push(shortened(&format!("       it cannot be written to a file: {why}"), WIDTH));
        }
        lines.push(String::new());
    }

    fn transitions(&self, lines: &mut Vec<String>) {
        let told = self.trace.and_then(|bytes| Told::of(&Trace::parse(bytes).ok()?, self.particulars).ok());
        let Some(told) = told else { return };
        let table = Table::of(&told);
        let first = table.lines.len().saturating_sub(TRANSITION_LINES);
        lines.push(format!("last transitions\n{}", table.head));
        lines.extend_from_slice(&table.lines[first..]);
        lines.push(String::new());
    }
}
