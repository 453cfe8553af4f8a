//! Promise: what a lost replica promised is nobody's any more, and who takes its place promises nothing before it may.
//!
//! A replica whose disk was exchanged for an empty one has forgotten what it said. The incarnation that speaks in its place
//! afterwards gives its word (acknowledges, votes, confirms a round, leads) only when an op of the log has made it a member, in views at
//! least two above one in which that op was executed, and with everything through that op durable on its disk. What the former
//! incarnation says on top of that op, from a disk that was not lost after all or late, is no acknowledgement, whoever counts it. And a
//! majority of the others has said by then, of what is durable there, that it knows the op: in no later view can a quorum that counts the
//! former's word be without one that knows better.
//!
//! Judged from frames and disks; of the kernel's own view of the matter nothing is asked.

use chronon::{
    frame::Frame,
    types::{Checksum, Op, ReplicaId, View},
    vsr::quorum::majority,
    wire::{
        batch::{Batch, Kind},
        header::{Command, HEADER_SIZE},
        members::{Greeting, Members},
    },
};

use super::{
    Violation,
    durability::{Durability, Holding},
    model::Model,
    prepares::Prepares,
    promise::broken,
    speech::Speech,
};
use crate::disk::SimDisk;

const PROMISE: &str = "amnesia";

/// Where a batch's first entry has its kind.
const KIND_OFFSET: usize = 36;

/// Who was whom.
#[derive(Clone)]
pub(super) struct Amnesia {
    replicas: Vec<Place>,
}

/// What is known of one replica's number.
#[derive(Clone, Default)]
struct Place {
    /// The incarnations that the log gave it, each with its op.
    members: Vec<Member>,
    /// Incarnations that spoke when no disk of it had been lost yet.
    original: Option<u128>,
    was_lost: bool,
    /// The incarnation that was found to be allowed to give its word.
    cleared: Option<u128>,
    /// The latest version of the members that it said is durable on its disk.
    knows: u64,
}

#[derive(Clone, Copy)]
struct Member {
    incarnation: u128,
    op: Op,
    /// Of the members as the op has them.
    version: u64,
    /// The earliest view in which a replica that executed the op was then.
    view: View,
}

impl Amnesia {
    pub(super) fn new(replica_count: u8) -> Self {
        Self { replicas: vec![Place::default(); replica_count as usize] }
    }

    /// A replica's disk was exchanged: for an empty one, or for one that it had before.
    pub(super) fn exchanged(&mut self, replica: ReplicaId) {
        let place = &mut self.replicas[replica.0 as usize];
        (place.was_lost, place.cleared) = (true, None);
    }

    /// A replica in `view` executed this prepare: whom it makes members, if it does.
    pub(super) fn executed(&mut self, op: Op, view: View, frame: &Frame) {
        // Mostly it is none, and a batch is long.
        if frame.get(HEADER_SIZE + KIND_OFFSET) != Some(&(Kind::Members as u8)) {
            return;
        }
        let Some(Ok(batch)) = frame.get(HEADER_SIZE..).map(Batch::parse) else { return };
        let Some(entry) = batch.iter().next().filter(|entry| entry.kind == Kind::Members) else { return };
        let Ok(Members { version, incarnations }) = Members::decode(entry.payload) else { return };
        for (place, incarnation) in self.replicas.iter_mut().zip(incarnations) {
            if let Some(known) = place.members.iter_mut().find(|known| known.op == op) {
                known.view = known.view.min(view);
            } else if place.members.last().is_none_or(|last| last.op < op && last.incarnation != incarnation) {
                place.members.push(Member { incarnation, op, version, view });
            }
        }
    }

    /// Whether this incarnation's word counts for `op`: not if another had its place below.
    pub(super) fn counts(&self, replica: ReplicaId, incarnation: u128, op: Op) -> bool {
        let members = &self.replicas[replica.0 as usize].members;
        let own = members.iter().rposition(|member| member.incarnation == incarnation);
        let later = own.map_or(&members[..], |place| &members[place + 1..]);
        later.iter().all(|member| member.op >= op || member.incarnation == 0)
    }

    /// Whether the log gave this incarnation's place to another: to a later one, or to any if it never had it and does not
    /// recover, which takes it for a member from the beginning.
    pub(super) fn is_superseded(&self, replica: ReplicaId, incarnation: u128, is_recovering: bool) -> bool {
        let members = &self.replicas[replica.0 as usize].members;
        let later = match members.iter().rposition(|member| member.incarnation == incarnation) {
            Some(own) => &members[own + 1..],
            None if is_recovering => &[],
            None => &members[..],
        };
        later.iter().any(|member| member.incarnation != 0)
    }

    /// A replica says something of itself.
    pub(super) fn greets(&mut self, replica: ReplicaId, speech: Speech<'_>) {
        let place = &mut self.replicas[replica.0 as usize];
        if !place.was_lost {
            place.original = Some(speech.client().0);
        }
        if let Ok(greeting) = Greeting::decode(speech.body()) {
            place.knows = place.knows.max(greeting.version);
        }
    }

    /// A replica gives its word in `view`: acknowledges, votes, confirms or leads.
    pub(super) fn gives_word(
        &mut self,
        known: (&Model, &Prepares, &Durability),
        replica: ReplicaId,
        speech: Speech<'_>,
        incarnation: u128,
        superblock: Op,
        disk: &SimDisk,
    ) -> Result<(), Violation> {
        let place = &self.replicas[replica.0 as usize];
        if !place.was_lost || place.original == Some(incarnation) || place.cleared == Some(incarnation) {
            return Ok(());
        }
        let (command, view) = (speech.command().unwrap_or(Command::Ping), speech.view());
        let Some(member) = place.members.iter().find(|member| member.incarnation == incarnation) else {
            let sentence =
                format!("{replica} lost its disk, and sent {command} in {view} before it was a member again");
            return Err(broken(PROMISE, "gave its word as nobody's member", sentence));
        };
        let Member { op, version, view: executed_in, .. } = *member;
        if view.0 < executed_in.0 + 2 {
            let sentence = format!(
                "{replica} lost its disk, became a member again by {op}, which was executed in {executed_in}, and sent \
                 {command} in {view}"
            );
            return Err(broken(PROMISE, "gave its word in a view too early", sentence));
        }
        let others = (0..).zip(&self.replicas).filter(|(other, _)| ReplicaId(*other) != replica);
        let (aware, count) = (others.filter(|(_, other)| other.knows >= version).count(), self.replicas.len() as u8);
        if aware < usize::from(majority(count)) {
            let sentence = format!(
                "{replica} lost its disk, became a member again by {op}, and sent {command} in {view} when {aware} others of \
                 {count} had said that they know"
            );
            return Err(broken(PROMISE, "gave its word before a majority knew", sentence));
        }
        let (model, prepares, durability) = known;
        let canonical = |op: Op| model.get(op).map_or(Checksum(0), |known| known.checksum);
        let lacks = (superblock.0 + 1..=op.0).map(Op).find(|op| {
            let prepare = prepares.get(*op, canonical(*op));
            prepare.is_none_or(|prepare| durability.holding(disk, *op, &prepare.frame) == Holding::Missing)
        });
        if let Some(lacks) = lacks {
            let sentence = format!(
                "{replica} lost its disk, became a member again by {op}, and sent {command} in {view} without {lacks}"
            );
            return Err(broken(PROMISE, "gave its word without everything", sentence));
        }
        self.replicas[replica.0 as usize].cleared = Some(incarnation);
        Ok(())
    }
}

/// Whether a frame gives its sender's word, rather than to ask or to serve.
pub(super) const fn is_word(command: Command) -> bool {
    matches!(
        command,
        Command::PrepareOk
            | Command::StartViewChange
            | Command::DoViewChange
            | Command::StartView
            | Command::Commit
            | Command::ReadRoundOk
    )
}

#[cfg(test)]
mod tests {
    use chronon::wire::{batch, header::Header};

    use super::*;
    use crate::oracle::{
        prepares::Prepare,
        script::{CLUSTER, LAYOUT, R0, R1, R2, disk, say, say_with, store_prepare},
    };

    /// A log whose second op makes incarnation 8 of replica 1 a member, in place of 5; the first made all of them members.
    struct Scene {
        amnesia: Amnesia,
        model: Model,
        prepares: Prepares,
        durability: Durability,
        log: Vec<(Header, Frame)>,
    }

    fn scene() -> Scene {
        let mut scene = Scene {
            amnesia: Amnesia::new(3),
            model: Model::new(CLUSTER, 4),
            prepares: Prepares::default(),
            durability: Durability::new(3, LAYOUT),
            log: Vec::new(),
        };
        let mut parent = Header::root(CLUSTER).checksum;
        for (op, incarnation) in [(1, 5), (2, 8)] {
            let (mut payload, mut body) = (Vec::new(), Vec::new());
            Members { version: op, incarnations: vec![4, incarnation, 6] }.encode(&mut payload);
            batch::push_members(&mut body, &payload);
            let prepare = Header::new(CLUSTER, Command::Prepare, 1, View(1));
            let header = Header { op: Op(op), context: parent.0, ..prepare }.sealed(&body);
            parent = header.checksum;
            let frame = Frame::new([&header.encode()[..], &body].concat());
            scene.prepares.add(header.op, Prepare::new(header.checksum, View(1), frame.clone()));
            scene.amnesia.executed(header.op, View(4), &frame);
            scene.amnesia.executed(header.op, View(3), &frame);
            scene.model.append(&header, R0, View(4));
            scene.log.push((header, frame));
        }
        scene
    }

    impl Scene {
        /// Whether replica 1, in this incarnation and with so many ops on its disk, may vote in `view`.
        fn votes(&mut self, incarnation: u128, view: u64, ops: usize) -> Result<(), String> {
            let mut disk = disk(R1);
            for (header, frame) in &self.log[..ops] {
                store_prepare(&mut disk, header, frame, true);
            }
            let known = (&self.model, &self.prepares, &self.durability);
            let vote = say(Command::StartViewChange, R1, view, |_| {});
            let speech = Speech::of(&vote).expect("it is a frame");
            let said = self.amnesia.gives_word(known, R1, speech, incarnation, Op::ROOT, &disk);
            said.map_err(|broken| broken.place)
        }

        fn greets(&mut self, incarnation: u128) {
            let ping = say(Command::Ping, R1, 1, |header| header.client.0 = incarnation);
            self.amnesia.greets(R1, Speech::of(&ping).expect("it is a frame"));
        }

        /// These say which members they know.
        fn know(&mut self, replicas: &[ReplicaId], version: u64) {
            let mut body = Vec::new();
            Greeting { version, ..Greeting::default() }.encode(&mut body);
            for replica in replicas {
                let pong = say_with(Command::Pong, *replica, 1, |_| {}, &body);
                self.amnesia.greets(*replica, Speech::of(&pong).expect("it is a frame"));
            }
        }
    }

    #[test]
    fn who_lost_nothing_votes_as_it_likes() {
        assert_eq!(scene().votes(5, 0, 0), Ok(()));
        let mut scene = scene();
        scene.greets(5);
        scene.amnesia.exchanged(R1);
        assert_eq!(scene.votes(5, 0, 0), Ok(()), "what it promised it knows, though it counts no more");
    }

    #[test]
    fn who_recovers_votes_late_enough_and_with_everything() {
        let mut scene = scene();
        scene.amnesia.exchanged(R1);
        scene.greets(8);
        scene.know(&[R0, R2], 2);
        assert_eq!(scene.votes(9, 9, 2), Err("gave its word as nobody's member".into()));
        assert_eq!(scene.votes(8, 4, 2), Err("gave its word in a view too early".into()), "one after view 3");
        assert_eq!(scene.votes(8, 5, 1), Err("gave its word without everything".into()));
        assert_eq!(scene.votes(8, 5, 2), Ok(()));
        assert_eq!(scene.votes(8, 5, 0), Ok(()), "once it could, what it has is for others to judge");
        scene.amnesia.exchanged(R1);
        assert_eq!(scene.votes(8, 5, 0), Err("gave its word without everything".into()), "until it is lost again");
    }

    #[test]
    fn who_recovers_votes_when_a_majority_of_the_others_knows() {
        let mut scene = scene();
        scene.amnesia.exchanged(R1);
        let early = Err("gave its word before a majority knew".into());
        scene.know(&[R0, R1, R2], 1);
        assert_eq!(scene.votes(8, 5, 2), early);
        scene.know(&[R0, R1], 2);
        assert_eq!(scene.votes(8, 5, 2), early, "it is none of them itself");
        scene.know(&[R2], 3);
        scene.know(&[R0, R2], 1);
        assert_eq!(scene.votes(8, 5, 2), Ok(()), "what was known once is known");
    }

    #[test]
    fn on_top_of_an_op_that_replaced_it_nobody_s_word_counts() {
        let amnesia = scene().amnesia;
        let counts = |incarnation, op| amnesia.counts(R1, incarnation, Op(op));
        assert!(counts(5, 1) && counts(5, 2) && !counts(5, 3));
        assert!(counts(8, 1) && counts(8, 2) && counts(8, 3));
        assert!(counts(7, 1) && !counts(7, 2), "whoever that is");
    }
}
