//! The decision table over all its inputs, and what a power cut at any moment of the discipline leads to.

use std::{collections::BTreeSet, vec, vec::Vec};

use super::*;
use crate::{
    frame::SECTOR_SIZE,
    storage::{
        journal::{HeaderRing, RingEntry, parse_header_entry, parse_prepare},
        layout::{HEADERS_PER_SECTOR, Layout},
    },
    types::{ClusterId, Op, View},
    wire::{Command, HEADER_SIZE},
};

const CLUSTER: ClusterId = ClusterId(7);
const LAYOUT: Layout = Layout { slot_count: 32, message_size_max: 8192, block_count: 64, block_size: 4096 };

/// The slot that everything here happens in.
const SLOT: u32 = 10;

fn prepare(op: u64, view: u64, body: &[u8]) -> Header {
    Header { op: Op(op), ..Header::new(CLUSTER, Command::Prepare, 0, View(view)) }.sealed(body)
}

/// What the prepare ring may hold beside a header of op 42 in view 5.
const PREPARES: [&str; 11] = [
    "empty",
    "corrupt",
    "misdirected",
    "the same",
    "later op",
    "later op, earlier view",
    "same op, later view",
    "earlier op",
    "earlier op, later view",
    "same op, earlier view",
    "same op and view",
];

/// The row that each pair of inputs takes: a line for each state of the header ring, a letter for each of [`PREPARES`].
#[rustfmt::skip]
const ROWS: [(&str, [char; 11]); 4] = [
    //               empty
    //               |    corrupt
    //               |    |    misdirected
    //               |    |    |    the same
    //               |    |    |    |    later op
    //               |    |    |    |    |    later op, earlier view
    //               |    |    |    |    |    |    same op, later view
    //               |    |    |    |    |    |    |    earlier op
    //               |    |    |    |    |    |    |    |    earlier op, later view
    //               |    |    |    |    |    |    |    |    |    same op, earlier view
    //               |    |    |    |    |    |    |    |    |    |    same op and view
    ("empty",       ['A', 'B', 'N', 'C', 'C', 'C', 'C', 'C', 'C', 'C', 'C']),
    ("corrupt",     ['L', 'M', 'M', 'K', 'K', 'K', 'K', 'K', 'K', 'K', 'K']),
    ("misdirected", ['L', 'M', 'M', 'K', 'K', 'K', 'K', 'K', 'K', 'K', 'K']),
    ("valid",       ['J', 'J', 'O', 'D', 'E', 'E', 'F', 'G', 'G', 'H', 'I']),
];

/// What each row concludes: while the header may be wanted, and when it is superseded.
#[rustfmt::skip]
const CONCLUSIONS: [(char, &str, &str); 15] = [
    ('A', "empty",            "empty"),
    ('B', "torn",             "torn"),
    ('C', "present prepare",  "present prepare"),
    ('D', "clean",            "clean"),
    ('E', "present prepare",  "present prepare"),
    ('F', "present prepare",  "present prepare"),
    ('G', "unknown header",   "present prepare"),
    ('H', "unknown header",   "present prepare"),
    ('I', "unknown header",   "unknown header"),
    ('J', "unknown header",   "torn"),
    ('K', "present prepare",  "present prepare"),
    ('L', "unknown",          "unknown"),
    ('M', "unknown",          "unknown"),
    ('N', "unknown",          "unknown"),
    ('O', "unknown header",   "unknown"),
];

#[test]
fn the_table_decides_over_all_its_inputs() {
    let h = prepare(42, 5, b"h");
    let mut taken = BTreeSet::new();
    for (header_name, rows) in ROWS {
        let header = match header_name {
            "empty" => HeaderRead::Empty,
            "corrupt" => HeaderRead::Corrupt,
            "misdirected" => HeaderRead::Misdirected,
            _ => HeaderRead::Valid(h),
        };
        for (prepare_name, row) in PREPARES.into_iter().zip(rows) {
            let p = match prepare_name {
                "the same" => h,
                "later op" => prepare(74, 5, b"p"),
                "later op, earlier view" => prepare(74, 4, b"p"),
                "same op, later view" => prepare(42, 6, b"p"),
                "earlier op" => prepare(10, 5, b"p"),
                "earlier op, later view" => prepare(10, 6, b"p"),
                "same op, earlier view" => prepare(42, 4, b"p"),
                _ => prepare(42, 5, b"p"),
            };
            let read = match prepare_name {
                "empty" => PrepareRead::Empty,
                "corrupt" => PrepareRead::Corrupt,
                "misdirected" => PrepareRead::Misdirected,
                _ => PrepareRead::Valid(p),
            };
            for superseded in [false, true] {
                let (_, wanted, unwanted) =
                    CONCLUSIONS.into_iter().find(|(letter, ..)| *letter == row).expect("every row concludes");
                let slot = match if superseded { unwanted } else { wanted } {
                    "empty" => SlotState::Empty,
                    "torn" => SlotState::Torn,
                    "clean" => SlotState::Clean(h),
                    "present prepare" => SlotState::Present(p),
                    "unknown header" => SlotState::Unknown(Some(h)),
                    _ => SlotState::Unknown(None),
                };
                assert_eq!(
                    decide(&header, &read, superseded),
                    Decision { row, slot },
                    "header {header_name}, prepare {prepare_name}, superseded {superseded}"
                );
                taken.insert(row);
            }
        }
    }
    assert!(taken.into_iter().eq('A'..='O'), "every row is taken");
}

/// A slot's bytes: the header ring's sector and the whole slot of the prepare ring.
#[derive(Clone)]
struct Slot {
    sector: Vec<u8>,
    prepare: Vec<u8>,
}

impl Slot {
    /// A slot in which everything that was ever written is durable: this prepare, and its neighbours in the sector.
    fn holding(held: Option<(Header, &[u8])>) -> Self {
        let mut prepare = vec![0; LAYOUT.message_size_max as usize];
        if let Some((header, body)) = held {
            write(&mut prepare, &frame(&header, body));
        }
        Self { sector: sector(held.map(|(header, _)| header)), prepare }
    }

    fn decide(&self, superseded: bool) -> Decision {
        self.decide_of(SLOT, superseded)
    }

    fn decide_of(&self, slot: u32, superseded: bool) -> Decision {
        let entry = slot as usize * HEADER_SIZE;
        let header = parse_header_entry(&self.sector[entry..entry + HEADER_SIZE], slot, &LAYOUT, CLUSTER);
        let prepare = parse_prepare(&self.prepare, slot, &LAYOUT, CLUSTER);
        decide(&header, &prepare, superseded)
    }
}

/// The header ring's sector with this entry in the slot, and a neighbour on either side.
fn sector(entry: Option<Header>) -> Vec<u8> {
    let mut ring = HeaderRing::default();
    ring.set(SLOT - 1, &RingEntry::Header(prepare(u64::from(SLOT) - 1, 1, b"")));
    ring.set(SLOT, &entry.map_or(RingEntry::Empty, RingEntry::Header));
    ring.set(SLOT + 1, &RingEntry::Header(prepare(u64::from(SLOT) + 1, 1, b"")));
    let mut bytes = ring.sector(SLOT / HEADERS_PER_SECTOR).to_vec();
    bytes.resize(SECTOR_SIZE, 0);
    bytes
}

/// A prepare as it is written: with zeros up to a sector.
fn frame(header: &Header, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&header.encode()[..], body].concat();
    bytes.resize(bytes.len().next_multiple_of(SECTOR_SIZE), 0);
    bytes
}

fn write(place: &mut [u8], bytes: &[u8]) {
    place[..bytes.len()].copy_from_slice(bytes);
}

/// Everything that a power cut can leave of one sector that was being written: the old, the new, or a mixture that
/// changes over at some byte, either way round.
fn cuts(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
    let mut outcomes = vec![old.to_vec(), new.to_vec()];
    for at in [1, 15, 16, 100, 127, 128, 129, 1280, 1281, 1343, 1344, 1345, 1407, 1408, 2048, 4095] {
        outcomes.push([&new[..at], &old[at..]].concat());
        outcomes.push([&old[..at], &new[at..]].concat());
    }
    outcomes
}

#[test]
fn a_power_cut_in_the_discipline_never_makes_the_slot_unknown_nor_a_torn_prepare_present() {
    let new_body = [0xbb; 5000];
    let older = (prepare(10, 1, &[0xaa; 6000]), &[0xaa; 6000][..]);
    let same = (prepare(42, 1, b"short"), &b"short"[..]);
    for (held, superseded) in [(None, false), (Some(older), true), (Some(same), true)] {
        let before = Slot::holding(held);
        let new = prepare(42, 2, &new_body);
        let new_frame = frame(&new, &new_body);
        let mut rows = BTreeSet::new();
        // First the prepare: two sectors, each of which is kept, lost or torn.
        for first in cuts(&before.prepare[..SECTOR_SIZE], &new_frame[..SECTOR_SIZE]) {
            for second in cuts(&before.prepare[SECTOR_SIZE..], &new_frame[SECTOR_SIZE..]) {
                let cut = Slot { prepare: [&first[..], &second].concat(), ..before.clone() };
                let decision = cut.decide(superseded);
                rows.insert(decision.row);
                match decision.slot {
                    SlotState::Empty => assert!(held.is_none()),
                    SlotState::Torn => {}
                    SlotState::Clean(header) => assert_eq!(Some(header), held.map(|(header, _)| header)),
                    SlotState::Present(header) => {
                        assert_eq!(header, new);
                        assert_eq!(cut.prepare[..HEADER_SIZE + 5000], new_frame[..HEADER_SIZE + 5000]);
                    }
                    SlotState::Unknown(_) => panic!("row {}: nothing of it was ever acknowledged", decision.row),
                }
            }
        }
        let expected = if held.is_none() {
            "ABC"
        } else if held == Some(older) {
            "DEJ"
        } else {
            "DFJ"
        };
        assert!(rows.iter().copied().eq(expected.chars()), "{rows:?}");
        // Then, the prepare being durable, its header: one sector, kept, lost or torn.
        let durable = Slot { prepare: new_frame.clone(), ..before };
        let mut rows = BTreeSet::new();
        for cut in cuts(&durable.sector, &sector(Some(new))) {
            let slot = Slot { sector: cut, ..durable.clone() };
            let decision = slot.decide(superseded);
            rows.insert(decision.row);
            assert!(matches!(decision.slot, SlotState::Present(header) | SlotState::Clean(header) if header == new));
            for neighbour in [SLOT - 1, SLOT + 1] {
                let entry = neighbour as usize * HEADER_SIZE;
                let entry = parse_header_entry(&slot.sector[entry..entry + HEADER_SIZE], neighbour, &LAYOUT, CLUSTER);
                assert_eq!(entry, HeaderRead::Valid(prepare(u64::from(neighbour), 1, b"")), "entries tear alone");
            }
        }
        let expected = if held.is_none() {
            "CDK"
        } else if held == Some(older) {
            "DEK"
        } else {
            "DFK"
        };
        assert!(rows.iter().copied().eq(expected.chars()), "{rows:?}");
        // Both are durable: it may be acknowledged, and from here on damage never passes for never having had it.
        let acknowledged = Slot { sector: sector(Some(new)), prepare: new_frame };
        assert_eq!(acknowledged.decide(false).slot, SlotState::Clean(new));
        for (damage_header, damage_prepare) in [(false, true), (true, false), (true, true)] {
            let mut damaged = acknowledged.clone();
            if damage_header {
                damaged.sector[SLOT as usize * HEADER_SIZE + 70] ^= 4;
            }
            if damage_prepare {
                damaged.prepare[3000] ^= 4;
            }
            let slot = damaged.decide(false).slot;
            assert!(matches!(slot, SlotState::Unknown(_) | SlotState::Present(_)), "{slot:?}");
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_its_space_is_used_again() {
    // Scenario 1: the header of the prepare is there, or a part of its payload; nobody was told.
    let torn_body = [0xcc; 5000];
    let torn = prepare(10, 1, &torn_body);
    let whole = frame(&torn, &torn_body);
    for kept in [HEADER_SIZE, 2000, SECTOR_SIZE] {
        let mut slot = Slot::holding(None);
        write(&mut slot.prepare, &whole[..kept]);
        assert_eq!(slot.decide(false), Decision { row: 'B', slot: SlotState::Torn });
        let next = prepare(10, 2, b"next");
        write(&mut slot.prepare, &frame(&next, b"next"));
        slot.sector = sector(Some(next));
        assert_eq!(slot.decide(false).slot, SlotState::Clean(next), "what is left behind it is no part of it");
    }
}

#[test]
fn a_damaged_entry_with_sound_data_around_it_is_repaired_never_cut() {
    // Scenario 2: whatever is damaged, the slot is never empty and never torn.
    let body = [0xdd; 8000];
    let header = prepare(10, 1, &body);
    let sound = Slot::holding(Some((header, &body)));
    for byte in (0..HEADER_SIZE + body.len()).step_by(61) {
        let mut damaged = sound.clone();
        damaged.prepare[byte] ^= 1;
        assert_eq!(damaged.decide(false), Decision { row: 'J', slot: SlotState::Unknown(Some(header)) });
    }
    for byte in 0..HEADER_SIZE {
        let mut damaged = sound.clone();
        damaged.sector[SLOT as usize * HEADER_SIZE + byte] ^= 1;
        assert_eq!(damaged.decide(false), Decision { row: 'K', slot: SlotState::Present(header) });
    }
}

#[test]
fn a_hole_in_acknowledged_data_is_told_from_a_write_that_never_happened() {
    // Scenario 4: zeros, with data behind them.
    let header = prepare(10, 1, b"acknowledged");
    let mut hole = Slot::holding(Some((header, b"acknowledged")));
    hole.prepare.fill(0);
    assert_eq!(hole.decide(false), Decision { row: 'J', slot: SlotState::Unknown(Some(header)) });
    assert_eq!(Slot::holding(None).decide(false), Decision { row: 'A', slot: SlotState::Empty });
}

#[test]
fn a_sound_prepare_in_the_wrong_slot_is_as_corrupt_as_noise() {
    let header = prepare(10, 1, b"mine");
    let sound = Slot::holding(Some((header, b"mine")));
    let stray = prepare(11, 9, b"another's");
    let mut misdirected = sound.clone();
    write(&mut misdirected.prepare, &frame(&stray, b"another's"));
    let mut noise = sound.clone();
    noise.prepare.fill(0x99);
    assert_eq!(misdirected.decide(false).slot, noise.decide(false).slot);
    assert_eq!(misdirected.decide(false).slot, SlotState::Unknown(Some(header)));
    let mut misdirected = sound.clone();
    write(&mut misdirected.sector[SLOT as usize * HEADER_SIZE..], &stray.encode());
    let mut noise = sound;
    noise.sector[SLOT as usize * HEADER_SIZE..][..HEADER_SIZE].fill(0x99);
    assert_eq!(misdirected.decide(false), noise.decide(false));
    assert_eq!(misdirected.decide(false).slot, SlotState::Present(header));
}

#[test]
fn a_sector_of_the_ring_over_a_prepare_is_never_a_torn_one() {
    // The entry was on its way to the ring and landed on the prepare that it names, which was durable and is acknowledged.
    let new = prepare(10, 2, b"acknowledged");
    for held in [None, Some((prepare(10, 1, b"another view's"), &b"another view's"[..]))] {
        let mut slot = Slot::holding(held);
        write(&mut slot.prepare, &sector(Some(new)));
        for superseded in [false, true] {
            assert!(matches!(slot.decide(superseded).slot, SlotState::Unknown(_)), "{:?}", slot.decide(superseded));
        }
    }
}
