//! One copy: byte by byte, bit by bit, and everything that a sound checksum may still hide.

use std::{string::ToString, vec};

use super::*;
use crate::wire::Command;

pub(super) const CLUSTER: ClusterId = ClusterId(0x1112_1314_1516_1718);
pub(super) const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 9, block_size: 4096 };

/// A chain of prepares, ending at `head`.
fn chain(length: u64, head: u64) -> Vec<Header> {
    let mut parent = Checksum(0xabc);
    let mut headers = Vec::new();
    for op in head + 1 - length..=head {
        let prepare = Header::new(CLUSTER, Command::Prepare, 1, View(3));
        let header = Header { op: Op(op), context: parent.0, ..prepare }.sealed(&op.to_le_bytes());
        parent = header.checksum;
        headers.push(header);
    }
    headers
}

/// A superblock in which every field differs from every other.
pub(super) fn superblock(suffix_length: u64) -> Superblock {
    Superblock {
        sequence: 0x2122_2324_2526_2728,
        parent: Checksum(0x3132_3334_3536_3738_393a_3b3c_3d3e_3f40),
        cluster: CLUSTER,
        replica: ReplicaId(2),
        replica_count: 5,
        incarnation: 0x4142_4344_4546_4748_494a_4b4c_4d4e_4f50,
        epoch: Epoch(0x5152_5354),
        view: View(0x6162_6364_6566_6768),
        log_view: View(0x6152_6364_6566_6768),
        commit: CommitIndex(0x7172_7374_7576_7778),
        head: Op(0x8182_8384_8586_8788),
        suffix: chain(suffix_length, 0x8182_8384_8586_8788),
        checkpoint: Checkpoint { header: chain(1, 0x77)[0], root: Checksum(0x1718_191a) },
        vouched: Vouched { op: Op(0x76), root: Checksum(0x1415_1617) },
        members: Members { version: 0xa1a2_a3a4, incarnations: vec![0xb1, 0xb2, 0, 0xb4, 0xb5] },
        recovery: Recovery { is_pending: true, replaces: 0xc1c2_c3c4, votes_from: View(0xd1d2_d3d4) },
        layout: LAYOUT,
        clients_max: 0x9192_9394,
        application: ApplicationName::new("bank-2").expect("it is a name"),
    }
}

fn identity(cluster: ClusterId, replica: u8, replica_count: u8) -> Identity {
    let application = superblock(1).application;
    Identity { cluster, replica: ReplicaId(replica), replica_count, application }
}

/// The bytes of a copy with both checksums made right again.
pub(super) fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let suffix_length = u32::from_le_bytes([bytes[32], bytes[33], bytes[34], bytes[35]]);
    let end = content_end((suffix_length as usize).min(SUFFIX_MAX));
    let content = Checksum::of(&bytes[CONTENT_START..end]);
    bytes[16..32].copy_from_slice(&content.0.to_le_bytes());
    let own = Checksum::of(&bytes[16..CONTENT_START]);
    bytes[..16].copy_from_slice(&own.0.to_le_bytes());
    bytes
}

/// What becomes of a sound copy 0 whose bytes at `offset` were replaced before it was sealed.
fn decode_with(offset: usize, replacement: &[u8]) -> Result<Superblock, SuperblockError> {
    let mut bytes = superblock(3).encode(0);
    bytes[offset..offset + replacement.len()].copy_from_slice(replacement);
    Superblock::decode(&resealed(bytes), 0)
}

#[test]
fn a_superblock_survives_the_disk_with_every_length_of_suffix_in_every_copy() {
    for suffix_length in 1..=SUFFIX_MAX as u64 {
        let superblock = superblock(suffix_length);
        for copy in 0..SUPERBLOCK_COPIES {
            let bytes = superblock.encode(copy);
            assert_eq!(bytes.len(), SUPERBLOCK_COPY_SIZE as usize);
            assert_eq!(Superblock::decode(&bytes, copy).as_ref(), Ok(&superblock));
        }
    }
}

#[test]
fn the_bytes_of_a_copy_never_change() {
    let superblock = superblock(1);
    let bytes = superblock.encode(3);
    assert_eq!(bytes[..16], Checksum::of(&bytes[16..64]).0.to_le_bytes());
    assert_eq!(bytes[16..32], superblock.checksum().0.to_le_bytes());
    assert_eq!(bytes[16..32], Checksum::of(&bytes[64..640]).0.to_le_bytes());
    assert_eq!(bytes[32..36], [1, 0, 0, 0]);
    assert_eq!(bytes[36], 3);
    assert_eq!(bytes[37..64], [0; 27]);
    let mut content = b"CHRONON\0".to_vec();
    content.extend(5_u32.to_le_bytes());
    content.extend(superblock.epoch.0.to_le_bytes());
    content.extend(superblock.sequence.to_le_bytes());
    content.extend(superblock.cluster.0.to_le_bytes());
    content.extend(superblock.parent.0.to_le_bytes());
    content.extend(superblock.incarnation.to_le_bytes());
    content.extend(superblock.view.0.to_le_bytes());
    content.extend(superblock.log_view.0.to_le_bytes());
    content.extend(superblock.commit.0.to_le_bytes());
    content.extend(superblock.head.0.to_le_bytes());
    content.extend([64, 0, 0, 0, 0, 32, 0, 0]);
    content.extend(superblock.clients_max.to_le_bytes());
    content.extend([2, 5]);
    content.extend([1, 0, 9, 0, 0, 0, 0, 16, 0, 0]);
    content.extend(superblock.vouched.op.0.to_le_bytes());
    content.extend(superblock.vouched.root.0.to_le_bytes());
    content.extend(superblock.checkpoint.root.0.to_le_bytes());
    content.extend(superblock.members.version.to_le_bytes());
    content.extend(superblock.recovery.votes_from.0.to_le_bytes());
    content.extend(superblock.recovery.replaces.to_le_bytes());
    content.extend(superblock.checkpoint.header.encode());
    for incarnation in [0xb1, 0xb2, 0, 0xb4, 0xb5, 0_u128] {
        content.extend(incarnation.to_le_bytes());
    }
    content.extend(b"bank-2\0\0\0\0\0\0\0\0\0\0");
    content.extend([0; 16]);
    assert_eq!(bytes[64..512], content);
    assert_eq!(bytes[512..640], superblock.suffix[0].encode());
    assert_eq!(bytes[640..], [0; 8192 - 640]);
}

#[test]
fn every_copy_has_the_same_identity_and_every_change_another() {
    let superblock = superblock(2);
    let content = superblock.encode(0)[CONTENT_START..].to_vec();
    for copy in 1..SUPERBLOCK_COPIES {
        assert_eq!(superblock.encode(copy)[CONTENT_START..], content);
    }
    let changed = Superblock { view: superblock.view.next(), ..superblock.clone() };
    assert_ne!(changed.checksum(), superblock.checksum());
    let successor = superblock.successor();
    assert_eq!((successor.sequence, successor.parent), (superblock.sequence + 1, superblock.checksum()));
}

#[test]
fn a_copy_that_is_stamped_anew_is_the_other_copy() {
    let superblock = superblock(3);
    let mut bytes = superblock.encode(0);
    for copy in [2, 1, 3, 0] {
        stamp(&mut bytes, copy);
        assert_eq!(bytes, superblock.encode(copy));
    }
}

#[test]
fn every_truncation_of_a_copy_is_an_error() {
    let bytes = superblock(3).encode(0);
    for length in 0..bytes.len() {
        assert_eq!(Superblock::decode(&bytes[..length], 0), Err(SuperblockError::Length));
    }
    assert_eq!(Superblock::decode(&[bytes, vec![0]].concat(), 0), Err(SuperblockError::Length));
}

#[test]
fn every_single_flipped_bit_of_a_copy_is_found() {
    let bytes = superblock(3).encode(0);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let found = Superblock::decode(&damaged, 0);
        let expected = match bit / 8 {
            ..CONTENT_START => SuperblockError::CopyChecksum,
            byte if byte < content_end(3) => SuperblockError::ContentChecksum,
            _ => SuperblockError::Reserved,
        };
        assert_eq!(found, Err(expected), "bit {bit}");
    }
}

#[test]
fn a_copy_torn_anywhere_between_two_values_is_found() {
    let old = superblock(3).encode(1);
    let new = superblock(3).successor().encode(1);
    for cut in (1..320).chain([4096]) {
        let torn = [&old[..cut], &new[cut..]].concat();
        // The bytes after the sequence and its parent are the same in both.
        if torn != old && torn != new {
            assert!(Superblock::decode(&torn, 1).is_err(), "cut at {cut}");
        }
        let torn = [&new[..cut], &old[cut..]].concat();
        if torn != old && torn != new {
            assert!(Superblock::decode(&torn, 1).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn a_sound_copy_in_another_s_place_is_an_error() {
    let bytes = superblock(3).encode(1);
    for copy in [0, 2, 3] {
        assert_eq!(Superblock::decode(&bytes, copy), Err(SuperblockError::Misdirected(1)));
    }
}

#[test]
fn zeros_and_noise_are_errors() {
    assert_eq!(Superblock::decode(&[0; 8192], 0), Err(SuperblockError::CopyChecksum));
    assert_eq!(Superblock::decode(&resealed(vec![0; 8192]), 0), Err(SuperblockError::Magic));
}

#[test]
fn what_makes_no_sense_is_an_error_though_its_checksums_are_right() {
    assert_eq!(decode_with(64, b"X"), Err(SuperblockError::Magic));
    assert_eq!(decode_with(72, &[1]), Err(SuperblockError::Version(1)));
    assert_eq!(decode_with(80, &[0; 8]), Err(SuperblockError::Sequence));
    assert_eq!(decode_with(80, &[0xff; 8]), Err(SuperblockError::Sequence));
    assert_eq!(decode_with(128, &[0; 8]), Err(SuperblockError::LogView));
    assert_eq!(decode_with(160, &[1]), Err(SuperblockError::Layout(LayoutError::SlotCount(1))));
    assert_eq!(decode_with(164, &[1]), Err(SuperblockError::Layout(LayoutError::MessageSizeMax(8193))));
    assert_eq!(decode_with(168, &[0; 4]), Err(SuperblockError::Clients));
    assert_eq!(decode_with(172, &[5]), Err(SuperblockError::Replica));
    assert_eq!(decode_with(173, &[7]), Err(SuperblockError::Replica));
    assert_eq!(decode_with(173, &[0]), Err(SuperblockError::Replica));
    for reserved in [37, 63, 175, 496, 511, SUFFIX_START + 3 * HEADER_SIZE, 8191] {
        assert_eq!(decode_with(reserved, &[1]), Err(SuperblockError::Reserved), "byte {reserved}");
    }
    assert_eq!(decode_with(174, &[2]), Err(SuperblockError::Reserved));
    assert_eq!(decode_with(174, &[0]), Err(SuperblockError::Members), "who does not recover replaces nobody");
    assert_eq!(decode_with(224, &[0; 8]), Err(SuperblockError::Members), "members of no version");
    assert_eq!(decode_with(480, b"K"), Err(SuperblockError::Application));
    assert_eq!(decode_with(487, b"x"), Err(SuperblockError::Application), "more behind a name's end");
    assert_eq!(decode_with(464, &[1]), Err(SuperblockError::Members), "a sixth of five");
}

#[test]
fn a_suffix_that_is_no_log_up_to_the_head_is_an_error_though_its_checksums_are_right() {
    let headers = chain(3, 0x8182_8384_8586_8788);
    assert_eq!(decode_with(32, &[33]), Err(SuperblockError::Suffix), "longer than a superblock holds");
    assert_eq!(decode_with(32, &[0xff; 4]), Err(SuperblockError::Suffix));
    assert_eq!(decode_with(32, &[4]), Err(SuperblockError::Header(WireError::HeaderChecksum)), "a header of zeros");
    assert_eq!(decode_with(152, &[0; 8]), Err(SuperblockError::Suffix), "another head");
    assert_eq!(decode_with(88, &[0; 8]), Err(SuperblockError::Suffix), "another cluster");
    let broken = Header { context: 1, ..headers[1] }.sealed(&[]);
    assert_eq!(decode_with(SUFFIX_START + HEADER_SIZE, &broken.encode()), Err(SuperblockError::Suffix));
    let ok = Header { command: Command::PrepareOk, ..headers[0] }.sealed(&[]);
    assert_eq!(decode_with(SUFFIX_START, &ok.encode()), Err(SuperblockError::Suffix));
    assert_eq!(
        decode_with(SUFFIX_START, &[0xff]),
        Err(SuperblockError::Header(WireError::HeaderChecksum)),
        "a header is checked although the superblock vouches for it"
    );
    let mut bytes = superblock(1).encode(0);
    bytes[32] = 0;
    bytes[SUFFIX_START..SUFFIX_START + HEADER_SIZE].fill(0);
    assert_eq!(Superblock::decode(&resealed(bytes), 0), Err(SuperblockError::Suffix), "no head at all");
}

#[test]
fn a_checkpoint_that_is_of_no_committed_op_is_an_error_though_its_checksums_are_right() {
    let reseal = |change: fn(&mut Superblock)| {
        let mut changed = superblock(3);
        change(&mut changed);
        changed.verify()
    };
    assert_eq!(reseal(|superblock| superblock.commit = CommitIndex(0x76)), Err(SuperblockError::Checkpoint));
    assert_eq!(reseal(|superblock| superblock.commit = CommitIndex(0x77)), Ok(()));
    assert_eq!(reseal(|superblock| superblock.checkpoint.root = Checksum(0)), Err(SuperblockError::Checkpoint));
    assert_eq!(reseal(|superblock| superblock.vouched.root = Checksum(0)), Err(SuperblockError::Checkpoint));
    assert_eq!(reseal(|superblock| superblock.vouched = Vouched::default()), Ok(()));
    assert_eq!(
        reseal(|superblock| superblock.checkpoint.header.command = Command::PrepareOk),
        Err(SuperblockError::Checkpoint)
    );
    assert_eq!(decode_with(256, &[0xff]), Err(SuperblockError::Header(WireError::HeaderChecksum)));
}

#[test]
#[should_panic(expected = "a superblock that is written can be read")]
fn what_could_not_be_read_is_never_written() {
    Superblock { head: Op(1), ..superblock(3) }.encode(0);
}

#[test]
fn what_format_writes_is_a_replica_that_has_seen_nothing() {
    use crate::storage::{
        journal::{HeaderRead, PrepareRead, parse_header_entry, parse_prepare},
        recovery::{SlotState, decide},
    };
    let mut disk = vec![0; LAYOUT.size() as usize];
    for (offset, bytes) in format(identity(CLUSTER, 1, 3), 77, LAYOUT, 10) {
        assert!(offset.is_multiple_of(4096) && bytes.len().is_multiple_of(4096));
        disk[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    let copy = |copy: u8| Some(&disk[LAYOUT.superblock_offset(copy) as usize..][..SUPERBLOCK_COPY_SIZE as usize]);
    let superblock = Superblock::open([copy(0), copy(1), copy(2), copy(3)]).unwrap();
    assert_eq!(superblock.expect(identity(CLUSTER, 1, 3)), Ok(()));
    assert_eq!((superblock.sequence, superblock.incarnation), (1, 77));
    assert_eq!((superblock.layout, superblock.clients_max), (LAYOUT, 10));
    assert_eq!(superblock.suffix, [Header::root(CLUSTER)]);
    for slot in 0..LAYOUT.slot_count {
        let entry = (LAYOUT.header_sector_offset(slot) + u64::from(slot % 32) * 128) as usize;
        let header = parse_header_entry(&disk[entry..entry + 128], slot, &LAYOUT, CLUSTER);
        let prepare = &disk[LAYOUT.prepare_offset(slot) as usize..][..8192];
        let prepare = parse_prepare(prepare, slot, &LAYOUT, CLUSTER);
        let expected = if slot == 0 {
            let root = Header::root(CLUSTER);
            assert_eq!((header, prepare), (HeaderRead::Valid(root), PrepareRead::Valid(root)));
            SlotState::Clean(root)
        } else {
            SlotState::Empty
        };
        assert_eq!(decide(&header, &prepare, false).slot, expected);
    }
}

#[test]
fn a_foreign_file_is_refused_in_words() {
    let superblock = superblock(1);
    assert_eq!(superblock.expect(identity(CLUSTER, 2, 5)), Ok(()));
    for (cluster, replica, replica_count) in [(9, 2, 5), (CLUSTER.0, 1, 5), (CLUSTER.0, 2, 3)] {
        assert!(superblock.expect(identity(ClusterId(cluster), replica, replica_count)).is_err());
    }
    let nameless = Identity { application: ApplicationName::NONE, ..superblock.identity() };
    assert!(superblock.expect(nameless).is_err());
    let error = superblock.expect(identity(ClusterId(9), 1, 3)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the data file belongs to replica 2 of 5 in cluster 1230066625199609624 (bank-2), not to replica 1 of 3 \
         in cluster 9 (bank-2): check the path and the flags"
    );
}
