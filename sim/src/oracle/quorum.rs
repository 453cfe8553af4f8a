//! Promise: a commit has a quorum of durable copies, and a view has one primary with one log.
//!
//! When an op is first executed, there must be a view in which a majority acknowledged that very prepare: backups by a
//! `prepare_ok` of that view (each was on its sender's disk, see durability.rs), the view's primary by holding it.
//! Acknowledgements of different views do not add up: who gave one may have left for another log since. So what a primary
//! commits beyond the commit index with which its view began, a majority acknowledged in that very view.
//!
//! What a majority acknowledged in one view is in the log of every later one, whether or not anybody has executed it.
//!
//! Prepares, heartbeats, the start of a view and answers to clients come from the view's primary alone; there are never two
//! prepares for one op in one view; each proposal stands on one that was proposed before it; and a replica that served in a
//! view before it restarted serves in later ones only.

use chronon::{
    types::{Checksum, Op, ReplicaId, View},
    vsr::quorum::majority,
    wire::header::{Command, Header},
};

use super::{
    Violation,
    prepares::{Prepare, Prepares},
    promise::broken,
    speech::Speech,
};

const PROMISE: &str = "quorum";

/// Who served in which views.
#[derive(Clone)]
pub(super) struct Quorum {
    replica_count: u8,
    root: Checksum,
    replicas: Vec<Served>,
}

#[derive(Clone, Copy, Default)]
struct Served {
    /// The latest view in which it served in this life.
    now: Option<View>,
    /// What was committed when that view began, as it says.
    started: Op,
    /// The latest view in which it served in all lives before.
    before: Option<View>,
}

impl Quorum {
    pub(super) fn new(replica_count: u8, root: Checksum) -> Self {
        Self { replica_count, root, replicas: vec![Served::default(); replica_count as usize] }
    }

    /// A replica's life is over.
    pub(super) fn crashed(&mut self, replica: ReplicaId) {
        let served = &mut self.replicas[replica.0 as usize];
        served.before = served.before.max(served.now.take());
    }

    /// A replica acts as the primary of `view`.
    pub(super) fn serves(&mut self, replica: ReplicaId, command: Command, view: View) -> Result<(), Violation> {
        let primary = view.primary(self.replica_count);
        if primary != replica {
            let sentence = format!("{replica} sent {command} in {view}, whose primary is {primary}");
            return Err(broken(PROMISE, "spoke as the primary of another's view", sentence));
        }
        let served = &mut self.replicas[replica.0 as usize];
        if let Some(before) = served.before.filter(|before| *before >= view) {
            let sentence = format!("{replica} sent {command} in {view}, and served in {before} before it restarted");
            return Err(broken(PROMISE, "served in an old view after a restart", sentence));
        }
        if served.now < Some(view) {
            (served.now, served.started) = (Some(view), Op::ROOT);
        }
        Ok(())
    }

    /// As [`Quorum::serves`], with the start of the view: what it says first is what was committed then.
    pub(super) fn starts(&mut self, replica: ReplicaId, view: View, commit: Op) -> Result<(), Violation> {
        let first = self.replicas[replica.0 as usize].now < Some(view);
        self.serves(replica, Command::StartView, view)?;
        if first {
            self.replicas[replica.0 as usize].started = commit;
        }
        Ok(())
    }

    /// A replica executes an op: the primary of `view` only what it may count as committed there.
    pub(super) fn counted(
        &self,
        prepare: Option<&Prepare>,
        replica: ReplicaId,
        header: &Header,
        view: View,
        holds: impl Fn(ReplicaId) -> bool,
    ) -> Result<(), Violation> {
        let served = &self.replicas[replica.0 as usize];
        if served.now != Some(view) || header.op <= served.started {
            return Ok(());
        }
        let quorum = majority(self.replica_count);
        let set = prepare.and_then(|prepare| prepare.acks().find(|(at, _)| *at == view)).map(|(_, set)| set);
        let set = set.unwrap_or_default();
        if set.count() + u8::from(!set.contains(replica) && holds(replica)) >= quorum {
            return Ok(());
        }
        let sentence = format!(
            "{replica}, the primary of {view}, executed {} ({:?}), of which {} of the {quorum} copies that commit were \
             acknowledged in that view",
            header.op,
            header.checksum,
            set.count()
        );
        Err(broken(PROMISE, "committed by acknowledgements of another view", sentence))
    }

    /// A prepare is sent that was not known: its view's primary proposes it, on top of one that is known.
    pub(super) fn proposes(
        &mut self,
        prepares: &Prepares,
        executed: (Op, Checksum),
        replica: ReplicaId,
        speech: Speech<'_>,
    ) -> Result<(), Violation> {
        let (view, op, checksum) = (speech.view(), speech.op(), speech.checksum());
        self.serves(replica, Command::Prepare, view)?;
        if let Some(other) = prepares.at(op).find(|other| other.view == view) {
            let sentence =
                format!("{replica} proposes {checksum:?} for {op} in {view}, and proposed {:?}", other.checksum);
            return Err(broken(PROMISE, "two prepares for one op in one view", sentence));
        }
        if let Some((_, other)) = self.chosen(prepares, executed, view).find(|(chosen, _)| *chosen == op) {
            let known = other.checksum;
            let sentence =
                format!("{replica} proposes {checksum:?} for {op} in {view}; a majority acknowledged {known:?}");
            return Err(broken(PROMISE, "another prepare for what a majority acknowledged", sentence));
        }
        let parent = Checksum(speech.context());
        let stands =
            op.0 > 0 && if op.0 == 1 { parent == self.root } else { prepares.get(op.previous(), parent).is_some() };
        if !stands {
            let sentence = format!("{replica} proposes {op} on top of {parent:?}, which nobody proposed");
            return Err(broken(PROMISE, "a prepare on top of nothing", sentence));
        }
        Ok(())
    }

    /// A primary says what the log of its view is: up to `head`, ending with these headers. `executed` is judged elsewhere.
    pub(super) fn view_starts(
        &self,
        prepares: &Prepares,
        executed: (Op, Checksum),
        view: View,
        head: Op,
        headers: &[Header],
    ) -> Result<(), Violation> {
        for (op, chosen) in self.chosen(prepares, executed, view) {
            let stated = headers.iter().find(|header| header.op == op);
            if op > head || stated.is_some_and(|header| header.checksum != chosen.checksum) {
                let checksum = chosen.checksum;
                let sentence = format!(
                    "{view} starts with a log up to {head} without {op}, {checksum:?}, which a majority acknowledged"
                );
                return Err(broken(PROMISE, "a view without what a majority acknowledged", sentence));
            }
        }
        Ok(())
    }

    /// What a majority acknowledged in `view` or before, on top of what is executed. Each stands on the one before: above an op
    /// that no majority acknowledged nothing is committed, whoever acknowledged it.
    fn chosen<'a>(
        &'a self,
        prepares: &'a Prepares,
        executed: (Op, Checksum),
        view: View,
    ) -> impl Iterator<Item = (Op, &'a Prepare)> {
        let (first, mut parent) = (executed.0.next(), executed.1);
        (first.0..=prepares.head().0).map(Op).map_while(move |op| {
            let stands = |prepare: &Prepare| Speech::of(&prepare.frame).is_some_and(|it| it.context() == parent.0);
            let chosen = prepares.at(op).find(|prepare| stands(prepare) && self.is_chosen(prepare, view))?;
            parent = chosen.checksum;
            Some((op, chosen))
        })
    }

    /// Whether a majority acknowledged this in `view` or an earlier one.
    fn is_chosen(&self, prepare: &Prepare, view: View) -> bool {
        prepare.acks().any(|(acknowledged, set)| acknowledged <= view && set.count() >= majority(self.replica_count))
    }

    /// An op is executed for the first time. `holds` says whether a replica's disk holds it. Who acknowledged it by that.
    pub(super) fn committed(
        &self,
        prepare: Option<&Prepare>,
        replica: ReplicaId,
        header: &Header,
        view: View,
        holds: impl Fn(ReplicaId) -> bool,
    ) -> Result<Option<(ReplicaId, View)>, Violation> {
        let quorum = majority(self.replica_count);
        let mut most = 0;
        // The executing replica's own view is one in which nobody else may have acknowledged: a single replica's always is.
        for (view, set) in prepare.into_iter().flat_map(Prepare::acks).chain([(view, Default::default())]) {
            if set.count() >= quorum {
                return Ok(None);
            }
            let primary = view.primary(self.replica_count);
            let held = !set.contains(primary) && holds(primary);
            let copies = set.count() + u8::from(held);
            if copies >= quorum {
                return Ok(Some((primary, view)));
            }
            most = most.max(copies);
        }
        let sentence = format!(
            "{replica} executed {} ({:?}) when no view had acknowledged more than {most} of the {quorum} copies that commit",
            header.op, header.checksum
        );
        Err(broken(PROMISE, "executed without a quorum", sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::script::{CLUSTER, R0, R1, R2, chain, frame, prepare};

    fn quorum() -> Quorum {
        Quorum::new(3, Header::root(CLUSTER).checksum)
    }

    /// Nothing is executed.
    fn root() -> (Op, Checksum) {
        (Op::ROOT, Header::root(CLUSTER).checksum)
    }

    fn known(log: &[Header]) -> Prepares {
        let mut prepares = Prepares::default();
        for header in log {
            prepares.add(header.op, Prepare::new(header.checksum, header.view, frame(header)));
        }
        prepares
    }

    /// Whether `op 1` of view 1, with these acknowledgements, may be executed while these replicas hold it.
    fn commits(acks: &[(ReplicaId, u64)], holders: &[ReplicaId], view: u64) -> bool {
        let log = chain(1, 1);
        let mut prepares = known(&log);
        for (replica, view) in acks {
            prepares.get_mut(Op(1), log[0].checksum).unwrap().acknowledge(*replica, View(*view));
        }
        let prepare = prepares.get(Op(1), log[0].checksum);
        quorum().committed(prepare, R1, &log[0], View(view), |replica| holders.contains(&replica)).is_ok()
    }

    #[test]
    fn a_primary_that_holds_it_and_a_backup_that_acknowledged_it_are_a_quorum_of_three() {
        assert!(commits(&[(R0, 1)], &[R1], 1));
        assert!(commits(&[(R0, 1), (R2, 1)], &[], 1), "two backups, while the primary's disk is slow");
    }

    #[test]
    fn too_few_copies_are_a_violation() {
        assert!(!commits(&[], &[R1], 1), "the primary alone");
        assert!(!commits(&[(R0, 1)], &[], 1), "a backup alone");
        assert!(!commits(&[(R0, 1), (R0, 1)], &[], 1), "the same backup twice");
        assert!(!commits(&[], &[R0, R1, R2], 1), "copies that nobody spoke of");
    }

    #[test]
    fn acknowledgements_of_two_views_do_not_add_up() {
        assert!(!commits(&[(R0, 1), (R1, 2)], &[], 2));
        assert!(commits(&[(R0, 1), (R1, 2)], &[R1], 2), "but an earlier view may have committed it already");
    }

    #[test]
    fn a_single_replica_is_its_own_quorum() {
        let log = chain(0, 1);
        let quorum = Quorum::new(1, Header::root(CLUSTER).checksum);
        assert!(quorum.committed(None, R0, &log[0], View(3), |_| true).is_ok());
        assert!(quorum.committed(None, R0, &log[0], View(3), |_| false).is_err());
    }

    #[test]
    fn one_view_has_one_primary_and_one_prepare_for_each_op() {
        let log = chain(1, 2);
        let proposes = |replica, prepares: &Prepares, header: &Header| {
            let frame = frame(header);
            quorum().proposes(prepares, root(), replica, Speech::of(&frame).unwrap()).map_err(|broken| broken.place)
        };
        assert_eq!(proposes(R1, &known(&[]), &log[0]), Ok(()));
        assert_eq!(proposes(R1, &known(&log[..1]), &log[1]), Ok(()));
        assert_eq!(proposes(R2, &known(&[]), &log[0]), Err("spoke as the primary of another's view".into()));
        let other = prepare(1, 2, log[1].checksum);
        assert_eq!(proposes(R1, &known(&log), &other), Err("two prepares for one op in one view".into()));
        assert_eq!(proposes(R1, &known(&[]), &log[1]), Err("a prepare on top of nothing".into()));
        assert_eq!(
            proposes(R1, &known(&log[1..]), &prepare(4, 2, Checksum(5))),
            Err("a prepare on top of nothing".into())
        );
    }

    #[test]
    fn a_restarted_primary_serves_in_later_views_only() {
        let mut quorum = quorum();
        quorum.serves(R1, Command::Commit, View(4)).unwrap();
        quorum.serves(R1, Command::Commit, View(4)).unwrap();
        quorum.crashed(R1);
        quorum.crashed(R1);
        let violation = quorum.serves(R1, Command::StartView, View(4)).unwrap_err();
        assert_eq!(violation.sentence, "r1 sent start_view in v4, and served in v4 before it restarted");
        quorum.serves(R1, Command::StartView, View(7)).unwrap();
    }

    #[test]
    fn a_primary_counts_only_what_was_acknowledged_in_its_view() {
        let log = chain(1, 2);
        let mut prepares = known(&log);
        let mut quorum = quorum();
        let counted = |quorum: &Quorum, prepares: &Prepares, op: usize, view| {
            let (header, holds) = (&log[op - 1], |_| true);
            let prepare = prepares.get(header.op, header.checksum);
            quorum.counted(prepare, R1, header, View(view), holds).map_err(|broken| broken.place)
        };
        assert_eq!(counted(&quorum, &prepares, 2, 4), Ok(()), "it does not serve there");
        quorum.starts(R1, View(4), Op(1)).unwrap();
        prepares.get_mut(Op(2), log[1].checksum).unwrap().acknowledge(R0, View(1));
        assert_eq!(counted(&quorum, &prepares, 1, 4), Ok(()), "committed before");
        let other = Err("committed by acknowledgements of another view".to_owned());
        assert_eq!(counted(&quorum, &prepares, 2, 4), other);
        quorum.starts(R1, View(4), Op(2)).unwrap();
        assert_eq!(counted(&quorum, &prepares, 2, 4), other, "said again, later");
        prepares.get_mut(Op(2), log[1].checksum).unwrap().acknowledge(R2, View(4));
        assert_eq!(counted(&quorum, &prepares, 2, 4), Ok(()), "that one's and its own");
        let header = &log[1];
        let prepare = prepares.get(header.op, header.checksum);
        assert!(quorum.counted(prepare, R1, header, View(4), |_| false).is_err(), "it does not hold it itself");
        quorum.serves(R1, Command::Commit, View(7)).unwrap();
        assert_eq!(counted(&quorum, &prepares, 1, 7), other, "a view that never said what it began with");
    }

    #[test]
    fn what_a_majority_acknowledged_in_a_view_is_in_every_later_one() {
        let log = chain(1, 2);
        let mut prepares = known(&log);
        let starts_after = |executed, prepares: &Prepares, view, headers: &[Header]| {
            let head = headers[headers.len() - 1].op;
            quorum().view_starts(prepares, executed, View(view), head, headers).map_err(|broken| broken.place)
        };
        let first = (Op(1), log[0].checksum);
        let starts = |prepares: &Prepares, view, headers: &[Header]| starts_after(first, prepares, view, headers);
        assert_eq!(starts(&prepares, 2, &log[..1]), Ok(()));
        for (replica, view) in [(R0, 1), (R2, 2)] {
            prepares.get_mut(Op(2), log[1].checksum).unwrap().acknowledge(replica, View(view));
        }
        assert_eq!(starts(&prepares, 3, &log[..1]), Ok(()), "each in a view of its own");
        prepares.get_mut(Op(2), log[1].checksum).unwrap().acknowledge(R2, View(1));
        let lost = Err("a view without what a majority acknowledged".to_owned());
        assert_eq!(starts(&prepares, 2, &log[..1]), lost);
        assert_eq!(starts_after(root(), &prepares, 2, &log[..1]), Ok(()), "nothing is committed above what is not");
        assert_eq!(starts(&prepares, 2, &[prepare(2, 1, log[0].parent()), prepare(2, 2, log[0].checksum)]), lost);
        assert_eq!(starts(&prepares, 2, &log), Ok(()));
        assert_eq!(starts(&prepares, 0, &log[..1]), Ok(()), "an earlier view need not have it");
        let other = frame(&prepare(4, 2, log[0].checksum));
        let proposed =
            quorum().proposes(&prepares, (Op(1), log[0].checksum), R1, Speech::of(&other).unwrap()).unwrap_err();
        assert_eq!(proposed.place, "another prepare for what a majority acknowledged");
    }
}
