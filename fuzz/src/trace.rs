//! Traces: a file that somebody sent.

use chronon_sim::trace::{Trace, first_difference};

/// Bytes that are not what was written are an error. As if they were, they decode to records or to an error that says where;
/// every record can be told; under checksums of their own the same bytes come back, and such a trace differs from itself nowhere.
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
    let mut whole = true;
    for entry in trace.records() {
        let Ok(entry) = entry else {
            whole = false;
            break;
        };
        assert_eq!(entry.offset, end, "records follow each other without a gap");
        assert!(entry.length > 0, "a record takes bytes");
        end += entry.length;
        assert!(!entry.to_string().is_empty(), "a record can be told");
    }
    assert!(end <= trace.record_bytes().len() as u64);
    if whole {
        assert_eq!(first_difference(&trace, &trace), Ok(None));
    }
}
