//! Which chunks nothing needs any more, so that their blocks are free.
//!
//! What a checkpoint reaches is needed until the superblock names another one, and a majority has that one too; what somebody fetches,
//! within a bound. Of a checkpoint that is let go, what differs from the one that took its place is looked at and nothing else: most
//! of a large state is in both.

use alloc::vec::Vec;
use core::mem;

use super::{
    Vsr,
    checkpoint::{Checkpoints, PIN_MAX_NS, PIN_NS, Pinned},
};
use crate::types::Checksum;

impl Checkpoints {
    fn needs(&self, address: Checksum) -> bool {
        let Self { reached, next, making, kept, pinned, fetching, .. } = self;
        reached.contains(&address)
            || making.contains(&address)
            || kept.iter().any(|(_, reached)| reached.contains(&address))
            || pinned.chunks.contains(&address)
            || next.as_ref().is_some_and(|(_, reached)| reached.contains(&address))
            || fetching.wants(address)
    }
}

impl Vsr {
    /// Lets go what lies below the checkpoint that is vouched for. The last of these stays as long as somebody fetches it; what was
    /// pinned already goes on being so while it is asked for.
    pub(super) fn let_go(&mut self) {
        let now = self.now.monotonic;
        let Checkpoints { kept, pinned, vouched, let_go, .. } = &mut self.checkpoints;
        let above = kept.iter().position(|(op, _)| *op >= vouched.op).unwrap_or(kept.len());
        let Pinned { chunks, asked, until } = pinned;
        let in_demand = asked.0 > 0 && now.since(*asked) < PIN_NS;
        if !in_demand {
            let_go.push(mem::take(chunks));
        } else if above > 0 && (chunks.is_empty() || now >= *until) {
            let_go.push(mem::replace(chunks, mem::take(&mut kept[above - 1].1)));
            *until = now.after(PIN_MAX_NS);
        }
        let_go.extend(kept.drain(..above).map(|(_, before)| before));
        self.free_unreached();
    }

    /// Frees the blocks of the chunks that were let go and that nothing else needs, but for those that are being written.
    pub(super) fn free_unreached(&mut self) {
        if !self.checkpoints.is_surveyed {
            return;
        }
        for before in mem::take(&mut self.checkpoints.let_go) {
            let unreached: Vec<Checksum> = before.difference(&self.checkpoints.reached).copied().collect();
            for address in unreached {
                let Some(block) = self.checkpoints.grid.find(address) else { continue };
                if self.checkpoints.needs(address) {
                    continue;
                }
                if self.checkpoints.writing.contains(&block) {
                    self.checkpoints.let_go.push([address].into());
                } else {
                    self.checkpoints.grid.release(address);
                }
            }
        }
    }

    /// The same for every chunk that there is: where there is no room, nothing may have been forgotten.
    pub(super) fn free_all_unreached(&mut self) {
        if !self.checkpoints.is_surveyed {
            return;
        }
        let mut grid = mem::take(&mut self.checkpoints.grid);
        let Checkpoints { writing, .. } = &self.checkpoints;
        grid.retain(|address, block| self.checkpoints.needs(address) || writing.contains(&block));
        self.checkpoints.grid = grid;
    }
}
