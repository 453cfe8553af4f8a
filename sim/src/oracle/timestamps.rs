//! Promise: the log's time strictly increases, across views and restarts, whatever the clocks of its primaries do.

use chronon::{types::ReplicaId, wire::header::Header};

use super::{Violation, model::Model, promise::broken};

const PROMISE: &str = "timestamps";

/// `header` is about to become canonical, on top of the model's head.
pub(super) fn follows(model: &Model, replica: ReplicaId, header: &Header) -> Result<(), Violation> {
    let before = model.last().timestamp;
    if header.timestamp > before {
        return Ok(());
    }
    let sentence = format!(
        "{} executed by {replica} is of {} ns, and the op before it of {} ns",
        header.op, header.timestamp.0, before.0
    );
    Err(broken(PROMISE, "a timestamp that does not increase", sentence))
}

#[cfg(test)]
mod tests {
    use chronon::types::Timestamp;

    use super::*;
    use crate::oracle::script::{CLUSTER, R0, chain};

    #[test]
    fn a_later_time_follows_and_the_same_or_an_earlier_one_does_not() {
        let log = chain(1, 2);
        let mut model = Model::new(CLUSTER, 4);
        follows(&model, R0, &log[0]).unwrap();
        model.append(&log[0], R0, log[0].view);
        follows(&model, R0, &log[1]).unwrap();
        for back in [0, 1] {
            let late = Header { timestamp: Timestamp(log[0].timestamp.0 - back), ..log[1] };
            assert_eq!(follows(&model, R0, &late).unwrap_err().promise, Some("timestamps"));
        }
    }
}
