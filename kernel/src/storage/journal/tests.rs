//! What the bytes of either ring are taken for.

use super::*;
use crate::{
    types::{Op, View},
    wire::Command,
};

const CLUSTER: ClusterId = ClusterId(7);
const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };

fn prepare(op: u64, body: &[u8]) -> Header {
    Header { op: Op(op), ..Header::new(CLUSTER, Command::Prepare, 0, View(1)) }.sealed(body)
}

fn slot_of(header: &Header, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&header.encode()[..], body].concat();
    bytes.resize(8192, 0xee);
    bytes
}

fn entry(header: &Header, slot: u32) -> HeaderRead {
    parse_header_entry(&ring_entry(&header.encode()), slot, &LAYOUT, CLUSTER)
}

#[test]
fn an_entry_is_valid_in_its_own_slot_in_every_lap() {
    for op in [1, 5, 63, 64, 69, 64_000_005, u64::MAX] {
        let header = prepare(op, b"body");
        let slot = LAYOUT.slot(Op(op));
        assert_eq!(entry(&header, slot), HeaderRead::Valid(header));
        assert_eq!(parse_prepare(&slot_of(&header, b"body"), slot, &LAYOUT, CLUSTER), PrepareRead::Valid(header));
    }
}

#[test]
fn what_belongs_elsewhere_is_misdirected_however_sound() {
    let header = prepare(5, b"body");
    let bytes = slot_of(&header, b"body");
    for slot in (0..64).filter(|slot| *slot != 5) {
        assert_eq!(entry(&header, slot), HeaderRead::Misdirected);
        assert_eq!(parse_prepare(&bytes, slot, &LAYOUT, CLUSTER), PrepareRead::Misdirected);
    }
    let elsewhere = ClusterId(8);
    assert_eq!(parse_header_entry(&ring_entry(&header.encode()), 5, &LAYOUT, elsewhere), HeaderRead::Misdirected);
    assert_eq!(parse_prepare(&bytes, 5, &LAYOUT, elsewhere), PrepareRead::Misdirected);
}

#[test]
fn zeros_are_empty_and_nothing_else_is() {
    assert_eq!(parse_header_entry(&[0; 128], 5, &LAYOUT, CLUSTER), HeaderRead::Empty);
    assert_eq!(parse_prepare(&[0; 8192], 5, &LAYOUT, CLUSTER), PrepareRead::Empty);
    let mut behind = [0; 8192];
    behind[4096] = 1;
    assert_eq!(parse_prepare(&behind, 5, &LAYOUT, CLUSTER), PrepareRead::Empty, "its first sector was never written");
    for bit in 0..128 * 8 {
        let mut entry = [0; 128];
        entry[bit / 8] = 1 << (bit % 8);
        assert_eq!(parse_header_entry(&entry, 5, &LAYOUT, CLUSTER), HeaderRead::Corrupt);
    }
    for byte in 0..4096 {
        let mut slot = [0; 8192];
        slot[byte] = 1;
        assert_eq!(parse_prepare(&slot, 5, &LAYOUT, CLUSTER), PrepareRead::Corrupt, "byte {byte}");
    }
}

#[test]
fn every_single_flipped_bit_of_an_entry_and_of_a_prepare_is_found() {
    let header = prepare(5, b"a body");
    for bit in 0..128 * 8 {
        let mut entry = ring_entry(&header.encode());
        entry[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(parse_header_entry(&entry, 5, &LAYOUT, CLUSTER), HeaderRead::Corrupt, "bit {bit}");
    }
    let slot = slot_of(&header, b"a body");
    for bit in 0..134 * 8 {
        let mut damaged = slot.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(parse_prepare(&damaged, 5, &LAYOUT, CLUSTER), PrepareRead::Corrupt, "bit {bit}");
    }
    let mut damaged = slot;
    damaged[134..].fill(0x11);
    assert_eq!(parse_prepare(&damaged, 5, &LAYOUT, CLUSTER), PrepareRead::Valid(header), "behind it lies anything");
}

#[test]
fn a_prepare_that_was_read_in_part_is_corrupt() {
    let body = [3; 5000];
    let header = prepare(5, &body);
    let slot = slot_of(&header, &body);
    assert_eq!(parse_prepare(&slot, 5, &LAYOUT, CLUSTER), PrepareRead::Valid(header));
    assert_eq!(parse_prepare(&slot[..4096], 5, &LAYOUT, CLUSTER), PrepareRead::Corrupt);
    assert_eq!(parse_prepare(&slot[..5127], 5, &LAYOUT, CLUSTER), PrepareRead::Corrupt);
    assert_eq!(parse_prepare(&slot[..5128], 5, &LAYOUT, CLUSTER), PrepareRead::Valid(header));
}

#[test]
fn what_can_be_in_no_log_is_corrupt_however_sound() {
    let ok = Header { command: Command::PrepareOk, ..prepare(5, &[]) }.sealed(&[]);
    let root = prepare(0, b"not the root");
    let large = prepare(5, &[0; 8192]);
    for (header, slot) in [(ok, 5), (root, 0), (large, 5)] {
        assert_eq!(entry(&header, slot), HeaderRead::Corrupt, "{header:?}");
        assert_eq!(parse_prepare(&slot_of(&header, &[]), slot, &LAYOUT, CLUSTER), PrepareRead::Corrupt);
    }
    let root = Header::root(CLUSTER);
    assert_eq!(entry(&root, 0), HeaderRead::Valid(root));
    assert_eq!(parse_prepare(&slot_of(&root, &[]), 0, &LAYOUT, CLUSTER), PrepareRead::Valid(root));
}

#[test]
fn a_sector_of_the_ring_reads_back_as_it_was_written() {
    let mut entries = [RingEntry::Empty; 32];
    entries[1] = RingEntry::Header(prepare(97, b"x"));
    entries[7] = RingEntry::Unreadable;
    entries[31] = RingEntry::Header(prepare(63, b"y"));
    let mut ring = HeaderRing::default();
    for (slot, entry) in (32..).zip(&entries) {
        ring.set(slot, entry);
    }
    for (slot, (bytes, entry)) in (32..).zip(ring.sector(1).chunks_exact(128).zip(entries)) {
        let read = parse_header_entry(bytes, slot, &LAYOUT, CLUSTER);
        assert_eq!(RingEntry::from(read), entry, "slot {slot}");
    }
    assert_eq!(ring.sector(1).len(), SECTOR_SIZE);
    ring.set(63, &RingEntry::Empty);
    assert_eq!(ring.sector(1).len(), 8 * 128, "up to the last entry");
    assert_eq!(ring.sector(0), [0; 128]);
}

#[test]
fn an_entry_that_could_not_be_read_is_not_to_be_read_after_its_sector_was_rewritten() {
    let mut ring = HeaderRing::default();
    for slot in 0..32 {
        ring.set(slot, &RingEntry::from(HeaderRead::Corrupt));
    }
    for (slot, bytes) in (0..).zip(ring.sector(0).chunks_exact(128)) {
        assert_eq!(parse_header_entry(bytes, slot, &LAYOUT, CLUSTER), HeaderRead::Corrupt);
    }
    assert_eq!(RingEntry::from(HeaderRead::Misdirected), RingEntry::Unreadable);
}

#[test]
#[should_panic(expected = "a header is written to its own slot")]
fn a_header_is_never_written_to_another_s_slot() {
    HeaderRing::default().set(2, &RingEntry::Header(prepare(97, b"x")));
}

#[test]
fn an_entry_is_never_taken_for_a_prepare_nor_a_prepare_for_an_entry() {
    // The first slot of its sector, which has no other entry: with the zeros behind it, it would be the beginning of a torn one.
    let header = prepare(32, b"a body");
    let mut ring = HeaderRing::default();
    ring.set(32, &RingEntry::Header(header));
    let mut slot = ring.sector(1).to_vec();
    slot.resize(8192, 0);
    assert_eq!(parse_prepare(&slot, 32, &LAYOUT, CLUSTER), PrepareRead::Misdirected);
    assert_eq!(parse_header_entry(&header.encode(), 32, &LAYOUT, CLUSTER), HeaderRead::Corrupt);
    let mut torn = slot_of(&header, b"a body");
    torn[HEADER_SIZE..].fill(0);
    assert_eq!(parse_prepare(&torn, 32, &LAYOUT, CLUSTER), PrepareRead::Corrupt);
}
