//! Four copies: every combination of what they can hold, and every way to be interrupted.

use std::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec,
    vec::Vec,
};

use super::{
    super::tests::{resealed, superblock},
    *,
};
use crate::{storage::superblock::FORMAT_VERSION, types::View};

/// The four values of these tests: 4, its successor 5, another successor 5, and the first one's successor 6.
fn values() -> [Superblock; 4] {
    let old = Superblock { sequence: 4, ..superblock(2) };
    let new = Superblock { view: View(u64::MAX - 2), ..old.successor() };
    let fork = Superblock { view: View(u64::MAX - 1), ..old.successor() };
    let newer = Superblock { view: View(u64::MAX), ..new.successor() };
    [old, new, fork, newer]
}

/// What a copy of these tests holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Unreadable,
    Zeros,
    Noise,
    /// A sound copy of `new`, of another number.
    Misdirected,
    /// One of [`values`].
    Value(usize),
}

const HELD: [Held; 8] = [
    Held::Unreadable,
    Held::Zeros,
    Held::Noise,
    Held::Misdirected,
    Held::Value(0),
    Held::Value(1),
    Held::Value(2),
    Held::Value(3),
];

#[test]
fn open_takes_the_highest_pair_over_all_combinations_of_copies() {
    let values = values();
    let bytes_of = |held: Held, copy: u8| match held {
        Held::Unreadable => None,
        Held::Zeros => Some(vec![0; 8192]),
        Held::Noise => Some(vec![0x5a; 8192]),
        Held::Misdirected => Some(values[1].encode((copy + 1) % 4)),
        Held::Value(value) => Some(values[value].encode(copy)),
    };
    let bytes: Vec<Vec<Option<Vec<u8>>>> =
        HELD.iter().map(|held| (0..4).map(|copy| bytes_of(*held, copy)).collect()).collect();
    let mut outcomes = BTreeSet::new();
    for combination in 0..8_usize.pow(4) {
        let index = |copy: usize| combination / 8_usize.pow(copy as u32) % 8;
        let held = [0, 1, 2, 3].map(|copy| HELD[index(copy)]);
        let opened = Superblock::open([0, 1, 2, 3].map(|copy| bytes[index(copy)][copy].as_deref()));
        let is_pair = |value: usize| held.iter().filter(|other| **other == Held::Value(value)).count() >= 2;
        // Written out as the rule says it, from the highest sequence down.
        let (name, expected) = match (is_pair(3), is_pair(2), is_pair(1), is_pair(0)) {
            (true, true, _, _) => ("forked", Err(OpenError::Forked { sequence: 6 })),
            (true, false, _, _) => ("newer", Ok(values[3].clone())),
            (false, true, true, _) => ("forked", Err(OpenError::Forked { sequence: 5 })),
            (false, true, false, _) => ("fork", Ok(values[2].clone())),
            (false, false, true, _) => ("new", Ok(values[1].clone())),
            (false, false, false, true) => ("old", Ok(values[0].clone())),
            (false, false, false, false) if held == [Held::Zeros; 4] => ("blank", Err(OpenError::Blank)),
            (false, false, false, false) => ("lost", Err(OpenError::Lost)),
        };
        assert_eq!(opened, expected, "{held:?}");
        outcomes.insert(name);
    }
    assert!(outcomes.into_iter().eq(["blank", "fork", "forked", "lost", "new", "newer", "old"]), "all are reached");
}

#[test]
fn one_sound_copy_of_a_later_format_forbids_to_go_back_to_an_older_pair() {
    let old = &values()[0];
    let mut later = old.successor().encode(0);
    let version = FORMAT_VERSION + 1;
    later[72..76].copy_from_slice(&version.to_le_bytes());
    let later = resealed(later);
    let copies = [1, 2, 3].map(|copy| old.encode(copy));
    let copies = [Some(&later[..]), Some(&copies[0][..]), Some(&copies[1][..]), Some(&copies[2][..])];
    assert_eq!(Superblock::open(copies), Err(OpenError::Version(version)));
    assert_eq!(recover(copies).map(|found| found.phases), Err(OpenError::Version(version)));
}

#[test]
fn every_crash_point_of_an_update_opens_to_the_old_or_the_new_value() {
    let [old, new, ..] = values();
    let (old_bytes, new_bytes) = ([0, 1, 2, 3].map(|copy| old.encode(copy)), [0, 1, 2, 3].map(|copy| new.encode(copy)));
    // Each of a copy's two sectors: as it was, as it is to be, a mixture, noise.
    let torn = |copy: usize, states: usize| {
        let mut bytes = old_bytes[copy].clone();
        for (sector, state) in [states % 4, states / 4].into_iter().enumerate() {
            let range = sector * 4096..(sector + 1) * 4096;
            match state {
                0 => {}
                1 => bytes[range.clone()].copy_from_slice(&new_bytes[copy][range]),
                2 => bytes[range.start..range.start + 90]
                    .copy_from_slice(&new_bytes[copy][range.start..range.start + 90]),
                _ => bytes[range].fill(0xee),
            }
        }
        bytes
    };
    let mut seen = BTreeSet::new();
    for states in 0..256 {
        let (first, second) = (states % 16, states / 16);
        let (a, b) = (torn(0, first), torn(1, second));
        let open = [&a, &b, &old_bytes[2], &old_bytes[3]].map(|bytes| Some(&bytes[..]));
        let opened = Superblock::open(open).expect("the first phase leaves the second pair alone");
        assert!(opened == old || opened == new);
        seen.insert((1, opened.sequence));
        let (c, d) = (torn(2, first), torn(3, second));
        let open = [&new_bytes[0], &new_bytes[1], &c, &d].map(|bytes| Some(&bytes[..]));
        assert_eq!(Superblock::open(open).as_ref(), Ok(&new), "the first phase was durable");
        seen.insert((2, new.sequence));
    }
    assert_eq!(seen, BTreeSet::from([(1, 4), (1, 5), (2, 5)]));
}

#[test]
fn the_copies_that_hold_the_value_are_written_first_and_then_the_others() {
    let old = &values()[0];
    let bytes = [0, 1, 2, 3].map(|copy| old.encode(copy));
    for holders in (0..16_u8).filter(|holders| holders.count_ones() >= 2) {
        let holds = |copy: &u8| holders >> copy & 1 == 1;
        let copies = [0, 1, 2, 3].map(|copy| holds(&copy).then_some(&bytes[copy as usize][..]));
        let Restoration { superblock, phases } = recover(copies).expect("two copies are enough");
        assert_eq!(superblock, *old);
        assert!(phases[0].iter().copied().eq((0..4).filter(|copy| holds(copy))), "{holders:04b}");
        assert!(phases[1].iter().copied().eq((0..4).filter(|copy| !holds(copy))), "{holders:04b}");
    }
}

#[test]
fn any_two_damaged_copies_are_restored_through_any_power_cut() {
    let old = &values()[0];
    let mut arena = Arena::new(old);
    for damaged in (0..16_u8).filter(|damaged| damaged.count_ones() <= 2) {
        let mut disk = Disk::formatted();
        for copy in (0..4).filter(|copy| damaged >> copy & 1 == 1) {
            disk.copies[copy] = Copy::certain(TORN);
        }
        let restoration = arena.recover(disk.copies.clone().map(|copy| copy.durable)).clone().expect("two are left");
        assert_eq!(restoration.superblock, *old);
        for (number, phase) in restoration.phases.into_iter().enumerate() {
            for cut in disk.interrupted(phase, 0).iter().flat_map(Disk::after_a_power_cut) {
                let found = arena.recover(cut.copies.map(|copy| copy.durable)).clone();
                assert_eq!(
                    found.map(|found| found.superblock).as_ref(),
                    Ok(old),
                    "{damaged:04b}, cut in phase {number}"
                );
            }
            disk.complete(phase, 0);
        }
        assert_eq!(disk, Disk::formatted(), "all four are restored");
    }
}

/// The discipline as a whole: boots, restorations and updates, each interrupted at any point by a kill, a power cut or a
/// failed barrier, again and again. No open is ever without an answer, and none forgets what was spoken of.
#[test]
fn no_sequence_of_interruptions_loses_the_superblock_or_what_was_spoken_of() {
    let first = Superblock { sequence: 1, ..superblock(1) };
    let mut arena = Arena::new(&first);
    let start = (Disk::formatted(), 0);
    let mut seen = BTreeSet::from([start.clone()]);
    let mut queue = VecDeque::from([(start, 0)]);
    while let Some(((disk, spoken), depth)) = queue.pop_front() {
        for visible in disk.visible() {
            let found = arena.recover(visible).clone();
            let restoration = found.unwrap_or_else(|error| panic!("{error:?}, {visible:?} of {disk:?}"));
            assert!(arena.descends(&restoration.superblock, spoken), "forgot what was spoken of: {disk:?}");
            if depth == DEPTH {
                continue;
            }
            let mut reached = Vec::new();
            let mut restored = disk.clone();
            let id = arena.id(&restoration.superblock);
            for phase in restoration.phases {
                reached.extend(restored.interrupted(phase, id).into_iter().map(|disk| (disk, spoken)));
                restored.complete(phase, id);
            }
            assert_eq!(restored, Disk { copies: [0; 4].map(|_| Copy::certain(id)) }, "all four are restored");
            // Now it speaks, and then writes twice. What it says next may be one thing or another, or the same again
            // after a failed attempt.
            for views in [[1, 1], [1, 2], [2, 1]] {
                let (mut updated, mut spoken) = (restored.clone(), id);
                for views in views {
                    let base = &arena.values[spoken as usize];
                    let next = Superblock { view: View(base.view.0 + views), ..base.successor() };
                    let next = arena.id(&next);
                    for phase in UPDATE_PHASES {
                        reached.extend(updated.interrupted(phase, next).into_iter().map(|disk| (disk, spoken)));
                        updated.complete(phase, next);
                    }
                    spoken = next;
                    reached.push((updated.clone(), spoken));
                }
            }
            for (disk, spoken) in reached {
                for state in disk.after_a_power_cut().into_iter().chain([disk]).map(|disk| (disk, spoken)) {
                    if seen.insert(state.clone()) {
                        queue.push_back((state, depth + 1));
                    }
                }
            }
        }
    }
    assert!(seen.len() > 500, "the search goes somewhere: {}", seen.len());
}

/// How many times in a row the search interrupts.
const DEPTH: u32 = 3;

/// An index into [`Arena::values`], or [`TORN`].
type Id = u16;

/// Bytes that are no copy.
const TORN: Id = Id::MAX;

/// A copy: what is durable of it for certain, and what was written since. Reads may give any of these, and after a power
/// cut it is for certain one of them or a mixture.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Copy {
    durable: Id,
    since: BTreeSet<Id>,
}

impl Copy {
    const fn certain(id: Id) -> Self {
        Self { durable: id, since: BTreeSet::new() }
    }

    /// A mixture of equal bytes is these bytes, so that what was written again as it is adds nothing.
    fn with(&self, id: Id) -> Self {
        let mut copy = self.clone();
        if id != copy.durable {
            copy.since.insert(id);
        }
        copy
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Disk {
    copies: [Copy; 4],
}

impl Disk {
    fn formatted() -> Self {
        Self { copies: [0; 4].map(Copy::certain) }
    }

    /// Everything that the next process may read.
    fn visible(&self) -> Vec<[Id; 4]> {
        self.choices(|copy| copy.since.iter().copied().chain([copy.durable]).collect())
    }

    /// Everything that a power cut may leave.
    fn after_a_power_cut(&self) -> Vec<Self> {
        let left = self.choices(|copy| {
            let torn = if copy.since.is_empty() { None } else { Some(TORN) };
            copy.since.iter().copied().chain([copy.durable]).chain(torn).collect()
        });
        left.into_iter().map(|left| Self { copies: left.map(Copy::certain) }).collect()
    }

    /// One of `of(copy)` for each copy, in every combination.
    fn choices(&self, of: impl Fn(&Copy) -> BTreeSet<Id>) -> Vec<[Id; 4]> {
        let mut choices = vec![[0; 4]];
        for (index, copy) in self.copies.iter().enumerate() {
            let add = |choice: &[Id; 4], id: Id| {
                let mut choice = *choice;
                choice[index] = id;
                choice
            };
            choices = choices.iter().flat_map(|choice| of(copy).into_iter().map(|id| add(choice, id))).collect();
        }
        choices
    }

    /// The barrier after a phase succeeded.
    fn complete(&mut self, phase: &[u8], id: Id) {
        for copy in phase {
            self.copies[*copy as usize] = Copy::certain(id);
        }
    }

    /// Every disk that the end of the process between the first write of `phase` and its barrier's success can leave:
    /// each copy not written, written (with or without a failed barrier), or written in part.
    fn interrupted(&self, phase: &[u8], id: Id) -> Vec<Self> {
        let mut disks = vec![self.clone()];
        for copy in phase {
            let index = *copy as usize;
            let before = &self.copies[index];
            let in_part =
                if before.since.is_empty() && before.durable == id { before.clone() } else { before.with(TORN) };
            let outcomes = BTreeSet::from([before.clone(), before.with(id), in_part]);
            let with = |disk: &Self, outcome: &Copy| {
                let mut disk = disk.clone();
                disk.copies[index] = outcome.clone();
                disk
            };
            disks = disks.iter().flat_map(|disk| outcomes.iter().map(|outcome| with(disk, outcome))).collect();
        }
        disks
    }
}

/// Every superblock of a search, by number, and what was recovered from which.
struct Arena {
    values: Vec<Superblock>,
    sums: Vec<Checksum>,
    bytes: Vec<[Box<[u8]>; 4]>,
    recovered: BTreeMap<[Id; 4], Result<Restoration, OpenError>>,
}

impl Arena {
    fn new(first: &Superblock) -> Self {
        let mut arena = Self { values: Vec::new(), sums: Vec::new(), bytes: Vec::new(), recovered: BTreeMap::new() };
        arena.id(first);
        arena
    }

    fn id(&mut self, superblock: &Superblock) -> Id {
        if let Some(found) = self.values.iter().position(|other| other == superblock) {
            return found as Id;
        }
        let id = self.values.len();
        assert!(id < TORN as usize, "the search stays small");
        self.values.push(superblock.clone());
        self.sums.push(superblock.checksum());
        self.bytes.push([0, 1, 2, 3].map(|copy| superblock.encode(copy).into_boxed_slice()));
        id as Id
    }

    /// Whether `superblock` is `ancestor` or was written after it.
    fn descends(&self, superblock: &Superblock, ancestor: Id) -> bool {
        let ancestor = &self.values[ancestor as usize];
        let mut current = superblock;
        while current.sequence > ancestor.sequence {
            let parent = self.sums.iter().position(|checksum| *checksum == current.parent);
            current = &self.values[parent.expect("what is written follows something that was written")];
        }
        current == ancestor
    }

    fn recover(&mut self, visible: [Id; 4]) -> &Result<Restoration, OpenError> {
        let Self { bytes, recovered, .. } = self;
        recovered.entry(visible).or_insert_with(|| {
            let copy = |copy: usize| match visible[copy] {
                TORN => None,
                id => Some(&*bytes[id as usize][copy]),
            };
            recover([copy(0), copy(1), copy(2), copy(3)])
        })
    }
}
