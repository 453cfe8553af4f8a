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
    types::{Checksum, Instant, Op, ReplicaId},
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

/// What another replica fetches, by what it asks for.
#[derive(Clone, Copy)]
pub(super) struct Fetcher {
    /// The earliest checkpoint here that reaches all that it has asked for since it first asked for something that an earlier one lacks.
    op: Op,
    /// When it last asked.
    at: Instant,
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

    /// A replica asks for a chunk. Later checkpoints share most of theirs with earlier ones: which of them it fetches shows in what it asks
    /// for that the earlier ones lack.
    pub(super) fn note_asked(&mut self, peer: ReplicaId, address: Checksum, now: Instant) {
        let Self { kept, reached, durable, asked, fetchers, .. } = self;
        let known = &mut fetchers[peer.0 as usize];
        let former = kept.iter_mut().map(|Former { op, reached, asked, .. }| (*op, &*reached, asked));
        let (mut earliest, mut goes_on) = (None, None);
        for (op, reached, asked) in former.chain([(durable.header.op, &*reached, asked)]) {
            if reached.contains(&address) {
                *asked = Some(now);
                earliest = earliest.or(Some(op));
                goes_on = goes_on.or(known.map(|known| known.op).filter(|known| *known == op));
            }
        }
        if let Some(op) = goes_on.or(earliest) {
            *known = Some(Fetcher { op, at: now });
        }
    }

    /// Of those that nothing keeps but that they are fetched, the latest that nobody fetches by what was asked for, or the one that nobody has
    /// fetched from for longest.
    fn idlest(&self) -> Option<usize> {
        let fetched =
            |of: Op| self.fetchers.iter().flatten().filter(|fetcher| fetcher.op == of).map(|fetcher| fetcher.at).max();
        let pinned = self.kept.iter().enumerate().rev().filter(|(_, former)| former.op < self.lasting);
        pinned.min_by_key(|(_, former)| fetched(former.op)).map(|(index, _)| index)
    }
}

impl Former {
    /// Whether somebody seems to fetch it, and not for too long (design rule 12).
    fn is_fetched(&self, now: Instant) -> bool {
        let is_recent = self.asked.is_some_and(|asked| now.since(asked) < PIN_NS);
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
    /// all that are kept: one of them does in any case.
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

    /// Lets go one of those that nothing keeps but that they are fetched. Whether there was one.
    pub(super) fn let_go_idlest(&mut self) -> bool {
        let Some(idlest) = self.checkpoints.idlest() else { return false };
        let Checkpoints { kept, let_go, .. } = &mut self.checkpoints;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{storage::layout::Layout, types::ClusterId};

    /// Each of four checkpoints has a chunk of its own, which the later ones have too, and a root.
    fn four_of_them() -> Checkpoints {
        let layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };
        let mut checkpoints = Checkpoints::new(ClusterId(1), &layout);
        let former = |number: u64| {
            let mut reached: BTreeSet<Checksum> = (1..=number).map(|chunk| Checksum(chunk.into())).collect();
            reached.insert(root(number));
            Former { op: Op(8 * number), reached, asked: None, until: None }
        };
        (checkpoints.kept, checkpoints.lasting) = ((1..=4).map(former).collect(), Op(40));
        checkpoints
    }

    fn root(number: u64) -> Checksum {
        Checksum(u128::from(number) << 64)
    }

    fn is_let_go(checkpoints: &mut Checkpoints) -> u64 {
        let idlest = checkpoints.idlest().expect("there are some");
        checkpoints.kept.remove(idlest).op.0 / 8
    }

    #[test]
    fn what_nobody_fetches_goes_first_whatever_it_shares_with_what_is_fetched() {
        let mut checkpoints = four_of_them();
        // One fetches the fourth, and has asked last for what all of them have; another fetches the first.
        for (peer, chunk) in [(1, root(4)), (2, root(1)), (1, Checksum(3)), (2, Checksum(1)), (1, Checksum(1))] {
            checkpoints.note_asked(ReplicaId(peer), chunk, Instant(u64::from(peer)));
        }
        assert!(checkpoints.kept.iter().all(|former| former.is_fetched(Instant(PIN_NS))));
        assert_eq!([(); 3].map(|()| is_let_go(&mut checkpoints)), [3, 2, 4], "the first was asked for last");
        assert!(!checkpoints.kept[0].is_fetched(Instant(2 + PIN_NS)));
    }

    #[test]
    fn who_goes_on_to_a_later_one_fetches_that() {
        let mut checkpoints = four_of_them();
        for chunk in [root(2), Checksum(2), root(3), Checksum(1)] {
            checkpoints.note_asked(ReplicaId(0), chunk, Instant(1));
        }
        assert_eq!([(); 4].map(|()| is_let_go(&mut checkpoints)), [4, 2, 1, 3]);
        assert_eq!(checkpoints.idlest(), None);
    }
}
