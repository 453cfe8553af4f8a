//! Which chunks nothing needs any more, so that their blocks are free.
//!
//! What a checkpoint reaches is needed until the superblock names another one, and a majority has that one too, which this replica must know
//! after a crash as well: one that does not knows of the checkpoint before, and it or others may have to find that. What somebody fetches is
//! needed within a bound. Of a checkpoint that is let go, what differs from the one that took its place is looked at and nothing else: most
//! of a large state is in both.
//!
//! Invariant: whatever stops needing chunks hands them to [`LetGo`], so that between two times that something did, no search of
//! the whole grid finds anything.

use alloc::{collections::BTreeSet, vec::Vec};
use core::mem;

use super::{
    Status, Vsr,
    checkpoint::{Checkpoints, PIN_MAX_NS, PIN_NS, Pinned},
};
use crate::{
    process::Actions,
    types::{Checksum, Instant, Op},
};

/// What something needed and needs no longer; others may still.
#[derive(Clone, Default)]
pub(super) struct LetGo {
    sets: Vec<BTreeSet<Checksum>>,
    /// Whether something was let go since the whole grid was last searched for what nothing needs.
    is_news: bool,
    /// How often it was.
    pub(super) searches: u64,
}

impl LetGo {
    pub(super) fn push(&mut self, chunks: BTreeSet<Checksum>) {
        if !chunks.is_empty() {
            self.sets.push(chunks);
            self.is_news = true;
        }
    }
}

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
    /// The superblock, or a prepare that is durable, says that this checkpoint is vouched for: what lies below may be let go.
    pub(super) fn remember_vouched(&mut self, vouched: Op) {
        let vouched = vouched.min(self.checkpoints.vouched.op);
        if vouched > self.checkpoints.lasting {
            self.checkpoints.lasting = vouched;
            self.let_go();
        }
    }

    /// There is no room. Whether that may be because of what is not known lastingly: then the superblock is to say it.
    pub(super) fn want_room(&mut self, actions: &mut Actions) -> bool {
        let Checkpoints { kept, vouched, lasting, .. } = &self.checkpoints;
        let (op, waits) = (vouched.op, vouched.op > *lasting && !kept.is_empty());
        if waits && self.status == Status::Normal && !self.durable_mut().is_to_vouch(op) {
            let promise = self.promise();
            self.durable_mut().request(promise, actions);
        }
        waits
    }

    /// Lets go what lies below the checkpoint that lastingly is vouched for. One that somebody fetches stays as long as that goes on, or
    /// until a later one is fetched: nobody goes back.
    pub(super) fn let_go(&mut self) {
        let now = self.now.monotonic;
        let Checkpoints { kept, pinned, lasting, let_go, .. } = &mut self.checkpoints;
        let above = kept.iter().position(|(op, _)| *op >= *lasting).unwrap_or(kept.len());
        let Pinned { chunks, asked, until, other } = pinned;
        let is_recent = |asked: Instant| asked.0 > 0 && now.since(asked) < PIN_NS;
        if !is_recent(*asked) || now >= *until {
            let_go.push(mem::take(chunks));
        }
        let fetched = kept[..above].iter_mut().rev().find(|(_, reached)| reached.contains(&other.1));
        if let Some((_, reached)) = fetched.filter(|_| is_recent(other.0)) {
            let_go.push(mem::replace(chunks, mem::take(reached)));
            (*asked, *until) = (other.0, now.after(PIN_MAX_NS));
            other.0 = Instant(0);
        }
        for (_, before) in kept.drain(..above) {
            let_go.push(before);
        }
        self.free_unreached();
    }

    /// Lets go what a checkpoint that was given up has left for the one that is fetched in its place.
    pub(super) fn let_go_spared(&mut self) {
        let spared = self.checkpoints.fetching.take_spared();
        self.checkpoints.let_go.push(spared);
        self.free_unreached();
    }

    /// Frees the blocks of the chunks that were let go and that nothing else needs, but for those that are being written: these are when
    /// they have been.
    pub(super) fn free_unreached(&mut self) {
        if !self.checkpoints.is_surveyed {
            return;
        }
        for before in mem::take(&mut self.checkpoints.let_go.sets) {
            let unreached: Vec<Checksum> = before.difference(&self.checkpoints.reached).copied().collect();
            for address in unreached {
                self.free_unneeded(address);
            }
        }
    }

    /// Frees the block of a chunk, if nothing needs it and it is not being written.
    pub(super) fn free_unneeded(&mut self, address: Checksum) {
        let Checkpoints { grid, writing, is_surveyed, .. } = &self.checkpoints;
        let lies_still = grid.find(address).is_some_and(|block| !writing.contains_key(&block));
        if *is_surveyed && lies_still && !self.checkpoints.needs(address) {
            self.checkpoints.grid.release(address);
        }
    }

    /// The same for every chunk that there is: where there is no room, nothing may have been forgotten. That takes long, and is done
    /// again only once something more was let go.
    pub(super) fn search_grid(&mut self) {
        if !self.checkpoints.is_surveyed || !mem::take(&mut self.checkpoints.let_go.is_news) {
            return;
        }
        self.checkpoints.let_go.searches += 1;
        let mut grid = mem::take(&mut self.checkpoints.grid);
        let Checkpoints { writing, .. } = &self.checkpoints;
        grid.retain(|address, block| self.checkpoints.needs(address) || writing.contains_key(&block));
        self.checkpoints.grid = grid;
    }
}
