//! Channels whose effects are not done: told in the log when that begins, ever more seldom while it goes on, and when it is over.
//!
//! Invariant: what is kept is bounded as the tally is, and what is told by the clock: however many effects fail, and whether or not others
//! are done between them, of a group there are two lines in [`QUIET`] at most.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::tally::Group;

/// How long a group that was told of is not told of again.
const QUIET: Duration = Duration::from_secs(10);

/// How much of an error's words is kept, in bytes.
const WORDS_MAX: usize = 80;

/// Those that fail, by where their orders went.
#[derive(Clone, Default, Debug)]
pub struct Troubles {
    groups: BTreeMap<Group, Trouble>,
}

#[derive(Clone, Default, Debug)]
struct Trouble {
    /// Since the last that was done.
    failures: u64,
    /// How many there must be before it is told: ten times as many each time.
    tell_at: u64,
    /// Whether the log says that it fails.
    is_told: bool,
    told: Option<Instant>,
    last: String,
}

/// What is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Fails { times: u64 },
    WorksAgain { after: u64 },
}

impl Troubles {
    /// The last error of those of a group, if the last attempt there came to one.
    pub fn last(&self, group: Group) -> Option<&str> {
        self.groups.get(&group).filter(|trouble| trouble.failures > 0).map(|trouble| trouble.last.as_str())
    }

    /// An attempt came to an error, in words.
    pub(super) fn failed(&mut self, group: Group, words: &str) {
        let trouble = self.groups.entry(group).or_default();
        let told = trouble.failed(words, Instant::now());
        say(group, &trouble.last, told);
    }

    /// An effect was done.
    pub(super) fn worked(&mut self, group: Group) {
        if let Some(trouble) = self.groups.get_mut(&group) {
            let told = trouble.worked();
            say(group, &trouble.last, told);
        }
    }
}

fn say(group: Group, error: &str, told: Option<Told>) {
    match told {
        None => {}
        Some(Told::Fails { times }) => tracing::warn!(channel = %group, times, "effects are not done: {error}"),
        Some(Told::WorksAgain { after }) => {
            tracing::info!(channel = %group, failures = after, "effects are done again")
        }
    }
}

impl Trouble {
    fn failed(&mut self, words: &str, now: Instant) -> Option<Told> {
        self.failures += 1;
        self.last.clear();
        // What a sink says may be anything, and goes to a terminal and into a frame.
        self.last.extend(words.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.last.truncate(self.last.floor_char_boundary(WORDS_MAX));
        let is_quiet = self.told.is_some_and(|told| now.saturating_duration_since(told) < QUIET);
        if self.failures < self.tell_at || is_quiet {
            return None;
        }
        (self.is_told, self.told) = (true, Some(now));
        self.tell_at = self.tell_at.max(1);
        while self.tell_at <= self.failures {
            self.tell_at = self.tell_at.saturating_mul(10);
        }
        Some(Told::Fails { times: self.failures })
    }

    fn worked(&mut self) -> Option<Told> {
        let after = std::mem::take(&mut self.failures);
        self.tell_at = 0;
        std::mem::take(&mut self.is_told).then_some(Told::WorksAgain { after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_when_it_begins_ever_more_seldom_and_when_it_is_over() {
        let (mut trouble, mut now) = (Trouble::default(), Instant::now());
        let mut told = Vec::new();
        for _ in 0..2_500 {
            now += QUIET;
            told.extend(trouble.failed("the service is away", now));
        }
        assert_eq!(told, [1, 10, 100, 1_000].map(|times| Told::Fails { times }));
        assert_eq!(trouble.worked(), Some(Told::WorksAgain { after: 2_500 }));
        assert_eq!(trouble.worked(), None);
        now += QUIET;
        assert_eq!(trouble.failed("the service is away", now), Some(Told::Fails { times: 1 }));
    }

    #[test]
    fn what_fails_every_other_time_is_told_by_the_clock() {
        let (mut trouble, mut now) = (Trouble::default(), Instant::now());
        let mut lines = 0;
        for _ in 0..1_000 {
            lines += usize::from(trouble.failed("no", now).is_some()) + usize::from(trouble.worked().is_some());
            now += QUIET / 100;
        }
        assert_eq!(lines, 20, "ten times as long as it is quiet");
    }

    #[test]
    fn what_fails_so_fast_that_it_was_just_told_is_told_later() {
        let (mut trouble, now) = (Trouble::default(), Instant::now());
        assert_eq!(trouble.failed("no", now), Some(Told::Fails { times: 1 }));
        assert!((0..5_000).all(|_| trouble.failed("no", now).is_none()));
        assert_eq!(trouble.failed("no", now + QUIET), Some(Told::Fails { times: 5_002 }));
    }

    #[test]
    fn the_last_error_is_known_while_it_is_one_and_no_longer_than_there_is_room() {
        let (mut troubles, group) = (Troubles::default(), Group::Others);
        troubles.failed(group, &format!("one\ntwo {}", "ä".repeat(1000)));
        assert!(troubles.last(group).is_some_and(|last| last.starts_with("one two ä") && last.len() <= WORDS_MAX));
        troubles.worked(group);
        assert_eq!(troubles.last(group), None);
    }
}
