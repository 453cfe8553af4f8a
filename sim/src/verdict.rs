//! Verdicts: what a run found, and by what it is recognised as the same finding.
//!
//! Invariant: a fingerprint holds no seed, time, step or op: two runs that break the same promise at the same place have the
//! same one, and shrinking keeps it.

use std::fmt;

/// What kind of promise was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// Something happened that never may.
    Safety,
    /// Something did not happen that must.
    Liveness,
    /// A process panicked.
    Crash,
    /// The same seed did not give the same run.
    Nondeterminism,
    /// The run came to no end: a cap on events, or on steps at one instant.
    Stuck,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 5] = [Self::Safety, Self::Liveness, Self::Crash, Self::Nondeterminism, Self::Stuck];

    /// The verdict's name, as reports spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
            Self::Crash => "crash",
            Self::Nondeterminism => "nondeterminism",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A broken promise: what it was, who noticed, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What kind of promise.
    pub verdict: Verdict,
    /// Who noticed: an oracle's name, a process's for a crash, `world` for a cap.
    pub oracle: String,
    /// Where in the promise or in the code, without seed, time or op.
    pub place: String,
    /// One sentence that says what was violated.
    pub violation: String,
    /// The virtual time.
    pub at_ns: u64,
    /// How many steps processes had taken.
    pub step: u64,
}

impl Failure {
    /// Sixteen hex digits by which failures of the same kind are grouped.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [self.verdict.name(), &self.oracle, &self.place] {
            // Each part with its length, so that no two triples run together alike.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.at_ns / 1_000_000_000, self.at_ns % 1_000_000_000);
        write!(
            f,
            "{}: {} (found by {} at {seconds}.{nanoseconds:09} s, step {})",
            self.verdict, self.violation, self.oracle, self.step
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure {
            verdict: Verdict::Safety,
            oracle: "commit order".into(),
            place: "two prepares at one op".into(),
            violation: "op 412 is A on r1 and B on r3".into(),
            at_ns: 1_203_000_000,
            step: 17,
        }
    }

    #[test]
    fn a_fingerprint_forgets_when_and_which_but_not_what_and_where() {
        let first = failure();
        let later = Failure { violation: "op 9 is C on r0 and D on r1".into(), at_ns: 5, step: 1, ..failure() };
        assert_eq!(first.fingerprint(), later.fingerprint());
        assert_eq!(first.fingerprint().len(), 16);
        let others = [
            Failure { verdict: Verdict::Liveness, ..failure() },
            Failure { oracle: "commit orde".into(), place: "rtwo prepares at one op".into(), ..failure() },
            Failure { place: "hash chain".into(), ..failure() },
        ];
        assert!(others.iter().all(|other| other.fingerprint() != first.fingerprint()));
    }

    #[test]
    fn a_failure_reads_as_a_sentence() {
        let text = failure().to_string();
        assert_eq!(text, "safety: op 412 is A on r1 and B on r3 (found by commit order at 1.203000000 s, step 17)");
    }
}
