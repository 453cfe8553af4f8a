//! Records that come back, leaves that stay as they were, and bytes that no writer wrote.

use std::{vec, vec::Vec};

use super::*;

const LEAF: u32 = 1024;

/// Records in many lengths, some longer than a leaf.
fn records() -> Vec<Vec<u8>> {
    (0..400u32)
        .map(|number| {
            let length = if number.is_multiple_of(97) { 3000 } else { number as usize * 7 % 60 };
            let mut record = number.to_le_bytes().to_vec();
            record.resize(4 + length, number as u8);
            record
        })
        .collect()
}

/// The leaves of some records, written in parts of `part` records.
fn leaves(records: &[Vec<u8>], part: usize) -> Vec<Vec<u8>> {
    let mut writer = SnapshotWriter::new(LEAF, usize::MAX);
    let write = |writer: &mut SnapshotWriter| {
        let first = writer.resumed().map_or(0, |at| u32::from_le_bytes(at.try_into().unwrap()) as usize);
        let end = records.len().min(first + part);
        for record in &records[first..end] {
            writer.record(record);
        }
        if end < records.len() {
            writer.pause(&(end as u32).to_le_bytes());
        }
    };
    while !writer.write(7, write) {}
    writer.finish();
    core::iter::from_fn(|| writer.take()).map(|leaf| leaf[CHUNK_HEADER_SIZE..].to_vec()).collect()
}

fn unpacked(leaves: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, RestoreError> {
    let (mut reader, mut records) = (SnapshotReader::default(), Vec::new());
    for leaf in leaves {
        reader.leaf(leaf, |section, record| {
            assert_eq!(section, 7);
            records.push(record.to_vec());
            Ok(())
        })?;
    }
    assert!(reader.is_whole());
    Ok(records)
}

#[test]
fn records_come_back_as_they_were_whatever_their_lengths() {
    let records = records();
    let leaves = leaves(&records, usize::MAX);
    assert_eq!(unpacked(&leaves).unwrap(), records);
    assert!(leaves.iter().all(|leaf| CHUNK_HEADER_SIZE + leaf.len() <= LEAF as usize));
    assert_eq!(self::leaves(&[], 1), Vec::<Vec<u8>>::new());
    assert_eq!(unpacked(&self::leaves(&[Vec::new()], 1)).unwrap(), [Vec::<u8>::new()]);
}

#[test]
fn how_often_the_writing_pauses_changes_nothing() {
    let records = records();
    let whole = leaves(&records, usize::MAX);
    for part in [1, 7, 100] {
        assert_eq!(leaves(&records, part), whole);
    }
}

#[test]
fn a_change_in_one_place_leaves_most_leaves_as_they_were() {
    let mut records = records();
    let before = leaves(&records, usize::MAX);
    records.insert(200, b"another one, between the others".to_vec());
    let after = leaves(&records, usize::MAX);
    let kept = after.iter().filter(|leaf| before.contains(leaf)).count();
    assert!(kept + 4 >= after.len(), "{kept} of {} leaves are as before", after.len());
}

#[test]
fn leaves_are_well_filled() {
    let leaves = leaves(&records(), usize::MAX);
    let filled: usize = leaves.iter().map(Vec::len).sum();
    assert!(filled * 100 / (leaves.len() * LEAF as usize) >= 60, "{filled} bytes in {} leaves", leaves.len());
}

#[test]
fn what_no_writer_wrote_is_an_error() {
    assert_eq!(unpacked(&[Vec::new()]), Err(RestoreError), "no section");
    // A leaf that is cut ends in an error or at the end of a record, of which there are as many as it has.
    let short = self::leaves(&records()[1..30], usize::MAX).remove(0);
    let ends =
        (1..short.len()).filter(|length| SnapshotReader::default().leaf(&short[..*length], |_, _| Ok(())).is_ok());
    let ends = ends.count();
    let mut records = 0;
    let count = |_, _: &[u8]| {
        records += 1;
        Ok(())
    };
    SnapshotReader::default().leaf(&short, count).unwrap();
    assert_eq!(ends, records);
    let mut goes_on = short;
    goes_on[1 + 3] |= 0x80;
    assert_eq!(unpacked(&[goes_on]), Err(RestoreError), "a record that goes on is its leaf's last");
}

#[test]
#[should_panic(expected = "split it")]
fn a_record_beyond_the_limit_is_refused() {
    SnapshotWriter::new(LEAF, 1).record(&vec![0; RECORD_SIZE_MAX + 1]);
}
