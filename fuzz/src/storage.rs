//! What a replica reads from its own disk, which may hold anything.

use chronon::{
    frame::SECTOR_SIZE,
    storage::{
        HeaderRead, Layout, PrepareRead, RingEntry, SlotState, Superblock, decide,
        journal::{HeaderRing, parse_header_entry, parse_prepare, ring_entry},
        layout::HEADERS_PER_SECTOR,
        superblock::{SUPERBLOCK_COPY_SIZE, recover},
    },
    types::Checksum,
    wire::{HEADER_SIZE, Header},
};

use crate::wire::{CLUSTER, reseal_frame};

/// The layout that slots are read by.
pub const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };

/// A slot of the journal: its number, the header that its entry in the header ring is made of, and then its prepare. Each ring's bytes are taken for
/// what they are and nothing better, and the decision follows.
pub fn journal_slot(bytes: &[u8]) {
    let Some((slot, rest)) = bytes.split_first() else { return };
    let slot = u32::from(*slot) % LAYOUT.slot_count;
    let (entry, prepare) = rest.split_at(rest.len().min(HEADER_SIZE));
    let mut entry = entry.to_vec();
    entry.resize(HEADER_SIZE, 0);
    let mut prepare = prepare.to_vec();
    // Longer or shorter than it says, but at least what is read at once.
    prepare.resize(prepare.len().clamp(4096, LAYOUT.message_size_max as usize), 0);
    let mut resealed_entry = entry.clone();
    let checksum = Checksum::of(&resealed_entry[16..]);
    resealed_entry[..16].copy_from_slice(&checksum.0.to_le_bytes());
    let (entry, resealed_entry) = (turned(&entry), turned(&resealed_entry));
    check_slot(slot, &entry, &prepare);
    let mut resealed_prepare = prepare.clone();
    let size = u32::from_le_bytes([48, 49, 50, 51].map(|index| prepare[index])) as usize;
    let end = size.clamp(HEADER_SIZE, prepare.len());
    reseal_frame(&mut resealed_prepare[..end]);
    check_slot(slot, &resealed_entry, &prepare);
    check_slot(slot, &entry, &resealed_prepare);
    check_slot(slot, &resealed_entry, &resealed_prepare);
}

/// As it lies in the ring: zeros stay zeros, which are an entry that was never written.
fn turned(header: &[u8]) -> Vec<u8> {
    match header.first_chunk() {
        Some(bytes) if *bytes != [0; HEADER_SIZE] => ring_entry(bytes).to_vec(),
        _ => header.to_vec(),
    }
}

fn check_slot(slot: u32, entry: &[u8], prepare: &[u8]) {
    let header = parse_header_entry(entry, slot, &LAYOUT, CLUSTER);
    if let HeaderRead::Valid(header) = header {
        check_place(&header, slot);
        assert_eq!(ring_entry(&header.encode()), entry);
    }
    // What was read is written back when a neighbour in the sector changes, and means the same then.
    let mut ring = HeaderRing::default();
    ring.set(slot, &RingEntry::from(header));
    let mut sector = ring.sector(slot / HEADERS_PER_SECTOR).to_vec();
    sector.resize(SECTOR_SIZE, 0);
    let place = (slot % HEADERS_PER_SECTOR) as usize;
    let again = parse_header_entry(&sector[place * HEADER_SIZE..][..HEADER_SIZE], slot, &LAYOUT, CLUSTER);
    assert_eq!(RingEntry::from(again), RingEntry::from(header));
    let read = parse_prepare(prepare, slot, &LAYOUT, CLUSTER);
    if let PrepareRead::Valid(header) = read {
        check_place(&header, slot);
        let body = &prepare[HEADER_SIZE..header.size as usize];
        assert_eq!(header.encode(), prepare[..HEADER_SIZE]);
        assert_eq!(header.sealed(body), header);
    }
    for superseded in [false, true] {
        let decision = decide(&header, &read, superseded);
        assert!(decision.row.is_ascii_uppercase());
        match decision.slot {
            SlotState::Clean(held) => {
                assert_eq!((header, read), (HeaderRead::Valid(held), PrepareRead::Valid(held)));
            }
            SlotState::Present(held) => assert_eq!(read, PrepareRead::Valid(held)),
            // A whole prepare is never cut, and neither is what no power cut leaves.
            SlotState::Torn => assert!(matches!(read, PrepareRead::Empty | PrepareRead::Corrupt)),
            SlotState::Empty => assert_eq!((header, read), (HeaderRead::Empty, PrepareRead::Empty)),
            SlotState::Unknown(named) => {
                let valid = if let HeaderRead::Valid(header) = header { Some(header) } else { None };
                // What went astray may have taken any other with it, where the one that is named is not wanted any more.
                let anything = superseded && read == PrepareRead::Misdirected;
                assert_eq!(named, valid.filter(|_| !anything));
            }
        }
    }
}

fn check_place(header: &Header, slot: u32) {
    assert_eq!(header.cluster, CLUSTER);
    assert_eq!(LAYOUT.slot(header.op), slot);
    assert!(header.is_log_entry());
    assert!(header.size <= LAYOUT.message_size_max);
}

/// A copy of the superblock, with its number before it: an error or a value, and a value encodes to the same bytes. Four
/// copies made of it and of what it leads to are opened, whatever they are.
pub fn superblock(bytes: &[u8]) {
    let Some((copy, rest)) = bytes.split_first() else { return };
    let copy = copy % 4;
    let mut bytes = rest.to_vec();
    bytes.resize(SUPERBLOCK_COPY_SIZE as usize, 0);
    check_copy(&bytes, copy);
    // Its suffix is made of headers, each with a checksum of its own.
    for header in bytes[192..192 + 32 * HEADER_SIZE].as_chunks_mut::<HEADER_SIZE>().0 {
        if *header != [0; HEADER_SIZE] {
            let checksum = Checksum::of(&header[16..]);
            header[..16].copy_from_slice(&checksum.0.to_le_bytes());
        }
    }
    reseal_copy(&mut bytes);
    check_copy(&bytes, copy);
}

/// Puts a copy's two checksums right.
pub fn reseal_copy(bytes: &mut [u8]) {
    let suffix_length = u32::from_le_bytes([32, 33, 34, 35].map(|index| bytes[index]));
    let content = Checksum::of(&bytes[64..192 + suffix_length.min(32) as usize * HEADER_SIZE]);
    bytes[16..32].copy_from_slice(&content.0.to_le_bytes());
    let own = Checksum::of(&bytes[16..64]);
    bytes[..16].copy_from_slice(&own.0.to_le_bytes());
}

fn check_copy(bytes: &[u8], copy: u8) {
    let decoded = Superblock::decode(bytes, copy);
    let alone = [0, 1, 2, 3].map(|other| (other == copy).then_some(bytes));
    assert!(Superblock::open(alone).is_err(), "one copy is never enough");
    let Ok(superblock) = decoded else { return };
    assert_eq!(superblock.encode(copy), bytes, "a superblock encodes to the same bytes");
    let copies = [0, 1, 2, 3].map(|other| superblock.encode(other));
    for other in 0..4 {
        // Two identical copies are enough; any of the others may be damaged.
        if other != copy {
            let pair =
                [0, 1, 2, 3].map(|index| (index == other || index == copy).then_some(&copies[index as usize][..]));
            assert_eq!(Superblock::open(pair).as_ref(), Ok(&superblock));
            let restoration = recover(pair).expect("what opens can be restored");
            assert_eq!(restoration.superblock.identity(), superblock.identity());
            assert!(restoration.superblock.sequence >= superblock.sequence);
        }
    }
}
