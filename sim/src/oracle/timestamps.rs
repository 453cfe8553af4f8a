//! Promise: the log's time strictly increases, across views and restarts, whatever the clocks of its primaries do; and nobody's clock alone
//! takes it ahead: it is at most what a majority's clocks have come to, or one more than it was (design rule 17).
//!
//! A primary knows the others' clocks by what they said up to ten seconds before, and how long that took: so what is judged is the highest
//! that each was of late, with room for a slow answer. Deliberately absent: that the log's time keeps up with the clocks. It does not
//! where the clocks are not known, or are set back.

use chronon::{
    types::{ReplicaId, Timestamp},
    vsr::quorum::majority,
    wire::header::Header,
};

use super::{Violation, model::Model, promise::broken, speech::Speech};

const PROMISE: &str = "timestamps";

/// For so long a replica may go by what another's clock said.
const KNOWN_NS: u64 = 10_000_000_000;

/// How far beyond the clocks an answer that came late, or twice, may put them.
const SLACK_NS: i128 = 10_000_000_000;

/// How the log's time stands to the clocks.
#[derive(Clone)]
pub(super) struct Timestamps {
    replica_count: u8,
    clocks: Vec<Clock>,
    /// The latest time that was proposed.
    latest: Timestamp,
    slack_ns: i128,
    now_ns: u64,
}

/// How far a replica's clock was ahead of the virtual time at most, in the present span of [`KNOWN_NS`] and in the one before.
#[derive(Clone, Copy, Default)]
struct Clock {
    span: u64,
    ahead: Option<i128>,
    before: Option<i128>,
}

impl Timestamps {
    pub(super) fn new(replica_count: u8) -> Self {
        let clocks = vec![Clock::default(); usize::from(replica_count)];
        Self { replica_count, clocks, latest: Timestamp(0), slack_ns: SLACK_NS, now_ns: 0 }
    }

    /// The same where a message may take so long.
    pub(super) fn with_latency(self, latency_max_ns: u64) -> Self {
        Self { slack_ns: SLACK_NS + 2 * i128::from(latency_max_ns), ..self }
    }

    /// A replica reads its clock.
    pub(super) fn reads(&mut self, replica: ReplicaId, realtime: Timestamp, now_ns: u64) {
        self.now_ns = now_ns;
        let (clock, span) = (&mut self.clocks[replica.0 as usize], now_ns / KNOWN_NS);
        if clock.span != span {
            let before = clock.ahead.take().filter(|_| clock.span + 1 == span);
            *clock = Clock { span, ahead: None, before };
        }
        clock.ahead = clock.ahead.max(Some(i128::from(realtime.0) - i128::from(now_ns)));
    }

    /// An op is proposed for the first time.
    pub(super) fn proposed(&mut self, replica: ReplicaId, speech: Speech<'_>) -> Result<(), Violation> {
        let (time, span) = (speech.timestamp(), self.now_ns / KNOWN_NS);
        let latest = self.latest;
        self.latest = latest.max(time);
        if time.0 <= latest.0 + 1 {
            return Ok(());
        }
        let highest = |clock: &Clock| match span - clock.span {
            0 => clock.ahead.max(clock.before),
            1 => clock.ahead,
            _ => None,
        };
        let mut clocks: Vec<i128> = self.clocks.iter().filter_map(highest).collect();
        clocks.sort_unstable_by(|a, b| b.cmp(a));
        let known = clocks.get(usize::from(majority(self.replica_count)) - 1);
        let limit = known.map(|ahead| ahead + i128::from(self.now_ns) + self.slack_ns);
        if limit.is_some_and(|limit| i128::from(time.0) <= limit) {
            return Ok(());
        }
        let sentence = format!(
            "{replica} proposes {} at {} ns, and no majority of clocks has come to {} ns",
            speech.op(),
            time.0,
            limit.unwrap_or(0)
        );
        Err(broken(PROMISE, "a timestamp ahead of a majority's clocks", sentence))
    }
}

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
    use chronon::wire::header::Command;

    use super::*;
    use crate::oracle::script::{CLUSTER, R0, R1, R2, chain, say_with};

    /// Whether an op at that time may be proposed when `now_ns` has come.
    fn may_be(timestamps: &mut Timestamps, time: i128, now_ns: u64) -> bool {
        timestamps.now_ns = now_ns;
        let stamp = |header: &mut Header| header.timestamp = Timestamp(time as u64);
        let frame = say_with(Command::Prepare, R0, 1, stamp, &[]);
        timestamps.proposed(R0, Speech::of(&frame).unwrap()).is_ok()
    }

    #[test]
    fn one_clock_that_is_ahead_takes_the_log_nowhere_and_a_majority_does() {
        let hour = 3_600_000_000_000;
        let judge = |ahead: &[(ReplicaId, u64)], time: i128| {
            let mut timestamps = Timestamps::new(3);
            for (replica, ahead) in ahead {
                timestamps.reads(*replica, Timestamp(1_000 + ahead), 1_000);
            }
            may_be(&mut timestamps, time, 1_000)
        };
        let one = [(R0, hour), (R1, 0), (R2, 0)];
        assert!(judge(&one, 1_000) && judge(&one, 1_000 + SLACK_NS));
        assert!(!judge(&one, 1_001 + SLACK_NS) && !judge(&one, i128::from(hour)));
        assert!(judge(&[(R0, hour), (R1, hour), (R2, 0)], i128::from(hour)));
        assert!(judge(&[(R0, hour)], 1) && !judge(&[(R0, hour)], 2), "without a majority by one alone");
    }

    #[test]
    fn what_a_clock_was_counts_for_as_long_as_it_may_be_known() {
        let minute = 60_000_000_000;
        let mut timestamps = Timestamps::new(1);
        timestamps.reads(R0, Timestamp(minute), 0);
        timestamps.reads(R0, Timestamp(1), 1);
        assert!(may_be(&mut timestamps.clone(), i128::from(minute), 2));
        timestamps.reads(R0, Timestamp(KNOWN_NS), KNOWN_NS);
        assert!(may_be(&mut timestamps.clone(), i128::from(minute), KNOWN_NS));
        timestamps.reads(R0, Timestamp(2 * KNOWN_NS), 2 * KNOWN_NS);
        assert!(!may_be(&mut timestamps.clone(), i128::from(minute), 2 * KNOWN_NS));
        assert!(may_be(&mut timestamps, i128::from(2 * KNOWN_NS), 2 * KNOWN_NS));
    }

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
