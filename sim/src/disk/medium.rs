//! The medium: what each sector holds for certain, apart from all that is still speculative.
//!
//! Sparse and copy-on-write: a sector that was never written costs nothing and reads as zeros, a written one is a reference
//! into the frame that was written, and a clone shares everything until one side writes. Knows nothing of operations.

use std::{collections::BTreeMap, sync::Arc};

use chronon::frame::{Frame, SECTOR_SIZE};

/// [`SECTOR_SIZE`], for arithmetic on offsets.
pub(super) const SECTOR: u64 = SECTOR_SIZE as u64;

/// The bytes of a sector that was never written.
pub(super) static ZEROS: [u8; SECTOR_SIZE] = [0; SECTOR_SIZE];

/// Sectors in a leaf, and leaves in a branch: powers of two.
const LEAF_SECTORS: u64 = 16;
const BRANCH_LEAVES: u64 = 64;

/// The bytes of one sector: a frame's, then zeros. All zeros are kept as nothing.
#[derive(Clone, Default)]
pub(super) struct Content(Option<Frame>);

/// How many sectors a write of `data` covers: the last may be filled in part, with zeros behind.
pub(super) fn sectors_of(data: &Frame) -> u64 {
    (data.len() as u64).div_ceil(SECTOR)
}

impl Content {
    /// Sector `place` of `data`, sharing its buffer.
    pub(super) fn of(data: &Frame, place: u64) -> Self {
        let start = place as usize * SECTOR_SIZE;
        let end = data.len().min(start + SECTOR_SIZE);
        let bytes = &data[start..end];
        // Most content shows in its first bytes that it is not zeros.
        if bytes[0] == 0 && is_zero(bytes) {
            return Self(None);
        }
        Self(Some(if bytes.len() == data.len() { data.clone() } else { data.slice(start, end) }))
    }

    /// A sector of these bytes.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self::of(&Frame::new(bytes), 0)
    }

    /// The bytes before the zeros with which the sector ends.
    pub(super) fn written(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// All of the sector's bytes.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SECTOR_SIZE);
        bytes.extend_from_slice(self.written());
        bytes.resize(SECTOR_SIZE, 0);
        bytes
    }

    /// The bytes `start..end`: those written, and how many zeros follow.
    pub(super) fn part(&self, start: usize, end: usize) -> (&[u8], usize) {
        let written = clip(self.written(), start, end);
        (written, end - start - written.len())
    }

    /// Whether the bytes `start..end` are those of `other`.
    pub(super) fn agrees(&self, other: &Self, start: usize, end: usize) -> bool {
        let (ours, theirs) = (clip(self.written(), start, end), clip(other.written(), start, end));
        let common = ours.len().min(theirs.len());
        ours[..common] == theirs[..common] && is_zero(&ours[common..]) && is_zero(&theirs[common..])
    }

    /// What the bytes lie in.
    pub(super) fn into_frame(self) -> Option<Frame> {
        self.0
    }

    /// The bytes, unless they are all zeros.
    pub(super) fn frame(&self) -> Option<&Frame> {
        self.0.as_ref()
    }
}

/// What there is of `bytes` in `start..end`.
fn clip(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    &bytes[start.min(bytes.len())..end.min(bytes.len())]
}

/// Whether these bytes, a sector at most, are zeros.
fn is_zero(bytes: &[u8]) -> bool {
    *bytes == ZEROS[..bytes.len()]
}

/// What became of a sector whose medium was damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// It cannot be read.
    Unreadable,
    /// It holds something other than what was last written.
    Altered,
}

/// A sector's certain content.
#[derive(Clone, Default)]
struct Entry {
    content: Content,
    /// The position of the write in the order of completions; 0 for what was there before.
    completed: u64,
}

#[derive(Clone, Default)]
struct Leaf {
    sectors: [Entry; LEAF_SECTORS as usize],
}

#[derive(Clone)]
struct Branch {
    leaves: [Option<Arc<Leaf>>; BRANCH_LEAVES as usize],
}

/// All sectors of a disk.
#[derive(Clone, Default)]
pub(super) struct Medium {
    branches: Vec<Option<Arc<Branch>>>,
    /// By sector; with it the last of the writes that cannot have ended it.
    damage: BTreeMap<u64, (Damage, u64)>,
}

/// Where a sector's entry is: branch, leaf, place in the leaf.
const fn place(sector: u64) -> (usize, usize, usize) {
    let leaf = sector / LEAF_SECTORS;
    ((leaf / BRANCH_LEAVES) as usize, (leaf % BRANCH_LEAVES) as usize, (sector % LEAF_SECTORS) as usize)
}

static NEVER_WRITTEN: Entry = Entry { content: Content(None), completed: 0 };

impl Medium {
    /// What `sector` holds, damaged or not.
    pub(super) fn content(&self, sector: u64) -> &Content {
        &self.entry(sector).content
    }

    /// When what `sector` holds was written, in the order of completions.
    pub(super) fn completed(&self, sector: u64) -> u64 {
        self.entry(sector).completed
    }

    /// Overwrites `sector`, which ends damage to it. Returns what was there.
    pub(super) fn set(&mut self, sector: u64, content: Content, completed: u64) -> Content {
        self.heal(sector, completed);
        std::mem::replace(self.entry_mut(sector), Entry { content, completed }).content
    }

    /// Changes what `sector` holds; its damage, if any, stays.
    pub(super) fn alter(&mut self, sector: u64, content: Content) {
        self.entry_mut(sector).content = content;
    }

    /// Damages `sector`. What cannot be read stays so.
    pub(super) fn damage(&mut self, sector: u64, damage: Damage) {
        self.damage_by(sector, damage, 0);
    }

    /// The write that completed as `completed` left `sector` other than it said. No write that completed before ends that,
    /// though it may reach the medium later: it is not what was said to be here.
    pub(super) fn mislead(&mut self, sector: u64, completed: u64) {
        self.damage_by(sector, Damage::Altered, completed);
    }

    fn damage_by(&mut self, sector: u64, damage: Damage, completed: u64) {
        let (known, since) = self.damage.entry(sector).or_insert((damage, completed));
        if damage == Damage::Unreadable {
            *known = damage;
        }
        *since = completed.max(*since);
    }

    /// The damage to `sector`, if any.
    pub(super) fn damaged(&self, sector: u64) -> Option<Damage> {
        if self.damage.is_empty() { None } else { self.damage.get(&sector).map(|(damage, _)| *damage) }
    }

    /// Whether any of the sectors `first..end` is damaged.
    pub(super) fn is_damaged(&self, first: u64, end: u64) -> bool {
        self.damage.range(first..end).next().is_some()
    }

    pub(super) fn damaged_count(&self) -> u64 {
        self.damage.len() as u64
    }

    /// Every sector can be read again.
    pub(super) fn make_readable(&mut self) {
        self.damage.retain(|_, (damage, _)| *damage != Damage::Unreadable);
    }

    /// The first sector of `first..end` that does not hold zeros.
    pub(super) fn next_written(&self, first: u64, end: u64) -> Option<u64> {
        let end = end.min(self.branches.len() as u64 * BRANCH_LEAVES * LEAF_SECTORS);
        let mut sector = first;
        while sector < end {
            let (branch, leaf, _) = place(sector);
            let Some(branch) = &self.branches[branch] else {
                sector = (sector / (BRANCH_LEAVES * LEAF_SECTORS) + 1) * BRANCH_LEAVES * LEAF_SECTORS;
                continue;
            };
            if branch.leaves[leaf].is_none() {
                sector = (sector / LEAF_SECTORS + 1) * LEAF_SECTORS;
                continue;
            }
            if self.content(sector).frame().is_some() {
                return Some(sector);
            }
            sector += 1;
        }
        None
    }

    fn heal(&mut self, sector: u64, completed: u64) {
        if self.damage.get(&sector).is_some_and(|(_, since)| completed > *since || *since == 0) {
            self.damage.remove(&sector);
        }
    }

    fn entry(&self, sector: u64) -> &Entry {
        let (branch, leaf, place) = place(sector);
        match self.branches.get(branch) {
            Some(Some(branch)) => match &branch.leaves[leaf] {
                Some(leaf) => &leaf.sectors[place],
                None => &NEVER_WRITTEN,
            },
            _ => &NEVER_WRITTEN,
        }
    }

    fn entry_mut(&mut self, sector: u64) -> &mut Entry {
        let (branch, leaf, place) = place(sector);
        if branch >= self.branches.len() {
            self.branches.resize(branch + 1, None);
        }
        let branch = self.branches[branch]
            .get_or_insert_with(|| Arc::new(Branch { leaves: [const { None }; BRANCH_LEAVES as usize] }));
        let leaf = Arc::make_mut(branch).leaves[leaf].get_or_insert_with(Arc::default);
        &mut Arc::make_mut(leaf).sectors[place]
    }
}
