//! Which leaves came of which part of the state that was written last: what did not change since is not written again, nor read.
//!
//! A *run* is what a snapshot wrote between two positions at both of which a leaf had just ended by its content. Where one leaf ends
//! follows from the records since the one before ended, so that the same records after the same position give the same leaves: a run
//! whose records did not change is its leaves' addresses, on every replica, whether it writes them or knows them.
//!
//! Invariant: what is known here is true of the state that the machine keeps ([`super::StateMachine::keep`]) and of no other. Whether a
//! chunk is still in the grid is for who asks to find out.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::types::Checksum;

/// The runs of a state that was written, by the positions that they go on from.
#[derive(Clone, Default)]
pub(super) struct Runs(BTreeMap<Vec<u8>, Run>);

#[derive(Clone)]
pub(super) struct Run {
    /// The position that it ends at.
    pub(super) through: Vec<u8>,
    pub(super) leaves: Vec<Checksum>,
}

impl Runs {
    /// Parts with the run that goes on from a position.
    pub(super) fn take(&mut self, from: &[u8]) -> Option<Run> {
        self.0.remove(from)
    }
}

/// The runs of a state that is being written.
#[derive(Clone, Default)]
pub(super) struct Tracing {
    runs: Runs,
    /// From where the present run goes on, and which leaf is its first.
    begun: Option<(Vec<u8>, usize)>,
}

impl Tracing {
    /// The writing stands at a position where a leaf has just ended, and these are the leaves up to there. Whether it was not known to.
    pub(super) fn reach(&mut self, position: &[u8], leaves: &[Checksum]) -> bool {
        if self.begun.as_ref().is_some_and(|(from, _)| from == position) {
            return false;
        }
        let next = (position.to_vec(), leaves.len());
        if let Some((from, first)) = self.begun.replace(next) {
            self.runs.0.insert(from, Run { through: position.to_vec(), leaves: leaves[first..].to_vec() });
        }
        true
    }

    /// What is known of the state when all of it is written.
    pub(super) fn finish(&mut self) -> Runs {
        core::mem::take(&mut self.runs)
    }
}

#[cfg(test)]
mod tests;
