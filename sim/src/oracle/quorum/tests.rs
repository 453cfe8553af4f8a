//! Copies that count, copies that do not, and who may say so: one primary, one log and one majority at a time.

use super::*;
use crate::oracle::script::{CLUSTER, LAYOUT, R0, R1, R2, chain, frame, prepare, say};

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
    assert_eq!(proposes(R1, &known(&log[1..]), &prepare(4, 2, Checksum(5))), Err("a prepare on top of nothing".into()));
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
    let proposed = quorum().proposes(&prepares, (Op(1), log[0].checksum), R1, Speech::of(&other).unwrap()).unwrap_err();
    assert_eq!(proposed.place, "another prepare for what a majority acknowledged");
}

/// A log of two ops of view 1, proposed by replica 1, and what is known of it.
struct Scene {
    log: Vec<Header>,
    prepares: Prepares,
    durability: Durability,
    quorum: Quorum,
}

fn scene() -> Scene {
    let (log, mut quorum) = (chain(1, 2), quorum());
    quorum.starts(R1, View(1), Op::ROOT).unwrap();
    Scene { prepares: known(&log), log, durability: Durability::new(3, LAYOUT), quorum }
}

impl Scene {
    fn acknowledges(&mut self, replica: ReplicaId, op: u64, view: u64) {
        let checksum = self.log[op as usize - 1].checksum;
        self.prepares.get_mut(Op(op), checksum).unwrap().acknowledge(replica, View(view));
    }

    /// A replica that holds the prepares of `held` says by this command that all up to `commit` is committed.
    fn says(
        &mut self,
        command: Command,
        replica: ReplicaId,
        view: u64,
        commit: u64,
        held: &[u64],
    ) -> Result<(), String> {
        let frame = say(command, replica, view, |header| header.commit.0 = commit);
        let known = (&mut self.prepares, &mut self.durability);
        let told = (replica, Speech::of(&frame).unwrap());
        let said = self.quorum.tells(known, Op::ROOT, told, |op, _| held.contains(&op.0));
        said.map_err(|broken| broken.sentence)
    }

    /// Whether replica 0 may be the first to execute the op, in view 1, when nobody's disk holds it.
    fn executes(&self, op: usize) -> bool {
        let header = &self.log[op - 1];
        let prepare = self.prepares.get(header.op, header.checksum);
        self.quorum.committed(prepare, R0, header, View(1), |_| false).is_ok()
    }
}

#[test]
fn a_primary_that_said_what_is_committed_has_acknowledged_it_though_its_disk_is_lost_since() {
    let mut scene = scene();
    scene.acknowledges(R0, 1, 1);
    assert!(!scene.executes(1), "what it held when it said nothing, nobody knows");
    scene.says(Command::Commit, R1, 1, 1, &[1]).unwrap();
    assert!(scene.executes(1) && !scene.executes(2));
    let prepare = scene.prepares.get(Op(1), scene.log[0].checksum).unwrap();
    assert!(prepare.holders.contains(R1), "and may not say that it never had it, unless its disk is lost");
}

#[test]
fn a_primary_that_left_its_view_says_by_its_log_what_it_counted() {
    let mut scene = scene();
    scene.acknowledges(R0, 1, 1);
    scene.says(Command::DoViewChange, R1, 2, 1, &[1]).unwrap();
    assert!(scene.executes(1));
    scene.quorum.starts(R2, View(2), Op(1)).unwrap();
    scene.says(Command::StartView, R2, 2, 1, &[]).unwrap();
    scene.says(Command::DoViewChange, R0, 3, 1, &[]).unwrap();
}

#[test]
fn a_primary_says_that_is_committed_what_its_view_has_acknowledged() {
    let early = |command: &str, op| {
        Err(format!(
            "r1 said by {command} in v1 that op{op} is committed, of which 1 of the 2 copies that commit were acknowledged"
        ))
    };
    let mut scene = scene();
    scene.acknowledges(R0, 1, 1);
    assert_eq!(scene.says(Command::Commit, R1, 1, 1, &[]), early("commit", 1), "it does not hold it itself");
    assert_eq!(scene.says(Command::Prepare, R1, 1, 2, &[1, 2]), early("prepare", 2), "one of them is its own alone");
    scene.acknowledges(R2, 2, 2);
    assert_eq!(scene.says(Command::Commit, R1, 1, 2, &[1, 2]), early("commit", 2), "in another view");
    scene.acknowledges(R2, 2, 1);
    assert_eq!(scene.says(Command::Commit, R1, 1, 2, &[1, 2]), Ok(()));
    assert_eq!(scene.says(Command::Commit, R1, 1, 2, &[]), Ok(()), "what was found once is not looked for again");
}

#[test]
fn what_a_view_began_with_another_one_has_committed() {
    let mut scene = scene();
    for op in [1, 2] {
        scene.acknowledges(R0, op, 1);
    }
    scene.says(Command::Commit, R1, 1, 1, &[1, 2]).unwrap();
    scene.quorum.starts(R2, View(2), Op(1)).unwrap();
    assert_eq!(scene.says(Command::StartView, R2, 2, 1, &[]), Ok(()));
    assert!(scene.says(Command::Commit, R2, 2, 2, &[1, 2]).is_err(), "nobody else has acknowledged it in view 2");
    scene.acknowledges(R0, 2, 2);
    assert_eq!(scene.says(Command::Commit, R2, 2, 2, &[1, 2]), Ok(()));
}
