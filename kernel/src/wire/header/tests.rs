//! The header, byte by byte and bit by bit.

use std::{format, string::ToString, vec::Vec};

use super::*;

/// A header in which every field differs from every other.
fn distinct() -> Header {
    Header {
        request: RequestNumber(0x2122_2324_2526_2728),
        epoch: Epoch(0x3132_3334),
        op: Op(0x4142_4344_4546_4748),
        commit: CommitIndex(0x5152_5354_5556_5758),
        timestamp: Timestamp(0x6162_6364_6566_6768),
        context: 0x7172_7374_7576_7778_797a_7b7c_7d7e_7f80,
        client: ClientId(0x8182_8384_8586_8788_898a_8b8c_8d8e_8f90),
        ..Header::new(ClusterId(0x1112_1314_1516_1718), Command::DoViewChange, 5, View(0x9192_9394_9596_9798))
    }
}

/// A header whose bytes are sound but for what `change` did to them.
fn resealed(change: impl Fn(&mut [u8; HEADER_SIZE])) -> [u8; HEADER_SIZE] {
    let mut bytes = distinct().sealed(b"body").encode();
    change(&mut bytes);
    let checksum = checksum_of(&bytes);
    bytes[..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn hex(bytes: &[u8]) -> Vec<std::string::String> {
    bytes.chunks(16).map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

#[test]
fn the_bytes_of_a_header_never_change() {
    let bytes = distinct().sealed(b"body").encode();
    let golden = [
        "6b60de19674508d4794a71c070e362a8", // checksum
        "0be9c598ae63835518e7fb422dc3027f", // checksum of the body
        "18171615141312112827262524232221", // cluster, request
        "84000000343332310200070500000000", // size, epoch, version, command, sender, reserved
        "98979695949392914847464544434241", // view, op
        "58575655545352516867666564636261", // commit, timestamp
        "807f7e7d7c7b7a797877767574737271", // context
        "908f8e8d8c8b8a898887868584838281", // client
    ];
    assert_eq!(hex(&bytes), golden);
}

#[test]
fn the_root_of_a_cluster_never_changes_and_is_no_other_cluster_s() {
    let root = Header::root(ClusterId(1));
    assert_eq!(root.checksum.to_string(), "065ce55e1bdff6c9eb722a6cd3110952");
    assert_eq!((root.op, root.view, root.size), (Op::ROOT, View(0), 128));
    assert!(root.is_log_entry());
    assert_eq!(root, Header::root(ClusterId(1)));
    assert_ne!(root.checksum, Header::root(ClusterId(2)).checksum);
}

#[test]
fn the_checksum_of_no_body_is_the_hash_of_no_bytes() {
    assert_eq!(CHECKSUM_EMPTY, Checksum::of(&[]));
    assert_eq!(checksum_of_body(&[]), Checksum::of(&[]));
    assert_eq!(checksum_of_body(&[0]), Checksum::of(&[0]));
}

#[test]
fn every_command_has_its_number_and_survives_the_wire() {
    for (number, command) in (1..).zip(Command::ALL) {
        assert_eq!(u8::from(command), number);
        assert_eq!(Command::try_from(number), Ok(command));
        let header = Header { command, ..distinct() }.sealed(b"body");
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        assert_eq!(header.verify(), Ok(()));
    }
    let names: std::collections::BTreeSet<_> = Command::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), Command::ALL.len());
}

#[test]
fn a_number_that_no_command_has_is_an_error_though_its_checksum_is_right() {
    for number in (0..=255).filter(|number| !(1..=23).contains(number)) {
        assert_eq!(Header::decode(&resealed(|bytes| bytes[58] = number)), Err(WireError::Command(number)));
    }
}

#[test]
fn another_version_is_an_error_though_its_checksum_is_right() {
    for version in [0, VERSION - 1, VERSION + 1, 0x0101, u16::MAX] {
        let bytes = resealed(|bytes| bytes[56..58].copy_from_slice(&version.to_le_bytes()));
        assert_eq!(Header::decode(&bytes), Err(WireError::Version(version)));
    }
}

#[test]
fn noise_is_never_taken_for_another_version() {
    let mut bytes = distinct().sealed(b"body").encode();
    bytes[56] = 9;
    assert_eq!(Header::decode(&bytes), Err(WireError::HeaderChecksum));
}

#[test]
fn a_reserved_byte_is_an_error_though_its_checksum_is_right() {
    for index in 60..64 {
        assert_eq!(Header::decode(&resealed(|bytes| bytes[index] = 1)), Err(WireError::Reserved));
    }
}

#[test]
fn a_size_below_the_header_s_is_an_error_though_its_checksum_is_right() {
    for size in [0_u32, 1, 127] {
        let bytes = resealed(|bytes| bytes[48..52].copy_from_slice(&size.to_le_bytes()));
        assert_eq!(Header::decode(&bytes), Err(WireError::Size));
        let header = Header { size, ..distinct() };
        let header = Header { checksum: Checksum(checksum_of(&header.encode())), ..header };
        assert_eq!(header.verify(), Err(WireError::Size));
    }
}

#[test]
fn every_truncation_of_a_header_is_short() {
    let bytes = distinct().sealed(b"body").encode();
    for length in 0..HEADER_SIZE {
        assert_eq!(Header::decode(&bytes[..length]), Err(WireError::Short));
    }
}

#[test]
fn whose_a_frame_is_can_be_told_without_judging_it() {
    let bytes = distinct().sealed(b"body").encode();
    assert_eq!(Header::client_of(&bytes), Some(distinct().client));
    assert_eq!(Header::client_of(&[&bytes[..], b"body"].concat()), Some(distinct().client));
    assert_eq!(Header::client_of(&bytes[..HEADER_SIZE - 1]), None);
}

#[test]
fn every_single_flipped_bit_of_a_header_is_found() {
    let bytes = distinct().sealed(b"body").encode();
    for bit in 0..HEADER_SIZE * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::decode(&damaged), Err(WireError::HeaderChecksum), "bit {bit}");
    }
}

#[test]
fn every_field_is_covered_by_the_checksum() {
    let header = distinct().sealed(b"body");
    let changed = [
        Header { checksum: Checksum(1), ..header },
        Header { checksum_body: Checksum(1), ..header },
        Header { cluster: ClusterId(1), ..header },
        Header { request: RequestNumber(1), ..header },
        Header { size: 1, ..header },
        Header { epoch: Epoch(1), ..header },
        Header { command: Command::Ping, ..header },
        Header { sender: 1, ..header },
        Header { view: View(1), ..header },
        Header { op: Op(1), ..header },
        Header { commit: CommitIndex(1), ..header },
        Header { timestamp: Timestamp(1), ..header },
        Header { context: 1, ..header },
        Header { client: ClientId(1), ..header },
    ];
    for header in changed {
        assert_eq!(header.verify(), Err(WireError::HeaderChecksum), "{header:?}");
    }
}

#[test]
fn only_a_prepare_can_be_in_a_log_and_only_the_root_at_its_op() {
    let prepare = Header::new(ClusterId(1), Command::Prepare, 0, View(3));
    assert!(Header { op: Op(1), ..prepare }.sealed(&[]).is_log_entry());
    assert!(!Header { op: Op(0), ..prepare }.sealed(&[]).is_log_entry());
    assert!(!Header { op: Op(1), command: Command::PrepareOk, ..prepare }.sealed(&[]).is_log_entry());
}
