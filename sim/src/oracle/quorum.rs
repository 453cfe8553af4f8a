//! Promise: a commit has a quorum of durable copies, and a view has one primary with one log.
//!
//! When an op is first executed, or first said to be committed, there must be a view in which a majority acknowledged that very
//! prepare: backups by a `prepare_ok` of that view (each was on its sender's disk, see durability.rs), the view's primary by
//! holding it. Acknowledgements of different views do not add up: who gave one may have left for another log since. So what a
//! primary commits, or says is committed, beyond the commit index with which its view began, a majority acknowledged in that
//! very view.
//!
//! A primary acknowledges to itself alone. Its copy is looked for when it is first needed, and from then on it is an
//! acknowledgement like any other: between the commit and the execution, which may have to wait, its disk may be lost.
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
    durability::Durability,
    prepares::{Prepare, Prepares, Replicas},
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
    /// All up to here was found to be committed when a replica said so.
    told: Op,
}

#[derive(Clone, Copy, Default)]
struct Served {
    /// The latest view in which it served in this life.
    now: Option<View>,
    /// What was committed when that view began, as it says.
    started: Op,
    /// All up to here was found to be committed in that view, or before it.
    counted: Op,
    /// The latest view in which it served in all lives before.
    before: Option<View>,
}

/// The copies of a prepare that count in one view.
#[derive(Clone, Copy)]
struct Copies {
    count: u8,
    /// Whether the primary's own is among them that was found on its disk, and is not remembered yet.
    by_holding: bool,
}

impl Quorum {
    pub(super) fn new(replica_count: u8, root: Checksum) -> Self {
        Self { replica_count, root, replicas: vec![Served::default(); replica_count as usize], told: Op::ROOT }
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
            (served.now, served.started, served.counted) = (Some(view), Op::ROOT, Op::ROOT);
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
        let set = prepare.map(|prepare| prepare.acks_in(view)).unwrap_or_default();
        if self.copies(view, set, &holds).count >= quorum {
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

    /// A replica says what is committed: the primary of a view, above what it began with, what that view has acknowledged; below
    /// it, and whoever gives its log away, what any view has. `holds` says whether the disk of who says it holds a prepare:
    /// another one's copy was looked for when that one said it.
    pub(super) fn tells(
        &mut self,
        (prepares, durability): (&mut Prepares, &mut Durability),
        executed: Op,
        (replica, speech): (ReplicaId, Speech<'_>),
        holds: impl Fn(Op, &Prepare) -> bool,
    ) -> Result<(), Violation> {
        let (view, commit) = (speech.view(), speech.commit());
        let served = self.replicas[replica.0 as usize];
        let leads = speech.command() != Some(Command::DoViewChange);
        let (known, own) = (self.told.max(executed), served.started.max(served.counted));
        let first = if leads { known.min(own) } else { known }.next();
        for op in (first.0..=commit.0).map(Op) {
            let counts_in = Some(view).filter(|_| leads && op > own);
            let mut most = 0;
            for prepare in prepares.at_mut(op) {
                let views = prepare.acks().filter(|(view, _)| counts_in.is_none_or(|only| only == *view));
                let copies = |(view, acks)| (view, self.copies(view, acks, |it| it == replica && holds(op, prepare)));
                let Some((view, copies)) = views.map(copies).max_by_key(|(_, copies)| copies.count) else { continue };
                most = most.max(copies.count);
                if copies.by_holding && copies.count >= majority(self.replica_count) {
                    prepare.acknowledge(replica, view);
                    durability.remember(replica, view, op);
                }
            }
            if most < majority(self.replica_count) {
                return Err(self.told_too_early((replica, speech), op, most));
            }
        }
        self.told = self.told.max(commit);
        if leads {
            self.replicas[replica.0 as usize].counted = own.max(commit);
        }
        Ok(())
    }

    #[cold]
    fn told_too_early(&self, (replica, speech): (ReplicaId, Speech<'_>), op: Op, most: u8) -> Violation {
        let (command, view) = (speech.command().unwrap_or(Command::Commit), speech.view());
        let sentence = format!(
            "{replica} said by {command} in {view} that {op} is committed, of which {most} of the {} copies that commit were \
             acknowledged",
            majority(self.replica_count)
        );
        broken(PROMISE, "told as committed without a quorum", sentence)
    }

    /// The copies in `view` of a prepare that these acknowledged in it. Whether the primary holds it is asked only if it matters.
    fn copies(&self, view: View, acks: Replicas, holds: impl Fn(ReplicaId) -> bool) -> Copies {
        let (quorum, primary, count) = (majority(self.replica_count), view.primary(self.replica_count), acks.count());
        let by_holding = count < quorum && !acks.contains(primary) && holds(primary);
        Copies { count: count + u8::from(by_holding), by_holding }
    }

    /// An op is executed for the first time. `holds` says whether a replica's disk holds it. Which primary acknowledged it by that.
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
            let copies = self.copies(view, set, &holds);
            if copies.count >= quorum {
                return Ok(copies.by_holding.then(|| (view.primary(self.replica_count), view)));
            }
            most = most.max(copies.count);
        }
        let sentence = format!(
            "{replica} executed {} ({:?}) when no view had acknowledged more than {most} of the {quorum} copies that commit",
            header.op, header.checksum
        );
        Err(broken(PROMISE, "executed without a quorum", sentence))
    }
}

#[cfg(test)]
mod tests;
