//! Slots of a journal whose history is known: what recovery concludes must fit that history.

use arbitrary::{Arbitrary, Unstructured};
use chronon::{
    storage::{
        HeaderRead, PrepareRead, SlotState, decide,
        journal::{parse_header_entry, parse_prepare, ring_entry},
    },
    types::{ClusterId, Op, View},
    wire::{Command, HEADER_SIZE, Header},
};

use super::{Damage, Fields};
use crate::{storage::LAYOUT, wire::CLUSTER};

/// Whatever was written to a slot, and however it was damaged: each ring is read for what it is, a whole prepare is never
/// cut, and what may have been acknowledged is never forgotten.
pub fn journal_slot(bytes: &[u8]) {
    let mut source = Unstructured::new(bytes);
    let Ok((slot, entry, prepare, superseded)) = source.arbitrary::<(u8, Part, Part, bool)>() else { return };
    let slot = u32::from(slot) % LAYOUT.slot_count;
    let (entry_is, header) = entry.entry(slot);
    let (prepare_is, frame) = prepare.frame(slot);
    let read = (parse_header_entry(&header, slot, &LAYOUT, CLUSTER), parse_prepare(&frame, slot, &LAYOUT, CLUSTER));
    match (entry_is, read.0) {
        (Is::Empty, HeaderRead::Empty) | (Is::Elsewhere, HeaderRead::Misdirected) => {}
        (Is::Damaged, HeaderRead::Corrupt) => {}
        (Is::Whole(header), HeaderRead::Valid(found)) => assert_eq!(header, found),
        wrong => panic!("an entry was read as what it is not: {wrong:?}"),
    }
    match (prepare_is, read.1) {
        (Is::Empty, PrepareRead::Empty) | (Is::Elsewhere, PrepareRead::Misdirected) => {}
        (Is::Damaged, PrepareRead::Corrupt) => {}
        (Is::Whole(header), PrepareRead::Valid(found)) => assert_eq!(header, found),
        wrong => panic!("a prepare was read as what it is not: {wrong:?}"),
    }
    let concluded = decide(&read.0, &read.1, superseded).slot;
    match (entry_is, prepare_is) {
        // Its header follows when the prepare is durable, and an acknowledgement follows both.
        (Is::Empty, Is::Empty) => assert_eq!(concluded, SlotState::Empty),
        (Is::Empty, Is::Whole(header)) => assert_eq!(concluded, SlotState::Present(header)),
        (Is::Empty, Is::Damaged) => assert_eq!(concluded, SlotState::Torn),
        (Is::Whole(named), Is::Whole(header)) if named == header => assert_eq!(concluded, SlotState::Clean(named)),
        // Written over what the entry names: a later op, or the same one in a later view.
        (Is::Whole(named), Is::Whole(header)) if (header.op, header.view) > (named.op, named.view) => {
            assert_eq!(concluded, SlotState::Present(header));
        }
        (Is::Whole(named), _) if !superseded => assert_eq!(concluded, SlotState::Unknown(Some(named))),
        (Is::Whole(named), Is::Whole(header)) if (header.op, header.view) == (named.op, named.view) => {
            assert_eq!(concluded, SlotState::Unknown(Some(named)), "one view has one prepare at an op");
        }
        (Is::Whole(_), Is::Whole(header)) => assert_eq!(concluded, SlotState::Present(header)),
        (Is::Whole(_), Is::Empty | Is::Damaged) => assert_eq!(concluded, SlotState::Torn),
        (_, Is::Whole(header)) => assert_eq!(concluded, SlotState::Present(header)),
        // Damage that no power cut leaves, in either ring: it may have taken anything.
        (_, Is::Elsewhere) | (Is::Elsewhere | Is::Damaged, _) => assert_eq!(concluded, SlotState::Unknown(None)),
    }
}

/// What lies in one ring.
#[derive(Arbitrary, Debug)]
struct Part {
    /// Few, so that the two rings often name the same.
    lap: u8,
    view: u8,
    parent: u8,
    body: Vec<u8>,
    fields: Option<Fields>,
    fate: Fate,
}

/// What became of it.
#[derive(Arbitrary, Debug)]
enum Fate {
    Sound,
    NeverWritten,
    Misdirected { by: u8 },
    Foreign { cluster: u64 },
    Damaged(Damage),
}

/// What a ring really holds.
#[derive(Clone, Copy, Debug)]
enum Is {
    Empty,
    Whole(Header),
    Elsewhere,
    Damaged,
}

impl Part {
    fn header(&self, slot: u32) -> Header {
        let mut op = Op(u64::from(slot) + u64::from(self.lap % 3) * u64::from(LAYOUT.slot_count));
        let mut cluster = CLUSTER;
        match self.fate {
            Fate::Misdirected { by } => op.0 += 1 + u64::from(by) % (u64::from(LAYOUT.slot_count) - 1),
            Fate::Foreign { cluster: other } => cluster = ClusterId(if other == CLUSTER.0 { !other } else { other }),
            Fate::Sound | Fate::NeverWritten | Fate::Damaged(_) => {}
        }
        if op == Op::ROOT {
            return Header::root(cluster);
        }
        let plain = Header::new(cluster, Command::Prepare, 1, View(0));
        let fields = self.fields.as_ref().map_or(plain, |fields| fields.header(Command::Prepare));
        let context = u128::from(self.parent % 2);
        Header { cluster, op, view: View(u64::from(self.view % 3)), context, ..fields }.sealed(self.body())
    }

    fn body(&self) -> &[u8] {
        &self.body[..self.body.len().min(LAYOUT.message_size_max as usize - HEADER_SIZE)]
    }

    fn entry(&self, slot: u32) -> (Is, Vec<u8>) {
        let header = self.header(slot);
        let bytes = ring_entry(&header.encode()).to_vec();
        self.befallen(header, bytes, HEADER_SIZE)
    }

    fn frame(&self, slot: u32) -> (Is, Vec<u8>) {
        let header = self.header(slot);
        let mut bytes = header.encode().to_vec();
        if header.op != Op::ROOT {
            bytes.extend_from_slice(self.body());
        }
        self.befallen(header, bytes, LAYOUT.message_size_max as usize)
    }

    /// The bytes as they are read, `length` of them, and what they are.
    fn befallen(&self, header: Header, mut bytes: Vec<u8>, length: usize) -> (Is, Vec<u8>) {
        let whole = bytes.clone();
        let is = match &self.fate {
            Fate::Sound => Is::Whole(header),
            Fate::Misdirected { .. } | Fate::Foreign { .. } => Is::Elsewhere,
            Fate::NeverWritten => {
                bytes.clear();
                Is::Empty
            }
            Fate::Damaged(damage) => {
                bytes = damage.of(&bytes);
                Is::Damaged
            }
        };
        bytes.resize(length, 0);
        // Cut where only zeros were, or longer where nobody looks: no damage at all.
        let unharmed = bytes[..whole.len()] == whole;
        let gone = bytes[..length.min(4096)].iter().all(|byte| *byte == 0);
        let is = match is {
            Is::Damaged if unharmed => Is::Whole(header),
            Is::Damaged if gone => Is::Empty,
            is => is,
        };
        (is, bytes)
    }
}
