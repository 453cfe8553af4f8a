//! Promise: whatever grows with traffic has a limit, and stays within it.

use chronon::types::ReplicaId;

use super::{Violation, promise::broken};

const PROMISE: &str = "bounds";

/// The lengths of a replica's queues after a step, each with its name and its limit.
pub(super) fn hold(replica: ReplicaId, queues: &[(&'static str, u64, u64)]) -> Result<(), Violation> {
    for (name, length, limit) in queues {
        if length > limit {
            let sentence = format!("{replica} has {length} {name}, of at most {limit}");
            return Err(broken(PROMISE, name, sentence));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_limit_is_a_violation() {
        hold(ReplicaId(2), &[("reads", 0, 0), ("requests waiting", 50, 50)]).unwrap();
        let violation = hold(ReplicaId(2), &[("reads", 0, 0), ("requests waiting", 51, 50)]).unwrap_err();
        assert_eq!(violation.sentence, "r2 has 51 requests waiting, of at most 50");
    }
}
