//! Promise: committed prefixes and hash chains agree, and no view begins without what is committed.
//!
//! The first replica to execute an op makes it canonical. Every other execution of that op, by any replica in any of its
//! lives, must be of the same prepare; a life executes in order, without a gap, from the first op on or from a checkpoint's; each op names its
//! predecessor's checksum. The log with which a view begins, and every prepare in it, must have each canonical op that was
//! executed in that view or an earlier one: what is lost is found here before anybody executes something else.

use chronon::{
    types::{Op, ReplicaId, View},
    wire::header::Header,
};

use super::{Violation, model::Model, promise::broken, speech::Speech};

const PROMISE: &str = "agreement";

/// How far each replica has executed in its present life.
#[derive(Clone)]
pub(super) struct Agreement {
    executed: Vec<Op>,
}

impl Agreement {
    pub(super) fn new(replica_count: u8) -> Self {
        Self { executed: vec![Op::ROOT; replica_count as usize] }
    }

    /// A replica executed the prepare of `header`, of which `frame` was the whole. Whether it was the first to.
    pub(super) fn executed(
        &mut self,
        model: &Model,
        replica: ReplicaId,
        header: &Header,
        frame: &[u8],
    ) -> Result<bool, Violation> {
        let (op, last) = (header.op, &mut self.executed[replica.0 as usize]);
        if op != last.next() {
            let sentence = format!("{replica} executed {op} right after {last}");
            return Err(broken(PROMISE, "execution out of order", sentence));
        }
        *last = op;
        if Speech::of(frame).is_none_or(|speech| speech.checksum() != header.checksum) {
            let sentence = format!("{replica} executed other bytes for {op} than the prepare {:?}", header.checksum);
            return Err(broken(PROMISE, "not the prepare's bytes", sentence));
        }
        match model.get(op) {
            Some(known) if known.checksum == header.checksum => Ok(false),
            Some(known) => {
                let (first, checksum) = (known.seen_on, known.checksum);
                let sentence = format!("{op} is {checksum:?} on {first} and {:?} on {replica}", header.checksum);
                Err(broken(PROMISE, "two prepares executed for one op", sentence))
            }
            None if header.parent() != model.last().checksum => {
                let (parent, known) = (header.parent(), model.last().checksum);
                let sentence = format!("{op} on {replica} follows {parent:?}, but {} is {known:?}", op.previous());
                Err(broken(PROMISE, "broken hash chain", sentence))
            }
            None => Ok(true),
        }
    }

    /// A replica that has just executed something says how far it is.
    pub(super) fn stands_at(&self, replica: ReplicaId, applied: Op) -> Result<(), Violation> {
        let executed = self.executed[replica.0 as usize];
        if applied == executed {
            return Ok(());
        }
        let sentence = format!("{replica} says that it has executed {applied}, and has executed {executed}");
        Err(broken(PROMISE, "execution out of order", sentence))
    }

    /// A replica took the state of `op` from a checkpoint: it goes on from there.
    pub(super) fn restored(&mut self, model: &Model, replica: ReplicaId, op: Op) -> Result<(), Violation> {
        let last = &mut self.executed[replica.0 as usize];
        if op > *last && op <= model.head() {
            *last = op;
            return Ok(());
        }
        let (last, head) = (*last, model.head());
        let sentence = format!("{replica} restored the state of {op}; it stood at {last}, and {head} is committed");
        Err(broken(PROMISE, "a checkpoint of what is not committed, or of the past", sentence))
    }

    /// A replica's life is over. The next one begins with nothing executed.
    pub(super) fn crashed(&mut self, replica: ReplicaId) {
        self.executed[replica.0 as usize] = Op::ROOT;
    }
}

/// The primary of `view` proposes a prepare for `op`.
pub(super) fn proposed(model: &Model, replica: ReplicaId, speech: Speech<'_>) -> Result<(), Violation> {
    let (view, op) = (speech.view(), speech.op());
    let Some(known) = model.get(op).filter(|known| known.seen_in <= view) else { return Ok(()) };
    if known.checksum == speech.checksum() {
        return Ok(());
    }
    let sentence = format!(
        "{op} is committed as {:?}, and {replica} proposes {:?} for it in {view}",
        known.checksum,
        speech.checksum()
    );
    Err(broken(PROMISE, "another prepare for a committed op", sentence))
}

/// A primary says what the log of its view is: up to `head`, ending with these headers.
pub(super) fn view_starts(
    model: &Model,
    replica: ReplicaId,
    view: View,
    head: Op,
    headers: &[Header],
) -> Result<(), Violation> {
    let committed = model.head_at(view);
    if head < committed {
        let sentence = format!("{replica} starts {view} with a log up to {head}, but {committed} is committed");
        return Err(broken(PROMISE, "a view without a committed op", sentence));
    }
    for header in headers {
        let Some(known) = model.get(header.op).filter(|known| known.seen_in <= view) else { continue };
        if known.checksum != header.checksum {
            let (op, known) = (header.op, known.checksum);
            let sentence =
                format!("{op} is committed as {known:?}, and {replica} starts {view} with {:?}", header.checksum);
            return Err(broken(PROMISE, "a view without a committed op", sentence));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::script::{CLUSTER, R0, R1, R2, chain, frame, prepare};

    /// Executes prepares as the replicas did, and makes the first of each op canonical.
    fn run(history: &[(ReplicaId, Header)]) -> Result<Model, Violation> {
        let (mut model, mut agreement) = (Model::new(CLUSTER, 4), Agreement::new(3));
        for (replica, header) in history {
            if agreement.executed(&model, *replica, header, &frame(header))? {
                model.append(header, *replica, header.view);
            }
            agreement.stands_at(*replica, header.op)?;
        }
        Ok(model)
    }

    #[test]
    fn replicas_that_execute_one_chain_agree() {
        let log = chain(1, 3);
        let model = run(&[(R0, log[0]), (R0, log[1]), (R1, log[0]), (R0, log[2]), (R1, log[1]), (R2, log[0])]).unwrap();
        assert_eq!(model.head(), Op(3));
    }

    #[test]
    fn another_prepare_for_an_executed_op_is_a_violation() {
        let log = chain(1, 1);
        let other = prepare(2, 1, log[0].parent());
        let violation = run(&[(R1, log[0]), (R2, other)]).err().unwrap();
        assert_eq!(violation.place, "two prepares executed for one op");
        assert_eq!(violation.sentence, format!("op1 is {:?} on r1 and {:?} on r2", log[0].checksum, other.checksum));
    }

    #[test]
    fn an_op_that_follows_another_than_the_executed_one_is_a_violation() {
        let (log, elsewhere) = (chain(1, 2), chain(2, 2));
        assert_eq!(run(&[(R0, log[0]), (R0, elsewhere[1])]).err().unwrap().place, "broken hash chain");
    }

    #[test]
    fn a_gap_and_a_repetition_are_violations() {
        let log = chain(1, 3);
        for history in [vec![(R0, log[0]), (R0, log[2])], vec![(R0, log[0]), (R0, log[0])], vec![(R0, log[1])]] {
            assert_eq!(run(&history).err().unwrap().place, "execution out of order");
        }
        let mut agreement = Agreement::new(3);
        assert!(agreement.stands_at(R0, Op(1)).is_err());
        agreement.executed(&Model::new(CLUSTER, 4), R0, &log[0], &frame(&log[0])).unwrap();
        agreement.crashed(R0);
        agreement.stands_at(R0, Op::ROOT).unwrap();
    }

    #[test]
    fn the_bytes_that_are_executed_are_the_prepare_s() {
        let log = chain(1, 1);
        let violation = Agreement::new(3).executed(&Model::new(CLUSTER, 4), R0, &log[0], &[0; 128]).unwrap_err();
        assert_eq!(violation.place, "not the prepare's bytes");
    }

    #[test]
    fn a_view_starts_with_everything_executed_in_it_or_before_and_with_nothing_else_in_its_place() {
        let log = chain(2, 3);
        let model = run(&[(R0, log[0]), (R0, log[1]), (R0, log[2])]).unwrap();
        let starts = |view, headers: &[Header]| {
            view_starts(&model, R1, View(view), headers[headers.len() - 1].op, headers).map_err(|broken| broken.place)
        };
        assert_eq!(starts(3, &log), Ok(()));
        assert_eq!(starts(2, &log), Ok(()));
        assert_eq!(starts(3, &log[..2]), Err("a view without a committed op".to_owned()));
        // A view before the one in which they were executed need not have them.
        assert_eq!(starts(1, &log[..2]), Ok(()));
        let other = prepare(3, 3, log[1].checksum);
        assert_eq!(starts(3, &[log[1], other]), Err("a view without a committed op".to_owned()));
        let proposal = frame(&other);
        assert!(proposed(&model, R0, Speech::of(&proposal).unwrap()).is_err());
        let known = frame(&log[2]);
        proposed(&model, R0, Speech::of(&known).unwrap()).unwrap();
    }
}
