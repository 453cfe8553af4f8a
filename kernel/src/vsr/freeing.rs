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
    checkpoint::{Checkpoints, Former, PIN_MAX_NS, PIN_NS, ROOTS_KEPT},
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

/// When chunks of a checkpoint were last asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct LastAsked {
    /// One that none of those kept from before reaches: who asks for that fetches this one, or one that came after it.
    own: Option<Instant>,
    /// Any of them.
    any: Option<Instant>,
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
        let Self { reached, next, making, kept, fetching, .. } = self;
        reached.contains(&address)
            || making.contains(&address)
            || kept.iter().any(|former| former.reached.contains(&address))
            || next.as_ref().is_some_and(|(_, reached)| reached.contains(&address))
            || fetching.wants(address)
    }

    /// A chunk was asked for: by one that fetches any of the checkpoints which reach it.
    pub(super) fn note_asked(&mut self, address: Checksum, now: Instant) {
        let Self { kept, reached, asked, .. } = self;
        let former = kept.iter_mut().map(|Former { reached, asked, .. }| (&*reached, asked));
        let reaching = former.chain([(&*reached, asked)]).filter(|(reached, _)| reached.contains(&address));
        for (index, (_, asked)) in reaching.enumerate() {
            asked.any = Some(now);
            if index == 0 {
                asked.own = Some(now);
            }
        }
    }
}

impl Former {
    /// Whether somebody seems to fetch it, and not for too long (design rule 12).
    fn is_fetched(&self, now: Instant) -> bool {
        let is_recent = self.asked.any.is_some_and(|asked| now.since(asked) < PIN_NS);
        is_recent && self.until.is_none_or(|until| now < until)
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

    /// Lets go what lies below the checkpoint that lastingly is vouched for. What others fetch stays as long as that goes on, within a bound on
    /// all that are kept: one of them does in any case, and the one that nobody has asked for longest goes first.
    pub(super) fn let_go(&mut self) {
        let now = self.now.monotonic;
        let Checkpoints { kept, lasting, let_go, .. } = &mut self.checkpoints;
        let below = kept.partition_point(|former| former.op < *lasting);
        for former in &mut kept[..below] {
            former.until.get_or_insert(now.after(PIN_MAX_NS));
        }
        let above = kept.len() - below;
        for former in kept.extract_if(..below, |former| !former.is_fetched(now)) {
            let_go.push(former.reached);
        }
        let pinned = kept.len() - above;
        for _ in ROOTS_KEPT.saturating_sub(above).max(1)..pinned {
            self.let_go_idlest();
        }
        self.free_unreached();
    }

    /// Lets go the one that nobody has asked for longest, of those that nothing keeps but that they are fetched: first of all a later one,
    /// of which nothing was asked but what it shares with others. Whether there was one.
    pub(super) fn let_go_idlest(&mut self) -> bool {
        let Checkpoints { kept, lasting, let_go, .. } = &mut self.checkpoints;
        let pinned = kept.iter().enumerate().rev().filter(|(_, former)| former.op < *lasting);
        let Some((idlest, _)) = pinned.min_by_key(|(_, former)| former.asked) else { return false };
        let_go.push(kept.remove(idlest).reached);
        self.free_unreached();
        true
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
