//! Traces: a file that somebody sent.

use chronon_sim::trace::{Trace, first_difference};

/// A trace decodes to records or to an error that says where; every record can be told; a trace differs from itself
/// nowhere, and from a damaged self where it was damaged or later.
pub fn trace(bytes: &[u8]) {
    let Ok(trace) = Trace::parse(bytes) else { return };
    let header = trace.header().encode();
    assert_eq!(header, bytes[..header.len()], "a header encodes to the same bytes");
    assert_eq!(trace.record_bytes(), &bytes[header.len()..]);
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
