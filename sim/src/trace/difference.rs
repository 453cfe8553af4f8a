//! The first event in which two traces differ.

use std::fmt;

use super::{Trace, TraceError};

/// Where two traces part, and what each says there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// How many events both had taken alike.
    pub step: u64,
    /// The virtual time of the last record that they share.
    pub at_ns: u64,
    /// Where the first differing record begins in the left trace, in bytes after the header.
    pub offset: u64,
    /// The left trace's record in one line; none if it has ended.
    pub left: Option<String>,
    /// The right trace's record in one line; none if it has ended.
    pub right: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |line: &Option<String>| line.clone().unwrap_or_else(|| "nothing: this trace has ended".into());
        writeln!(f, "the traces agree for {} events and differ in the next record:", self.step)?;
        writeln!(f, "  left:  {}", side(&self.left).trim_start())?;
        write!(f, "  right: {}", side(&self.right).trim_start())
    }
}

/// The first record in which the two traces differ; none if their records are the same. Their headers may differ.
///
/// A trace that cannot be read beyond a point is an error only if the two agree up to there.
pub fn first_difference(left: &Trace<'_>, right: &Trace<'_>) -> Result<Option<Difference>, TraceError> {
    if left.record_bytes() == right.record_bytes() {
        return Ok(None);
    }
    let (mut lefts, mut rights) = (left.records(), right.records());
    let (mut step, mut at_ns, mut offset) = (0, 0, 0);
    loop {
        let (a, b) = (lefts.next().transpose()?, rights.next().transpose()?);
        match (&a, &b) {
            // Equal records have equal bytes: each has one encoding.
            (Some(a), Some(b)) if a == b => (step, at_ns, offset) = (a.step, a.at_ns, a.offset + a.length),
            (None, None) => return Ok(None),
            _ => {
                let line = |entry: Option<super::Entry<'_>>| entry.map(|entry| entry.to_string());
                return Ok(Some(Difference { step, at_ns, offset, left: line(a), right: line(b) }));
            }
        }
    }
}
