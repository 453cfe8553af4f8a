//! Rare paths that whoever runs a replica is to know of, in words for the log: damage, and what is done about it.
//!
//! Each kind is told at once, and what comes after it summed up: after a second, and after twice as long each time while it goes on.
//!
//! Deliberately absent: rare paths that say nothing of data files, disks or members. They are counted in the metrics.

use std::time::{Duration, Instant};

use chronon::{process::ProbeId, vsr::Probe};

/// How long a kind is not told again after it was told; doubles up to the other while it goes on.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(64);

/// How much it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weight {
    /// It went as it should.
    Noted,
    /// Something is wrong with the machine or the set-up.
    Warned,
}

const TOLD: [(Probe, Weight, &str); 16] = [
    (
        Probe::SuperblockTorn,
        Weight::Warned,
        "copies of the superblock differ: what two of them agree on counts, and the others are written anew; unless it was killed while it \
         wrote them, look at the disk",
    ),
    (
        Probe::TornTail,
        Weight::Noted,
        "a prepare was written in part when the replica ended: it was cut, for nobody was given a word on it",
    ),
    (
        Probe::HeaderMissing,
        Weight::Noted,
        "a prepare was written and its header was not, when the replica ended: it counts",
    ),
    (
        Probe::Corrupt,
        Weight::Warned,
        "the journal is damaged where an op may be that was acknowledged: it is fetched from the others; look at the disk",
    ),
    (
        Probe::HeadUncertain,
        Weight::Warned,
        "the journal is damaged so that it is not known how far its log went: the others are asked; look at the disk",
    ),
    (Probe::ReadRetried, Weight::Warned, "a read of the data file failed, and is tried again: look at the disk"),
    (Probe::PrepareRepaired, Weight::Noted, "a prepare that was missing or damaged came from another replica"),
    (
        Probe::ChunkLost,
        Weight::Warned,
        "a block of the checkpoint does not hold what was written there: it is fetched from the others; look at the disk",
    ),
    (Probe::ChunkFetched, Weight::Noted, "a chunk of a checkpoint came from another replica"),
    (Probe::SyncRetargeted, Weight::Noted, "the checkpoint that is fetched was given up for a later one"),
    (Probe::SyncInstalled, Weight::Noted, "a checkpoint of the others was installed in place of ops that were missing"),
    (
        Probe::PrimaryIsolated,
        Weight::Warned,
        "the primary heard from no majority and stood down: look at the network and at the other replicas",
    ),
    (
        Probe::PrimaryDiskBlocked,
        Weight::Warned,
        "the primary stood down because its own disk holds up commits: look at the disk",
    ),
    (
        Probe::OpUndecided,
        Weight::Warned,
        "an op may have been acknowledged, and no replica that answers has it: the view does not start until one has, or until so many say \
         that they never had it that it cannot have been; start the replicas that are down",
    ),
    (
        Probe::StrangerIgnored,
        Weight::Warned,
        "a replica is not heard, for another data file has its place: `status` says who speaks",
    ),
    (Probe::RecoveryAsked, Weight::Noted, "a new data file asks for a lost replica's place"),
];

/// A line of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) weight: Weight,
    pub(crate) words: &'static str,
    /// How often it happened since it was last told.
    pub(crate) times: u64,
}

#[derive(Clone, Copy)]
struct Kind {
    times: u64,
    told: Option<Instant>,
    pause: Duration,
}

/// What is to be told.
pub(crate) struct Telling {
    /// By probe: its place in the table.
    places: Vec<Option<usize>>,
    kinds: [Kind; TOLD.len()],
    /// Whether anything was not told yet.
    waits: bool,
}

impl Telling {
    pub(crate) fn new() -> Self {
        let place = |probe| TOLD.iter().position(|(told, ..)| *told as usize == probe);
        Self {
            places: (0..Probe::NAMES.len()).map(place).collect(),
            kinds: [Kind { times: 0, told: None, pause: PAUSE }; TOLD.len()],
            waits: false,
        }
    }

    /// A rare path was taken.
    pub(crate) fn took(&mut self, probe: ProbeId) {
        if let Some(place) = self.places.get(usize::from(probe.0)).copied().flatten() {
            self.kinds[place].times += 1;
            self.waits = true;
        }
    }

    /// What is to be logged now.
    pub(crate) fn lines(&mut self, now: impl FnOnce() -> Instant) -> Vec<Line> {
        if !self.waits {
            return Vec::new();
        }
        let now = now();
        let mut lines = Vec::new();
        for (kind, (_, weight, words)) in self.kinds.iter_mut().zip(TOLD) {
            let quiet = kind.told.map(|told| now.duration_since(told));
            if kind.times == 0 || quiet.is_some_and(|quiet| quiet < kind.pause) {
                continue;
            }
            let goes_on = quiet.is_some_and(|quiet| quiet < 2 * kind.pause);
            kind.pause = if goes_on { (2 * kind.pause).min(PAUSE_MAX) } else { PAUSE };
            kind.told = Some(now);
            lines.push(Line { weight, words, times: std::mem::take(&mut kind.times) });
        }
        self.waits = self.kinds.iter().any(|kind| kind.times > 0);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rare_is_told_at_once_and_what_goes_on_is_summed_up() {
        let (mut telling, began) = (Telling::new(), Instant::now());
        let mut told = Vec::new();
        // A thousand a second, for a hundred seconds.
        for milliseconds in 0..100_000 {
            telling.took(Probe::ChunkLost.into());
            telling.took(Probe::Applied.into());
            let lines = telling.lines(|| began + Duration::from_millis(milliseconds));
            told.extend(lines.into_iter().map(|line| (milliseconds, line.weight, line.times)));
        }
        let at = |milliseconds, times| (milliseconds, Weight::Warned, times);
        let expected = [
            at(0, 1),
            at(1_000, 1_000),
            at(3_000, 2_000),
            at(7_000, 4_000),
            at(15_000, 8_000),
            at(31_000, 16_000),
            at(63_000, 32_000),
        ];
        assert_eq!(told, expected);
        // What was not told yet is, once nothing more comes; and then another kind is as new as this one after a while.
        let later = began + Duration::from_secs(127);
        assert_eq!(telling.lines(|| later).iter().map(|line| line.times).collect::<Vec<_>>(), [36_999]);
        assert_eq!(telling.lines(|| later), []);
        telling.took(Probe::SyncInstalled.into());
        telling.took(Probe::ChunkLost.into());
        let again = telling.lines(|| later + Duration::from_secs(600));
        assert_eq!(again.iter().map(|line| line.times).collect::<Vec<_>>(), [1, 1]);
        telling.took(Probe::ChunkLost.into());
        assert_eq!(telling.lines(|| later + Duration::from_secs(601)).len(), 1, "a second is enough again");
    }

    #[test]
    fn each_kind_is_told_once_in_words_of_its_own() {
        for (place, (probe, _, words)) in TOLD.iter().enumerate() {
            let others = || TOLD.iter().skip(place + 1);
            assert!(others().all(|(other, _, text)| other != probe && text != words), "{probe:?}");
        }
    }
}
