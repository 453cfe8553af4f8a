//! The journal: every slot of both rings, the log that they hold, and its hash chain.
//!
//! Read as a stream, a slot at a time, in the order of slots, which is that of ops as long as the ring is not used again.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use chronon::{
    frame::SECTOR_SIZE,
    storage::{HeaderRead, Layout, LayoutError, PrepareRead, SlotState, Superblock, layout::BLOCKS_MIN},
    types::{ClusterId, Op},
    vsr::config::PIPELINE_MAX,
    wire::Header,
};
use serde::Serialize;

use super::{
    HeaderFacts,
    log::{Log, Standing},
    slot::{Slot, Slots},
    source::read,
    superblock::Copies,
};
use crate::data_file::DataFile;

/// What must be known of a file before its journal can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Where things lie.
    pub layout: Layout,
    /// Whose log it is.
    pub cluster: ClusterId,
    /// The superblock that is in force, if one is.
    pub superblock: Option<Superblock>,
    /// Where layout and cluster come from, in words.
    pub source: String,
}

/// What somebody knows of a file whose superblock is lost.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Given {
    /// How many prepares the journal holds.
    pub slot_count: Option<u32>,
    /// The largest message, header included.
    pub message_size_max: Option<u32>,
    /// The cluster.
    pub cluster: Option<ClusterId>,
}

/// Why a journal cannot be looked into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InspectError {
    /// No copy of the superblock is valid, and nobody said how the file is laid out.
    NoLayout,
    /// What was said is no layout.
    Layout(LayoutError),
    /// The first slot, which names the cluster, is damaged too.
    NoCluster,
    /// What was said is not what the superblock says: which flag.
    Contradiction(&'static str),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLayout => f.write_str(
                "no copy of the superblock is valid, so that nothing says where the journal lies: give --slots and \
                 --message-size-max, as they were given to `format`",
            ),
            Self::Layout(error) => write!(f, "{error}"),
            Self::NoCluster => f.write_str(
                "neither the superblock nor the first slot says which cluster the journal is of: give --cluster, and check \
                 --slots and --message-size-max",
            ),
            Self::Contradiction(flag) => write!(f, "the superblock is there and says otherwise: leave {flag} away"),
        }
    }
}

impl std::error::Error for InspectError {}

/// What a slot is to the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A whole prepare of the log, under its header.
    Clean,
    /// A whole prepare whose header had not followed.
    Unfinished,
    /// A whole prepare above the end of the log and not tied to it.
    Ahead,
    /// A write that was cut off before anybody was told of it.
    Torn,
    /// What an earlier view left and nothing wants any more.
    Stale,
    /// Nothing, or nothing that helps, where the log has an op.
    Missing,
    /// Damage over what may have been acknowledged.
    Corrupt,
    /// The same, by a write that belongs elsewhere.
    Misdirected,
    /// Not to be read at all.
    Unreadable,
    /// What no write of this replica can have left here: it does not matter until the slot is used.
    Noise,
    /// Never written.
    Empty,
}

impl Class {
    /// All of them, in the order in which they are read aloud.
    pub const ALL: [Self; 11] = [
        Self::Clean,
        Self::Unfinished,
        Self::Ahead,
        Self::Torn,
        Self::Stale,
        Self::Missing,
        Self::Corrupt,
        Self::Misdirected,
        Self::Unreadable,
        Self::Noise,
        Self::Empty,
    ];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Unfinished => "unfinished",
            Self::Ahead => "ahead",
            Self::Torn => "torn",
            Self::Stale => "stale",
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
            Self::Misdirected => "misdirected",
            Self::Unreadable => "unreadable",
            Self::Noise => "noise",
            Self::Empty => "empty",
        })
    }
}

/// Slots next to each other of which the same is to be said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Irregular {
    /// The first of them.
    pub first_slot: u32,
    /// The last of them.
    pub last_slot: u32,
    /// The op that is there, or would be.
    pub first_op: u64,
    /// The same for the last slot.
    pub last_op: u64,
    /// The decision table's row.
    pub row: char,
    /// What they are counted as.
    pub class: Class,
    /// What was found, in words.
    pub words: String,
    /// Whether it is damage: by the medium, or by a torn write that cannot be told from it.
    pub is_damage: bool,
}

/// What a journal holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JournalReport {
    /// The file.
    pub file: String,
    /// Its size.
    pub size_bytes: u64,
    /// The size that its layout gives it.
    pub size_expected_bytes: u64,
    /// How many prepares the journal holds.
    pub slot_count: u32,
    /// The largest message, header included.
    pub message_size_max: u32,
    /// The cluster.
    pub cluster: u64,
    /// Where layout and cluster come from.
    pub source: String,
    /// The view whose log this is, if the superblock says.
    pub log_view: Option<u64>,
    /// The first op of the log that was found.
    pub first_op: Option<u64>,
    /// The last.
    pub head: Option<u64>,
    /// How far the log is committed at least.
    pub commit: u64,
    /// Ops that were seen to name the one before as their parent.
    pub links: u64,
    /// Those that do not, in words.
    pub broken_links: Vec<String>,
    /// How many slots hold what.
    pub slots: BTreeMap<Class, u64>,
    /// What is neither clean nor empty.
    pub irregular: Vec<Irregular>,
    /// Whether any of this is damage.
    pub is_damaged: bool,
}

/// What the slot of an op holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PrepareReport {
    /// The op that was asked for.
    pub op: u64,
    /// Its slot.
    pub slot: u32,
    /// The decision table's row.
    pub row: char,
    /// What was found, in words.
    pub words: String,
    /// The header of the prepare that is there; of one that is not, as far as the header ring names it.
    pub header: Option<HeaderFacts>,
    /// Whether the prepare is there, whole.
    pub is_whole: bool,
    /// How many requests it carries.
    pub requests: Option<u64>,
    /// Whether the slot is damaged.
    pub is_damaged: bool,
}

/// How a file is to be read: as its superblock says, or else as whoever asks does.
///
/// # Errors
/// If nobody says, or if both do and differ.
pub fn shape(file: &DataFile, given: Given) -> Result<Shape, InspectError> {
    let copies = Copies::read(file);
    let known = match copies.open() {
        Ok(superblock) => Some(("the superblock".to_owned(), superblock.clone(), Some(superblock))),
        // Not in force, so that it does not say what the log is; where things lie never changes.
        Err(_) => {
            copies.latest().map(|(copy, superblock)| (format!("copy {copy} of the superblock"), superblock, None))
        }
    };
    let Some((source, known, superblock)) = known else { return shape_of(file, given) };
    let Layout { slot_count, message_size_max, .. } = known.layout;
    if given.slot_count.is_some_and(|given| given != slot_count) {
        return Err(InspectError::Contradiction("--slots"));
    }
    if given.message_size_max.is_some_and(|given| given != message_size_max) {
        return Err(InspectError::Contradiction("--message-size-max"));
    }
    if given.cluster.is_some_and(|given| given != known.cluster) {
        return Err(InspectError::Contradiction("--cluster"));
    }
    Ok(Shape { layout: known.layout, cluster: known.cluster, superblock, source })
}

/// The same without a superblock.
fn shape_of(file: &DataFile, given: Given) -> Result<Shape, InspectError> {
    let Given { slot_count: Some(slot_count), message_size_max: Some(message_size_max), cluster } = given else {
        return Err(InspectError::NoLayout);
    };
    // How the grid is laid out only the superblock knows; the journal lies before it.
    let (block_count, block_size) = (BLOCKS_MIN, SECTOR_SIZE as u32);
    let layout = Layout { slot_count, message_size_max, block_count, block_size };
    let layout = layout.validated().map_err(InspectError::Layout)?;
    let root = || {
        let bytes = read(file, layout.prepare_offset(0), chronon::frame::SECTOR_SIZE).ok()?;
        Header::decode(&bytes).ok().filter(|header| header.op == Op::ROOT && header.is_log_entry())
    };
    let cluster = cluster.or_else(|| root().map(|header| header.cluster)).ok_or(InspectError::NoCluster)?;
    Ok(Shape { layout, cluster, superblock: None, source: "the flags".to_owned() })
}

/// Reads the whole journal.
pub fn examine(file: &DataFile, shape: &Shape) -> JournalReport {
    let superblock = shape.superblock.as_ref();
    let layout = shape.layout;
    let mut slots = Slots::new(file, shape);
    let mut log = Log::new(superblock);
    let mut counts = BTreeMap::from(Class::ALL.map(|class| (class, 0)));
    let mut irregular = Vec::new();
    let mut highest = highest_named(&mut slots);
    for number in in_order_of_ops(&mut slots) {
        let slot = slots.slot(number);
        let reached = slot.op().0 <= highest.0.saturating_add(u64::from(PIPELINE_MAX));
        if reached && let PrepareRead::Valid(header) = &slot.prepare {
            highest = highest.max(header.op);
        }
        let standing = log.take(&slot);
        let class = classify(&slot, standing, reached);
        *counts.entry(class).or_default() += 1;
        if !matches!(class, Class::Clean | Class::Empty) {
            note(&mut irregular, irregularity(&slot, class, superblock));
        }
    }
    let broken_links: Vec<String> = log.broken.iter().map(|(op, why)| format!("op {} {why}", op.0)).collect();
    let is_whole = match superblock {
        Some(_) => file.size() == layout.size(),
        None => file.size() >= layout.grid_offset(),
    };
    JournalReport {
        file: file.path().display().to_string(),
        size_bytes: file.size(),
        size_expected_bytes: layout.size(),
        slot_count: layout.slot_count,
        message_size_max: layout.message_size_max,
        cluster: shape.cluster.0,
        source: shape.source.clone(),
        log_view: superblock.map(|superblock| superblock.log_view.0),
        first_op: log.first.map(|op| op.0),
        head: log.head().map(|op| op.0),
        commit: log.commit.0,
        links: log.links,
        is_damaged: !is_whole || !broken_links.is_empty() || irregular.iter().any(|it: &Irregular| it.is_damage),
        broken_links,
        slots: counts,
        irregular,
    }
}

/// The slots in the order of the ops that their rings name: where the ring has come round, the older lap is above the newer.
fn in_order_of_ops(slots: &mut Slots<'_>) -> Vec<u32> {
    let covered = slots.shape.superblock.as_ref().map_or(Op::ROOT, |superblock| superblock.checkpoint.header.op);
    let slot_count = u64::from(slots.layout().slot_count);
    // What is not named counts as of the lap that the checkpoint leaves room for.
    let unnamed = |slot: u32| match u64::from(slot) {
        slot if covered == Op::ROOT => slot,
        slot => covered.0 + 1 + (slot + slot_count - (covered.0 + 1) % slot_count) % slot_count,
    };
    let mut numbers: Vec<(u64, u32)> = (0..slots.layout().slot_count)
        .map(|slot| match slots.entry(slot).0 {
            HeaderRead::Valid(header) => (header.op.0, slot),
            _ => (unnamed(slot), slot),
        })
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|(_, slot)| slot).collect()
}

/// Reads the slots of some ops, in order, as far as anything can have been written, and no slot for an op whose slot is a later one's by
/// now. The first op that is not so: the journal holds none before it.
pub fn prepares(file: &DataFile, shape: &Shape, ops: RangeInclusive<u64>, found: &mut dyn FnMut(PrepareReport)) -> u64 {
    let mut slots = Slots::new(file, shape);
    let highest = highest_named(&mut slots).0;
    let held_from = highest.saturating_add(1).saturating_sub(u64::from(shape.layout.slot_count));
    let last = highest.saturating_add(u64::from(PIPELINE_MAX));
    for op in held_from.max(*ops.start())..=last.min(*ops.end()) {
        let slot = slots.slot(shape.layout.slot(Op(op)));
        let held = slot.header();
        let other = held.filter(|header| header.op.0 != op).map(|header| format!(", of op {}", header.op.0));
        found(PrepareReport {
            op,
            slot: slot.number,
            row: slot.decision.row,
            words: slot.words() + &other.unwrap_or_default(),
            header: held.map(HeaderFacts::from),
            is_whole: slot.is_whole(),
            requests: slot.requests.filter(|_| slot.is_whole()),
            is_damaged: slot.is_damaged(),
        });
    }
    held_from
}

/// The highest op that the superblock and the header ring name, or may name: a little above that, nothing can have been
/// written. Recovery looks no further either.
fn highest_named(slots: &mut Slots<'_>) -> Op {
    let head = slots.shape.superblock.as_ref().map_or(Op::ROOT, |superblock| superblock.head);
    let named = (0..slots.layout().slot_count).map(|slot| match slots.entry(slot).0 {
        HeaderRead::Empty => Op::ROOT,
        HeaderRead::Valid(header) => header.op,
        HeaderRead::Corrupt | HeaderRead::Misdirected => Op(u64::from(slot)),
    });
    named.fold(head, Op::max)
}

fn classify(slot: &Slot, standing: Standing, reached: bool) -> Class {
    if slot.unread.is_some() {
        return Class::Unreadable;
    }
    if !reached && slot.decision.row != 'A' {
        return Class::Noise;
    }
    if slot.is_damaged() {
        return if slot.is_misdirected() { Class::Misdirected } else { Class::Corrupt };
    }
    match (&slot.decision.slot, standing) {
        (SlotState::Empty | SlotState::Torn, Standing::Missing) => Class::Missing,
        (SlotState::Empty, _) => Class::Empty,
        (SlotState::Torn, _) => Class::Torn,
        (_, Standing::Leftover) => Class::Stale,
        (_, Standing::Ahead) => Class::Ahead,
        (SlotState::Clean(_), _) => Class::Clean,
        _ => Class::Unfinished,
    }
}

fn irregularity(slot: &Slot, class: Class, superblock: Option<&Superblock>) -> Irregular {
    let op = slot.op();
    let wanted = superblock.is_some_and(|superblock| op <= superblock.head);
    let is_lost = wanted && matches!(class, Class::Missing | Class::Stale);
    let alone = superblock.is_some_and(|superblock| superblock.replica_count == 1);
    let more = match class {
        Class::Missing | Class::Stale if is_lost && alone => "; the log has an op here, which nobody else has",
        Class::Missing | Class::Stale if is_lost => "; the log has an op here, to be fetched from the other replicas",
        Class::Stale => "; of a view that gave it up",
        Class::Ahead => "; not tied to the end of the log",
        _ => "",
    };
    let words = match class {
        // The table's words suppose a write of this replica's.
        Class::Noise => "something lies here, where no write of this replica can have got to".to_owned(),
        _ => slot.words() + more,
    };
    let damage = matches!(class, Class::Corrupt | Class::Misdirected | Class::Unreadable | Class::Noise);
    Irregular {
        first_slot: slot.number,
        last_slot: slot.number,
        first_op: op.0,
        last_op: op.0,
        row: slot.decision.row,
        class,
        words,
        is_damage: damage || is_lost && alone,
    }
}

/// Adds a slot, to the ones before it if the same is to be said of them.
fn note(irregular: &mut Vec<Irregular>, slot: Irregular) {
    if let Some(last) = irregular.last_mut()
        && last.last_slot + 1 == slot.first_slot
        && last.last_op.checked_add(1) == Some(slot.first_op)
        && (last.row, last.class, &last.words, last.is_damage) == (slot.row, slot.class, &slot.words, slot.is_damage)
    {
        (last.last_slot, last.last_op) = (slot.last_slot, slot.last_op);
    } else {
        irregular.push(slot);
    }
}
