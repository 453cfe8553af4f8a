//! Every prepare that was proposed, and who acknowledged it in which view: facts, which several promises are judged by.
//!
//! Invariant: an acknowledgement counts for the view that it named, once for each replica. A replica is among a prepare's
//! `holders` from its first acknowledgement on, through crashes, until it writes another prepare over it: what a replica
//! itself may have forgotten is remembered here.

use chronon::{
    frame::Frame,
    types::{Checksum, Op, ReplicaId, View},
};

/// A set of replicas that they may leave again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Replicas(u8);

impl Replicas {
    pub(super) const fn insert(&mut self, replica: ReplicaId) {
        self.0 |= 1 << replica.0;
    }

    pub(super) const fn remove(&mut self, replica: ReplicaId) {
        self.0 &= !(1 << replica.0);
    }

    pub(super) const fn contains(self, replica: ReplicaId) -> bool {
        self.0 >> replica.0 & 1 == 1
    }

    pub(super) const fn count(self) -> u8 {
        self.0.count_ones() as u8
    }
}

/// One prepare.
#[derive(Clone)]
pub(super) struct Prepare {
    pub(super) checksum: Checksum,
    /// The view that prepared it.
    pub(super) view: View,
    /// The whole of it, as it was first sent.
    pub(super) frame: Frame,
    /// Who acknowledged it and has not written over it since.
    pub(super) holders: Replicas,
    /// Who acknowledged it in the view in which it was acknowledged last.
    acks: (View, Replicas),
    /// The same of other views.
    other_acks: Vec<(View, Replicas)>,
}

impl Prepare {
    pub(super) fn new(checksum: Checksum, view: View, frame: Frame) -> Self {
        let acks = (view, Replicas::default());
        Self { checksum, view, frame, holders: Replicas::default(), acks, other_acks: Vec::new() }
    }

    pub(super) fn acknowledge(&mut self, replica: ReplicaId, view: View) {
        self.holders.insert(replica);
        if view == self.acks.0 {
            return self.acks.1.insert(replica);
        }
        if let Some((_, set)) = self.other_acks.iter_mut().find(|(known, _)| *known == view) {
            return set.insert(replica);
        }
        let mut set = Replicas::default();
        set.insert(replica);
        self.other_acks.push(std::mem::replace(&mut self.acks, (view, set)));
    }

    /// Who acknowledged it, by view.
    pub(super) fn acks(&self) -> impl Iterator<Item = (View, Replicas)> {
        std::iter::once(self.acks).chain(self.other_acks.iter().copied())
    }

    /// Who acknowledged it in `view`.
    pub(super) fn acks_in(&self, view: View) -> Replicas {
        self.acks().find(|(at, _)| *at == view).map(|(_, set)| set).unwrap_or_default()
    }
}

/// Every prepare, by op.
#[derive(Clone, Default)]
pub(super) struct Prepares {
    by_op: Vec<Proposed>,
}

/// The prepares of one op: mostly one.
#[derive(Clone, Default)]
struct Proposed {
    first: Option<Prepare>,
    others: Vec<Prepare>,
}

impl Prepares {
    pub(super) fn get(&self, op: Op, checksum: Checksum) -> Option<&Prepare> {
        self.at(op).find(|prepare| prepare.checksum == checksum)
    }

    pub(super) fn get_mut(&mut self, op: Op, checksum: Checksum) -> Option<&mut Prepare> {
        self.at_mut(op).find(|prepare| prepare.checksum == checksum)
    }

    /// All that were proposed for `op`, in the order in which they first were.
    pub(super) fn at(&self, op: Op) -> impl Iterator<Item = &Prepare> {
        self.by_op.get(op.0 as usize).into_iter().flat_map(|proposed| proposed.first.iter().chain(&proposed.others))
    }

    /// As [`Prepares::at`], to acknowledge them.
    pub(super) fn at_mut(&mut self, op: Op) -> impl Iterator<Item = &mut Prepare> {
        let proposed = self.by_op.get_mut(op.0 as usize).into_iter();
        proposed.flat_map(|proposed| proposed.first.iter_mut().chain(&mut proposed.others))
    }

    /// The highest op for which anything was proposed.
    pub(super) fn head(&self) -> Op {
        Op((self.by_op.len() as u64).saturating_sub(1))
    }

    /// Adds a prepare that was not known.
    pub(super) fn add(&mut self, op: Op, prepare: Prepare) {
        if self.by_op.len() as u64 <= op.0 {
            self.by_op.resize_with(op.0 as usize + 1, Proposed::default);
        }
        let proposed = &mut self.by_op[op.0 as usize];
        if proposed.first.is_none() {
            proposed.first = Some(prepare);
        } else {
            proposed.others.push(prepare);
        }
    }

    /// A replica's disk is another: it holds nothing of what it acknowledged.
    pub(super) fn lost(&mut self, replica: ReplicaId) {
        for proposed in &mut self.by_op {
            for prepare in proposed.first.iter_mut().chain(&mut proposed.others) {
                prepare.holders.remove(replica);
            }
        }
    }

    /// A replica writes the prepare with this checksum: whatever else it had for the op is gone.
    pub(super) fn overwrite(&mut self, replica: ReplicaId, op: Op, checksum: Checksum) {
        let Some(proposed) = self.by_op.get_mut(op.0 as usize) else { return };
        for prepare in proposed.first.iter_mut().chain(&mut proposed.others) {
            if prepare.checksum != checksum {
                prepare.holders.remove(replica);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const R0: ReplicaId = ReplicaId(0);
    const R1: ReplicaId = ReplicaId(1);

    fn prepare(checksum: u128, view: u64) -> Prepare {
        Prepare::new(Checksum(checksum), View(view), Frame::default())
    }

    #[test]
    fn acknowledgements_count_once_for_each_replica_and_apart_for_each_view() {
        let mut prepare = prepare(1, 3);
        for (replica, view) in [(R0, 3), (R0, 3), (R1, 4), (R0, 3), (R0, 5)] {
            prepare.acknowledge(replica, View(view));
        }
        let mut acks: Vec<_> = prepare.acks().map(|(view, set)| (view.0, set.count(), set.contains(R1))).collect();
        acks.sort_unstable();
        assert_eq!(acks, [(3, 1, false), (4, 1, true), (5, 1, false)]);
    }

    #[test]
    fn a_replica_holds_what_it_acknowledged_until_it_writes_another_prepare_over_it() {
        let mut prepares = Prepares::default();
        prepares.add(Op(4), prepare(1, 1));
        prepares.add(Op(4), prepare(2, 2));
        prepares.get_mut(Op(4), Checksum(1)).unwrap().acknowledge(R0, View(1));
        prepares.overwrite(R0, Op(4), Checksum(1));
        prepares.overwrite(R1, Op(4), Checksum(2));
        prepares.overwrite(R0, Op(5), Checksum(2));
        assert!(prepares.get(Op(4), Checksum(1)).unwrap().holders.contains(R0));
        prepares.overwrite(R0, Op(4), Checksum(2));
        assert!(!prepares.get(Op(4), Checksum(1)).unwrap().holders.contains(R0));
        assert_eq!(prepares.at(Op(4)).count(), 2);
        assert_eq!(prepares.at(Op(3)).count() + prepares.at(Op(9)).count(), 0);
    }
}
