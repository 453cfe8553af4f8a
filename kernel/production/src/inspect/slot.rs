//! One slot of the journal: both rings' bytes, read as a replica reads them, and the decision table's row in words.

use chronon::{
    frame::SECTOR_SIZE,
    storage::{
        Decision, HeaderRead, PrepareRead, SlotState, decide, is_superseded,
        journal::{parse_header_entry, parse_prepare},
        layout::{HEADERS_PER_SECTOR, Layout},
    },
    types::Op,
    wire::{Batch, HEADER_SIZE, Header},
};

use super::{
    journal::Shape,
    source::{Unread, read},
};
use crate::data_file::DataFile;

/// Reads slots, in order best: a sector of the header ring is read once for all of its entries.
pub(super) struct Slots<'a> {
    file: &'a DataFile,
    pub(super) shape: &'a Shape,
    sector: Option<(u64, Result<Vec<u8>, Unread>)>,
}

/// What a slot holds.
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) entry: HeaderRead,
    pub(super) prepare: PrepareRead,
    pub(super) decision: Decision,
    /// How many requests the prepare carries; none if it is not whole, or carries what is no batch.
    pub(super) requests: Option<u64>,
    /// Why one of the two could not be read, if one could not.
    pub(super) unread: Option<String>,
}

impl<'a> Slots<'a> {
    pub(super) fn new(file: &'a DataFile, shape: &'a Shape) -> Self {
        Self { file, shape, sector: None }
    }

    pub(super) fn layout(&self) -> Layout {
        self.shape.layout
    }

    /// What the header ring says of a slot, and why it could not be read.
    pub(super) fn entry(&mut self, slot: u32) -> (HeaderRead, Option<String>) {
        let layout = self.layout();
        let offset = layout.header_sector_offset(slot);
        if self.sector.as_ref().is_none_or(|(held, _)| *held != offset) {
            self.sector = Some((offset, read(self.file, offset, SECTOR_SIZE)));
        }
        match &self.sector {
            Some((_, Ok(bytes))) => {
                let start = (slot % HEADERS_PER_SECTOR) as usize * HEADER_SIZE;
                let entry = &bytes[start..start + HEADER_SIZE];
                (parse_header_entry(entry, slot, &layout, self.shape.cluster), None)
            }
            Some((_, Err(why))) => (HeaderRead::Corrupt, Some(format!("its entry cannot be read: {why}"))),
            None => (HeaderRead::Corrupt, None),
        }
    }

    pub(super) fn slot(&mut self, number: u32) -> Slot {
        let (entry, entry_unread) = self.entry(number);
        let (prepare, requests, prepare_unread) = match self.prepare_bytes(number, &entry) {
            Ok(bytes) => {
                let prepare = parse_prepare(&bytes, number, &self.layout(), self.shape.cluster);
                (prepare, requests(&prepare, &bytes), None)
            }
            Err(why) => (PrepareRead::Corrupt, None, Some(format!("the prepare cannot be read: {why}"))),
        };
        let superblock = self.shape.superblock.as_ref();
        let superseded = superblock.is_some_and(|superblock| is_superseded(&entry, superblock));
        let decision = decide(&entry, &prepare, superseded);
        Slot { number, entry, prepare, decision, requests, unread: entry_unread.or(prepare_unread) }
    }

    /// The beginning of a slot that says what it holds: all of it only where less does not make sense.
    fn prepare_bytes(&self, slot: u32, entry: &HeaderRead) -> Result<Vec<u8>, Unread> {
        let layout = self.layout();
        let whole = layout.message_size_max as usize;
        let likely = match entry {
            HeaderRead::Valid(header) => (header.size as usize).next_multiple_of(SECTOR_SIZE).min(whole),
            _ => SECTOR_SIZE,
        };
        let bytes = read(self.file, layout.prepare_offset(slot), likely)?;
        let made_sense = parse_prepare(&bytes, slot, &layout, self.shape.cluster) != PrepareRead::Corrupt;
        if likely == whole || made_sense { Ok(bytes) } else { read(self.file, layout.prepare_offset(slot), whole) }
    }
}

fn requests(prepare: &PrepareRead, bytes: &[u8]) -> Option<u64> {
    let PrepareRead::Valid(header) = prepare else { return None };
    Batch::parse(&bytes[HEADER_SIZE..header.size as usize]).ok().map(|batch| batch.len() as u64)
}

impl Slot {
    /// The header of what is here, or was: as the decision table has it.
    pub(super) fn header(&self) -> Option<&Header> {
        match &self.decision.slot {
            SlotState::Clean(header) | SlotState::Present(header) | SlotState::Unknown(Some(header)) => Some(header),
            SlotState::Empty | SlotState::Torn | SlotState::Unknown(None) => None,
        }
    }

    /// The op that is here, or that would be on the first lap of the ring.
    pub(super) fn op(&self) -> Op {
        self.header().map_or(Op(u64::from(self.number)), |header| header.op)
    }

    /// Whether the prepare that the decision table names is here, whole.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.decision.slot, SlotState::Clean(_) | SlotState::Present(_))
    }

    /// Whether something was damaged, or torn in a way that cannot be told from it.
    pub(super) fn is_damaged(&self) -> bool {
        matches!(self.decision.slot, SlotState::Unknown(_)) || self.decision.row == 'K' || self.unread.is_some()
    }

    /// Whether something in the wrong place is part of the damage.
    pub(super) fn is_misdirected(&self) -> bool {
        self.entry == HeaderRead::Misdirected || self.prepare == PrepareRead::Misdirected
    }

    /// What the decision table makes of the slot, in words.
    pub(super) fn words(&self) -> String {
        let wanted = !matches!(self.decision.slot, SlotState::Torn | SlotState::Present(_));
        let words = match self.decision.row {
            'A' => "never written",
            'B' => "a write that was cut off: its header never followed, so nobody was told of it",
            'C' => "a whole prepare whose header had not followed: nobody was told of it yet",
            'D' => "a whole prepare under its header",
            'E' => "a whole prepare over an earlier lap's header: its own had not followed",
            'F' => "a whole prepare over an earlier view's header: its own had not followed",
            'G' if wanted => "the header ring names a later prepare than the one that lies here: its write was lost",
            'H' if wanted => {
                "the header ring names a later view's prepare than the one that lies here: its write was lost"
            }
            'G' | 'H' => "the header ring names a prepare that nothing wants any more",
            'I' => "the header ring and the slot hold two prepares of one op and view",
            'J' if !wanted => "a write that was cut off, over what nothing wants any more",
            'J' => match self.prepare {
                PrepareRead::Empty => {
                    "the header ring names a prepare, and its slot is empty: it may have been acknowledged"
                }
                _ => "the header ring names a prepare, and its slot is damaged: it may have been acknowledged",
            },
            'K' => match self.entry {
                HeaderRead::Misdirected => "a whole prepare, under a header that belongs elsewhere",
                _ => "a whole prepare, under a header that is damaged: it may have named another",
            },
            'L' => "an empty slot, under a header that is damaged: something may have been acknowledged here",
            'M' => "header and prepare are both damaged: something may have been acknowledged here",
            'N' => "a write that belongs elsewhere landed here",
            'O' => "a write that belongs elsewhere landed here, over what the header ring names",
            row => unreachable!("the decision table has no row {row}"),
        };
        match (&self.unread, &self.entry) {
            (Some(why), HeaderRead::Valid(_)) => format!("{why}; the header ring names a prepare here"),
            (Some(why), _) => why.clone(),
            (None, _) => words.to_owned(),
        }
    }
}
