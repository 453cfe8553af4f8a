//! What a crash leaves.
//!
//! Two crashes are told apart. After a *power cut* every speculative sector has become something, for certain. After the
//! *death of the process alone* what completed is still readable and still speculative: a later power cut may lose it,
//! unless the next life issues a barrier (and, for what a failed barrier left behind, writes it again).

use chronon::env::DiskOperation;

use super::{
    SimDisk,
    medium::{Content, SECTOR, sectors_of},
    speculation::{Landing, Version},
    streams::{Purpose, Streams},
    tear::tear,
};

/// What died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashKind {
    /// The machine: all that was speculative is kept, lost or torn.
    PowerCut,
    /// The process: what had completed stays readable and speculative.
    ProcessKill,
}

/// The odds that a sector is kept, lost or torn, one row for a whole crash. Rows without a choice are there because the
/// extremes find what an even mix rarely shows: everything there, nothing there, all but one.
const ODDS: [[u32; 3]; 6] = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 1, 1], [8, 1, 1], [1, 8, 1]];

/// What becomes of one sector.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

impl Fate {
    fn draw(odds: &[u32; 3], streams: &mut Streams) -> Self {
        [Self::Kept, Self::Lost, Self::Torn][streams.of(Purpose::Crash).weighted(odds)]
    }
}

impl SimDisk {
    /// A crash of either kind, mostly a power cut. Operations in flight never complete.
    pub fn crash(&mut self) -> CrashKind {
        let kind = if self.streams.of(Purpose::Crash).below(4) == 0 {
            self.kill_process();
            CrashKind::ProcessKill
        } else {
            self.cut_power();
            CrashKind::PowerCut
        };
        self.counters.crashes += 1;
        kind
    }

    /// Every speculative sector, those of writes in flight among them, is kept, lost or torn, each on its own, and certain
    /// from then on.
    pub fn cut_power(&mut self) {
        self.each_in_flight(|disk, _, sector, content| {
            disk.completed += 1;
            let version = Version { content, completed: disk.completed, doubt: None, torn: false };
            disk.speculation.push(sector, version);
        });
        let speculative = self.speculation.take_all();
        if speculative.is_empty() {
            return;
        }
        let odds = *self.streams.of(Purpose::Crash).pick(&ODDS);
        for (sector, mut versions) in speculative {
            match Fate::draw(&odds, &mut self.streams) {
                Fate::Lost => {}
                Fate::Kept => {
                    let place = self.streams.of(Purpose::Crash).below(versions.len() as u64);
                    let version = versions.swap_remove(place as usize);
                    self.medium.set(sector, version.content, version.completed);
                }
                Fate::Torn => {
                    let mut bytes = self.medium.content(sector).to_vec();
                    for version in &versions {
                        tear(&mut bytes, &version.content.to_vec(), self.streams.of(Purpose::Crash));
                    }
                    self.medium.alter(sector, Content::new(bytes));
                }
            }
        }
    }

    /// The process dies and the machine lives on: completed writes stay as they are, readable and speculative; writes in
    /// flight reach each of their sectors, or do not, or in part.
    pub fn kill_process(&mut self) {
        if self.in_flight.writes() == 0 {
            self.in_flight.take_all();
            return;
        }
        let odds = *self.streams.of(Purpose::Crash).pick(&ODDS);
        self.each_in_flight(|disk, submitted, sector, content| {
            let (content, torn) = match Fate::draw(&odds, &mut disk.streams) {
                Fate::Lost => return,
                Fate::Kept => (content, false),
                Fate::Torn => match disk.torn_over_newest(sector, &content, Purpose::Crash) {
                    Some(content) => (content, true),
                    None => return,
                },
            };
            disk.completed += 1;
            let landing = Landing { content, submitted, completed: disk.completed, durable: false, torn };
            disk.speculation.land(&mut disk.medium, &mut disk.streams, sector, landing);
        });
    }

    /// A part of `content` over what reads see of `sector`; none if that cannot be read.
    pub(super) fn torn_over_newest(&mut self, sector: u64, content: &Content, purpose: Purpose) -> Option<Content> {
        let mut bytes = self.newest(sector)?.to_vec();
        tear(&mut bytes, &content.to_vec(), self.streams.of(purpose));
        Some(Content::new(bytes))
    }

    /// Takes every operation out of flight, in any order, and hands over what each write would have put into each sector,
    /// with the number of writes that had completed when it was submitted.
    fn each_in_flight(&mut self, mut act: impl FnMut(&mut Self, u64, u64, Content)) {
        let mut flights = self.in_flight.take_all();
        if flights.len() > 1 {
            self.streams.of(Purpose::Crash).shuffle(&mut flights);
        }
        for flight in flights {
            let DiskOperation::Write { offset, data, .. } = flight.operation else { continue };
            for place in 0..sectors_of(&data) {
                act(self, flight.submitted, offset / SECTOR + place, Content::of(&data, place));
            }
        }
    }
}
