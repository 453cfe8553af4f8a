//! Why bytes are no trace.

use std::fmt;

/// Why bytes are no trace, or no whole one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TraceError {
    /// The bytes do not begin as a trace does.
    Foreign,
    /// The trace is of another format.
    Version {
        /// The version that it states.
        found: u16,
        /// The version that this build reads.
        known: u16,
    },
    /// The bytes end before the trace does.
    Truncated {
        /// How many bytes there are.
        length: u64,
    },
    /// Bytes are not what was written.
    Damaged {
        /// The first byte that may be wrong, from the beginning of the trace.
        from: u64,
        /// Behind the last one.
        to: u64,
    },
    /// The bytes at `offset` cannot have been written by a simulation.
    Malformed {
        /// From the beginning of the trace.
        offset: u64,
        /// What is wrong with them.
        what: &'static str,
    },
}

/// What to do about a trace that is not whole.
const MEND: &str = "write it anew from its seed";

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(f, "this is not a trace; write one with `replay seed SEED --trace FILE`"),
            Self::Version { found, known } => write!(
                f,
                "this trace has format {found} and this build reads format {known}; read it with the build that wrote \
                 it, or write it anew from its seed"
            ),
            Self::Truncated { length } => {
                write!(f, "the trace is damaged at byte {length}: it breaks off there, before its end; {MEND}")
            }
            Self::Damaged { from, to } => {
                let last = to.saturating_sub(1);
                write!(f, "the trace is damaged at bytes {from} to {last}: they are not what was written; {MEND}")
            }
            Self::Malformed { offset, what } => {
                write!(f, "the trace is damaged at byte {offset} ({what}); {MEND}")
            }
        }
    }
}

impl std::error::Error for TraceError {}
