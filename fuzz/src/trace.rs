//! Traces: a file that somebody sent.

use chronon::types::Checksum;
use chronon_sim::trace::{Trace, TraceError, first_difference};

/// Bytes that are not what was written are an error. As if they were, they decode to records or to an error that says where;
/// every record can be told; under checksums of their own the same bytes come back. Such a trace differs from itself nowhere,
/// and from a damaged self where it was damaged or later.
pub fn trace(bytes: &[u8]) {
    // No checksum stands between the fuzzer and what is to be fuzzed.
    let Ok(believed) = Trace::unchecked(bytes) else {
        assert!(Trace::parse(bytes).is_err(), "what does not even begin as a trace is none");
        return;
    };
    let sealed = believed.header().over(believed.record_bytes());
    let trace = Trace::parse(&sealed).expect("what is written is whole");
    assert_eq!((trace.header(), trace.record_bytes()), (believed.header(), believed.record_bytes()));
    assert_eq!(
        Trace::parse(bytes).is_ok(),
        bytes == sealed,
        "a trace has one encoding, and its checksums cover all of it"
    );
    let mut end = 0;
    for entry in trace.records() {
        let Ok(entry) = entry else { return };
        assert_eq!(entry.offset, end, "records follow each other without a gap");
        assert!(entry.length > 0, "a record takes bytes");
        end += entry.length;
        assert!(!entry.to_string().is_empty(), "a record can be told");
    }
    assert!(end <= trace.record_bytes().len() as u64);
    assert_eq!(first_difference(&trace, &trace), Ok(None));
    // Any place will do, as long as the same input is damaged at the same one.
    let place = Checksum::of(bytes).0;
    differs_where_damaged(&sealed, place as u64, (place >> 64) as u8);
}

/// Changes one byte of a whole trace, anywhere behind its header, and compares; and one before the zeros that fill it up.
pub(crate) fn differs_where_damaged(bytes: &[u8], at: u64, by: u8) {
    let sound = Trace::parse(bytes).expect("the trace is whole");
    let records = sound.record_bytes();
    let Some(last) = records.iter().rposition(|byte| *byte != 0) else { return };
    for at in [at % records.len() as u64, at % (last as u64 + 1)] {
        differs_at(&sound, bytes, at, by.max(1));
    }
}

fn differs_at(sound: &Trace<'_>, bytes: &[u8], at: u64, by: u8) {
    let start = (bytes.len() - sound.record_bytes().len()) as u64;
    let mut damaged = bytes.to_vec();
    damaged[(start + at) as usize] ^= by;
    match Trace::parse(&damaged) {
        Err(TraceError::Damaged { from, to }) => {
            assert!((from..to).contains(&(start + at)), "{from} to {to}, not {at}")
        }
        other => panic!("a trace that was damaged at {at} is {other:?}"),
    }
    let damaged = Trace::unchecked(&damaged).expect("its header is sound");
    // The last record is followed by zeros alone: damage to them is damage to it.
    let records = sound.records().map_while(Result::ok);
    let struck = records.take_while(|entry| entry.offset <= at).last().expect("the first record begins at 0");
    match first_difference(sound, &damaged) {
        Ok(None) => panic!("a changed byte at {at} is no difference, in {struck}"),
        Ok(Some(difference)) => assert!(difference.offset >= struck.offset, "damaged at {at}: {difference}"),
        Err(TraceError::Malformed { offset, what }) => {
            assert!(offset >= start + struck.offset, "damaged at {at}, and malformed at {offset}: {what}");
        }
        // Damage that claims more than there is.
        Err(TraceError::Truncated { .. }) => {}
        Err(error) => panic!("damage at {at} is told as {error}"),
    }
}
