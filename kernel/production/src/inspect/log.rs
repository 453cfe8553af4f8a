//! The log that the slots hold: which of their prepares are in it, and whether each names the one before as its parent.
//!
//! The superblock's suffix says what the log is, whatever the journal holds (design rule 1); above its head, what was appended
//! in that log's own view continues it. Slots are taken in the order of their ops.

use chronon::{
    storage::Superblock,
    types::{CommitIndex, Op},
    wire::Header,
};

use super::slot::Slot;

/// Where a slot's prepare stands beside the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// No prepare is known to be here, nor wanted.
    Nothing,
    /// No prepare is known to be here, and one is wanted.
    Missing,
    /// In the log.
    InLog,
    /// Above its end, and not tied to it: behind a gap, or it names another parent.
    Ahead,
    /// Of a view that gave it up.
    Leftover,
}

/// The log as far as the slots were taken.
pub(super) struct Log<'a> {
    superblock: Option<&'a Superblock>,
    /// The last op of the log; none before the first.
    head: Option<Op>,
    /// The last header that was taken, for the next one's parent.
    last: Option<Header>,
    pub(super) first: Option<Op>,
    pub(super) commit: CommitIndex,
    /// Links that were checked and hold.
    pub(super) links: u64,
    /// Ops that do not name the one before as their parent, with why.
    pub(super) broken: Vec<(Op, &'static str)>,
}

impl<'a> Log<'a> {
    pub(super) fn new(superblock: Option<&'a Superblock>) -> Self {
        let commit = superblock.map_or(CommitIndex::ROOT, |superblock| superblock.commit);
        let head = superblock.map(|superblock| superblock.head);
        Self { superblock, head, last: None, first: None, commit, links: 0, broken: Vec::new() }
    }

    /// The last op of the log.
    pub(super) const fn head(&self) -> Option<Op> {
        self.head
    }

    /// Takes the next slot.
    pub(super) fn take(&mut self, slot: &Slot) -> Standing {
        let op = slot.op();
        if let Some(known) = self.superblock.and_then(|superblock| superblock.suffix.iter().find(|it| it.op == op)) {
            self.link(known);
            return match slot.header() {
                Some(header) if header.checksum == known.checksum => Standing::InLog,
                Some(_) => Standing::Leftover,
                None => Standing::Missing,
            };
        }
        let within = self.head.is_some_and(|head| op <= head);
        match (slot.header(), self.superblock) {
            (None, Some(_)) if within => Standing::Missing,
            (None, _) => Standing::Nothing,
            (Some(header), _) if within => {
                self.link(header);
                Standing::InLog
            }
            (Some(header), None) => {
                self.head = Some(op);
                self.link(header);
                Standing::InLog
            }
            (Some(header), Some(superblock)) => self.above(header, superblock),
        }
    }

    /// A prepare above the head.
    fn above(&mut self, header: &Header, superblock: &Superblock) -> Standing {
        if header.view > superblock.view {
            self.broken.push((header.op, "is of a view that the superblock has never heard of"));
            return Standing::Ahead;
        }
        if superblock.view > superblock.log_view || header.view < superblock.log_view {
            return Standing::Leftover;
        }
        let is_next = self.head.is_some_and(|head| follows(head, header.op));
        if is_next && self.link(header) {
            self.head = Some(header.op);
            return Standing::InLog;
        }
        Standing::Ahead
    }

    /// Whether a header of the log fits on the one before, as far as that is known.
    fn link(&mut self, header: &Header) -> bool {
        self.commit = self.commit.max(header.commit);
        self.first = Some(self.first.map_or(header.op, |first| first.min(header.op)));
        let before = self.last.replace(*header).filter(|last| follows(last.op, header.op));
        let Some(before) = before else { return true };
        if header.parent() == before.checksum {
            self.links += 1;
            return true;
        }
        self.broken.push((header.op, "does not name the one before it as its parent"));
        false
    }
}

/// Whether `op` is the next after `before`. A damaged file may name the largest number, which has no successor.
fn follows(before: Op, op: Op) -> bool {
    before.0.checked_add(1) == Some(op.0)
}
