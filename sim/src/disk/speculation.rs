//! What may yet be lost: for each sector, the writes that completed and that no barrier has covered, oldest first.
//!
//! Invariant: a sector appears here exactly while a crash could change what it holds (operations in flight apart). A
//! version in *doubt* comes from a failed write, or was covered by a failed barrier: no later barrier makes it durable,
//! whatever it says; only another write of the sector, made durable, ends it.

use std::collections::BTreeMap;

use super::{
    medium::{Content, Medium},
    streams::{Purpose, Streams},
};

/// How many emptied lists are kept for reuse.
const SPARE_LISTS_MAX: usize = 64;

/// What reads see of a version in doubt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// It.
    Always,
    /// What was there before it.
    Never,
    /// Either, drawn for each read.
    Flipping,
}

impl Shown {
    pub(super) fn draw(streams: &mut Streams) -> Self {
        *streams.of(Purpose::Doubt).pick(&[Self::Always, Self::Never, Self::Flipping])
    }
}

/// One write to one sector, speculative.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) content: Content,
    /// The position of the write in the order of completions, from 1.
    pub(super) completed: u64,
    pub(super) doubt: Option<Shown>,
    /// Whether the content is mixed with what was there before, so that nothing can have come in between.
    pub(super) torn: bool,
}

/// A write to one sector that completes.
pub(super) struct Landing {
    pub(super) content: Content,
    /// How many writes had completed when it was submitted.
    pub(super) submitted: u64,
    /// Its own position in the order of completions.
    pub(super) completed: u64,
    pub(super) durable: bool,
    /// As in [`Version`].
    pub(super) torn: bool,
}

/// All speculative sectors.
#[derive(Clone, Default)]
pub(super) struct Speculation {
    sectors: BTreeMap<u64, Vec<Version>>,
    spare: Vec<Vec<Version>>,
}

impl Speculation {
    /// The speculative versions of `sector`, oldest first.
    pub(super) fn versions(&self, sector: u64) -> &[Version] {
        if self.sectors.is_empty() { &[] } else { self.sectors.get(&sector).map_or(&[], Vec::as_slice) }
    }

    /// A successful write reaches `sector`. Writes that were in flight at the same time take effect in either order, drawn.
    /// Returns what is certainly no longer there.
    pub(super) fn land(
        &mut self,
        medium: &mut Medium,
        streams: &mut Streams,
        sector: u64,
        landing: Landing,
    ) -> Content {
        let Landing { content, submitted, completed, durable, torn } = landing;
        let base = medium.completed(sector);
        let mut place = self.versions(sector).len();
        // This write follows everything that had completed when it was submitted: the medium's content is at 0 here.
        let precedes = |version: &Version| version.completed <= submitted || version.torn;
        let floor = match self.versions(sector).iter().rposition(precedes) {
            Some(last) => last + 1,
            None => 0,
        };
        let beneath_base = floor == 0 && base > submitted;
        if (floor < place || beneath_base) && streams.coin(Purpose::Order) {
            if beneath_base {
                return content;
            }
            place = floor;
        }
        if durable {
            self.forget(sector, place);
            medium.set(sector, content, completed)
        } else {
            self.insert(sector, place, Version { content, completed, doubt: None, torn });
            Content::default()
        }
    }

    /// A barrier succeeds that was submitted after `covered` writes had completed.
    pub(super) fn make_durable(&mut self, medium: &mut Medium, covered: u64) {
        let spare = &mut self.spare;
        self.sectors.retain(|sector, versions| {
            let kept = |version: &Version| version.doubt.is_none() && version.completed <= covered;
            if let Some(last) = versions.iter().rposition(kept) {
                let version = versions.drain(..=last).next_back().expect("the range holds the version that was found");
                medium.set(*sector, version.content, version.completed);
            }
            if versions.is_empty() && spare.len() < SPARE_LISTS_MAX {
                spare.push(std::mem::take(versions));
                return false;
            }
            !versions.is_empty()
        });
    }

    /// A barrier fails that was submitted after `covered` writes had completed.
    pub(super) fn put_in_doubt(&mut self, streams: &mut Streams, covered: u64) {
        for version in self.sectors.values_mut().flatten() {
            if version.doubt.is_none() && version.completed <= covered {
                version.doubt = Some(Shown::draw(streams));
            }
        }
    }

    /// Adds a version of `sector` on top of what is there.
    pub(super) fn push(&mut self, sector: u64, version: Version) {
        let place = self.versions(sector).len();
        self.insert(sector, place, version);
    }

    /// Takes out everything, in the order of sectors.
    pub(super) fn take_all(&mut self) -> BTreeMap<u64, Vec<Version>> {
        std::mem::take(&mut self.sectors)
    }

    fn insert(&mut self, sector: u64, place: usize, version: Version) {
        let spare = &mut self.spare;
        self.sectors.entry(sector).or_insert_with(|| spare.pop().unwrap_or_default()).insert(place, version);
    }

    /// Drops the oldest `count` versions of `sector`.
    fn forget(&mut self, sector: u64, count: usize) {
        if count == 0 {
            return;
        }
        let Some(versions) = self.sectors.get_mut(&sector) else { return };
        versions.drain(..count);
        if versions.is_empty() {
            let list = self.sectors.remove(&sector).expect("the sector was found above");
            if self.spare.len() < SPARE_LISTS_MAX {
                self.spare.push(list);
            }
        }
    }
}
