//! What was sent lately, for a network that says it again.

use std::collections::{BTreeMap, VecDeque};

use chronon::{frame::Frame, types::NodeId};

/// The last frames of each link, oldest first, each with its number. Nothing is kept until somebody asks for it.
#[derive(Clone, Default)]
pub(super) struct Memory {
    frames_max: usize,
    links: BTreeMap<(NodeId, NodeId), VecDeque<(u64, Frame)>>,
}

impl Memory {
    /// Keeps so many frames of each link from now on.
    pub(super) fn keep(&mut self, frames_max: u32) {
        self.frames_max = frames_max as usize;
        for frames in self.links.values_mut() {
            frames.drain(..frames.len().saturating_sub(self.frames_max));
        }
    }

    #[inline(always)]
    pub(super) fn keeps(&self) -> bool {
        self.frames_max > 0
    }

    pub(super) fn add(&mut self, from: NodeId, to: NodeId, number: u64, frame: &Frame) {
        let frames = self.links.entry((from, to)).or_default();
        if frames.len() >= self.frames_max {
            frames.pop_front();
        }
        frames.push_back((number, frame.clone()));
    }

    pub(super) fn frames(&self, from: NodeId, to: NodeId) -> impl Iterator<Item = &(u64, Frame)> {
        self.links.get(&(from, to)).into_iter().flatten()
    }
}
