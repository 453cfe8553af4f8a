//! Recovery of one slot, as a decision table.
//!
//! The discipline on which it stands: a prepare is written first; its entry in the header ring is written only after the
//! prepare is durable; `prepare_ok` leaves only after both are. So an acknowledged prepare has, as long as the disk keeps
//! its contract, a whole prepare under its own header, and whatever a power cut alone can leave behind is told from
//! damage to something acknowledged:
//!
//! ```text
//!  row  header ring        prepare ring       relation                      state
//!  A    empty              empty                                            Empty
//!  B    empty              corrupt                                          Torn
//!  C    empty              valid                                            Present(prepare)
//!  D    valid              valid              the same prepare              Clean
//!  E    valid              valid              the prepare's op is later     Present(prepare)
//!  F    valid              valid              same op, prepare's view later Present(prepare)
//!  G    valid              valid              the prepare's op is earlier   Unknown(header), or Present(prepare)*
//!  H    valid              valid              same op, its view is earlier  Unknown(header), or Present(prepare)*
//!  I    valid              valid              same op and view, another     Unknown(header)
//!  J    valid              empty or corrupt                                 Unknown(header), or Torn*
//!  K    damaged            valid                                            Present(prepare)
//!  L    damaged            empty                                            Unknown
//!  M    damaged            damaged                                          Unknown
//!  N    empty              misdirected                                      Unknown
//!  O    valid              misdirected                                      Unknown(header), or Unknown*
//! ```
//!
//! *Damaged* is corrupt, unreadable or misdirected: a valid block in the wrong place is as corrupt as noise. *Corrupt* is
//! unreadable too, and may be what a power cut left of a prepare; *misdirected* is what no power cut leaves. The starred state
//! holds where the header is *superseded*: it is of an older lap of the ring, or of an older view's log than the
//! durable superblock's and above that one's head, so that nothing it names can be wanted any more.
//!
//! - B: the first write to this slot was under way, and its header had not followed: nobody was told.
//! - C, E, F: the prepare is whole and its header had not followed. It may be vouched for after a durable rewrite.
//! - G, H, I, J: the header says that another prepare was durable here and may have been acknowledged. It is gone: only
//!   other replicas can say what it was worth.
//! - J*: the slot was being used again; what is torn is the new prepare, whose header had not followed.
//! - K: the entry that is damaged may have named this prepare or any other.
//! - L, M: nothing is known, not even the op. Whether a power cut alone can leave this is the header sector's concern: a
//!   sector that tears into a mixture of its old and new bytes keeps the 31 entries that were the same in both, and the
//!   one that was being written has its prepare durable already (K).
//! - N, O: a write of something else landed here, over whatever there was. It may have been this slot's own entry, on its way
//!   to the ring: then a prepare that was acknowledged lies under it, and the entry above it is the one before, superseded or
//!   not, or none.
//!
//! One write that went astray is told from a torn tail, then: an entry of the ring looks like no prepare. Two faults at one
//! slot need not be: an entry that was lost on its way, over a prepare that went bad later, is what a power cut leaves too.
//! That takes more than a crash: it removes one durable copy.
//!
//! Lacks on purpose: the log. Whether an op is wanted, and what the replica then claims, is for the protocol to say.

use crate::{
    storage::{
        journal::{HeaderRead, PrepareRead},
        superblock::Superblock,
    },
    wire::Header,
};

/// What may be concluded about a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// Nothing was ever written here.
    Empty,
    /// Both rings hold this prepare. It was durable, and may have been acknowledged.
    Clean(Header),
    /// The prepare is whole, but the rings disagree or the header is unreadable: this prepare may be vouched for after a
    /// durable rewrite; of any other prepare in this slot nothing is known.
    Present(Header),
    /// What is here was never acknowledged: it may be cut.
    Torn,
    /// Something may have been acknowledged here that is not to be read: to be repaired, never cut. The header says which,
    /// where the ring names it.
    Unknown(Option<Header>),
}

/// A row of the table, and what it concludes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The row's letter, for traces and people.
    pub row: char,
    /// What may be concluded.
    pub slot: SlotState,
}

/// Decides about one slot. The caller knows whether the valid header in its ring is superseded (see the table).
pub fn decide(header: &HeaderRead, prepare: &PrepareRead, header_is_superseded: bool) -> Decision {
    use {HeaderRead as H, PrepareRead as P, SlotState as S};
    let (row, slot) = match (header, prepare) {
        (H::Empty, P::Empty) => ('A', S::Empty),
        (H::Empty, P::Corrupt) => ('B', S::Torn),
        (H::Empty, P::Misdirected) => ('N', S::Unknown(None)),
        (H::Empty, P::Valid(p)) => ('C', S::Present(*p)),
        (H::Valid(h), P::Valid(p)) if p.checksum == h.checksum => ('D', S::Clean(*p)),
        (H::Valid(h), P::Valid(p)) if p.op > h.op => ('E', S::Present(*p)),
        (H::Valid(h), P::Valid(p)) if p.op == h.op && p.view > h.view => ('F', S::Present(*p)),
        (H::Valid(h), P::Valid(p)) if p.op == h.op && p.view == h.view => ('I', S::Unknown(Some(*h))),
        (H::Valid(h), P::Valid(p)) => (
            if p.op < h.op { 'G' } else { 'H' },
            if header_is_superseded { S::Present(*p) } else { S::Unknown(Some(*h)) },
        ),
        (H::Valid(h), P::Empty | P::Corrupt) => {
            ('J', if header_is_superseded { S::Torn } else { S::Unknown(Some(*h)) })
        }
        (H::Valid(h), P::Misdirected) => ('O', S::Unknown(if header_is_superseded { None } else { Some(*h) })),
        (H::Corrupt | H::Misdirected, P::Valid(p)) => ('K', S::Present(*p)),
        (H::Corrupt | H::Misdirected, P::Empty) => ('L', S::Unknown(None)),
        (H::Corrupt | H::Misdirected, P::Corrupt | P::Misdirected) => ('M', S::Unknown(None)),
    };
    Decision { row, slot }
}

/// Whether a header of the ring names nothing that can be wanted: what the checkpoint covers, or another view's leftover, where the
/// superblock knows better.
pub fn is_superseded(header: &HeaderRead, superblock: &Superblock) -> bool {
    let HeaderRead::Valid(header) = header else { return false };
    if header.op <= superblock.checkpoint.header.op {
        return true;
    }
    if header.op > superblock.head {
        return superblock.view > superblock.log_view || header.view < superblock.log_view;
    }
    let known = superblock.suffix.iter().find(|known| known.op == header.op);
    known.is_some_and(|known| known.checksum != header.checksum)
}

#[cfg(test)]
mod tests;
