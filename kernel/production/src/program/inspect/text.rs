//! What was found, as people read it.

use chronon_production::{
    inspect::{CheckpointReport, Class, Facts, HeaderFacts, Irregular, JournalReport, PrepareReport, SuperblockReport},
    size,
};

use crate::program::number::{counted, grouped};

/// How many irregular places are shown: a file of noise has as many as slots.
const IRREGULAR_MAX: usize = 100;

/// Above the lines of [`prepare`].
pub(super) const PREPARES_HEADING: &str =
    "        op  view        timestamp ns  requests    bytes  checksum  parent    verdict\n";

/// The superblock's report.
pub(super) fn superblock(report: &SuperblockReport) -> String {
    let mut text = file_line(&report.file, report.size_bytes);
    for copy in &report.copies {
        text.push_str(&format!("copy {}       {:12} {}\n", copy.copy, copy.state.to_string(), copy.words));
    }
    match (&report.in_force, &report.refusal) {
        (Some(facts), _) => text.push_str(&facts_lines(facts)),
        (None, Some(why)) => text.push_str(&format!("refused      {why}\n")),
        (None, None) => {}
    }
    if !report.replaced_at_start.is_empty() && report.in_force.is_some() {
        let copies: Vec<String> = report.replaced_at_start.iter().map(ToString::to_string).collect();
        text.push_str(&format!("at start     a replica writes this over copies {} first\n", copies.join(", ")));
    }
    text.push_str(&size_line(report.size_bytes, report.size_expected_bytes));
    text.push_str(if report.is_damaged { "DAMAGED" } else { "no damage" });
    text
}

/// A checkpoint.
pub(super) fn checkpoint(report: &CheckpointReport) -> String {
    let mut text = match &report.root {
        Some(root) => format!("checkpoint   at op {}, root {root}\n", grouped(report.header.op)),
        None => "checkpoint   none yet: recovery begins with the empty state\n".to_owned(),
    };
    if report.vouched_op > 0 {
        let (op, root) = (grouped(report.vouched_op), &report.vouched_root);
        text.push_str(&format!("vouched for  by a majority: op {op}, root {root}\n"));
    }
    text.push_str(&format!(
        "chunks       {} of {} ({} leaves of sessions, {} of the state)\n\
         grid         {} of {}, {} in use by this checkpoint or another\n",
        counted(report.chunks, "chunk"),
        size::words(report.bytes),
        grouped(report.session_leaves),
        grouped(report.state_leaves),
        counted(report.block_count.into(), "block"),
        size::words(report.block_size.into()),
        grouped(report.blocks_claimed),
    ));
    for damaged in report.damaged.iter().take(IRREGULAR_MAX) {
        let block = damaged.block.map_or(String::new(), |block| format!(" (block {block})"));
        text.push_str(&format!("  {}{block}: {}\n", damaged.address, damaged.words));
    }
    if report.damaged.len() > IRREGULAR_MAX {
        text.push_str(&format!("  and {} more\n", grouped((report.damaged.len() - IRREGULAR_MAX) as u64)));
    }
    text.push_str(if report.is_damaged { "DAMAGED" } else { "no damage" });
    text
}

fn facts_lines(facts: &Facts) -> String {
    let mut text = format!(
        "in force     sequence {}, replica {} of {} in cluster {}\n\
         application  {}\n\
         incarnation  {}\n\
         {}\
         layout       {} of {}\n\
         view         {}, with the log of view {}\n\
         log          up to op {}, committed to op {} at least, epoch {}\n\
         checkpoint   at op {}\n",
        grouped(facts.sequence),
        facts.replica,
        facts.replica_count,
        facts.cluster,
        if facts.application.is_empty() { "not said" } else { &facts.application },
        facts.incarnation,
        members_lines(facts),
        counted(u64::from(facts.slot_count), "slot"),
        size::words(u64::from(facts.message_size_max)),
        facts.view,
        facts.log_view,
        grouped(facts.head),
        grouped(facts.commit),
        facts.epoch,
        grouped(facts.checkpoint),
    );
    for header in &facts.suffix {
        text.push_str(&format!("  {}\n", header_words(header)));
    }
    text
}

/// Who the replicas are, and whether this one is to become one again.
fn members_lines(facts: &Facts) -> String {
    let mut text = String::new();
    if facts.is_recovering {
        let place = facts.replaces.as_ref().map_or_else(|| "an unknown one".to_owned(), |replaces| replaces.clone());
        text.push_str(&format!("recovering   in the place of {place}: it gives nobody its word yet\n"));
    } else if facts.votes_from > 0 {
        text.push_str(&format!("recovered    it gives its word from view {} on\n", facts.votes_from));
    }
    if facts.members.is_empty() {
        return text + "members      not known yet\n";
    }
    text.push_str(&format!("members      version {}\n", grouped(facts.members_version)));
    for (replica, incarnation) in facts.members.iter().enumerate() {
        text.push_str(&format!("  replica {replica}: {incarnation}\n"));
    }
    text
}

fn header_words(header: &HeaderFacts) -> String {
    format!(
        "op {}, view {}, {}, checksum {}, parent {}",
        grouped(header.op),
        header.view,
        counted(u64::from(header.size_bytes), "byte"),
        prefix(&header.checksum),
        prefix(&header.parent)
    )
}

/// The journal's report.
pub(super) fn journal(report: &JournalReport) -> String {
    let mut text = file_line(&report.file, report.size_bytes);
    text.push_str(&format!(
        "layout       {} of {}, cluster {}, from {}\n",
        counted(u64::from(report.slot_count), "slot"),
        size::words(u64::from(report.message_size_max)),
        report.cluster,
        report.source
    ));
    text.push_str(&log_line(report));
    text.push_str(&format!("hash chain   {} checked", counted(report.links, "link")));
    text.push_str(if report.broken_links.is_empty() { ", none broken\n" } else { "\n" });
    for broken in &report.broken_links {
        text.push_str(&format!("  broken: {broken}\n"));
    }
    let counts: Vec<String> = Class::ALL
        .iter()
        .filter_map(|class| Some((class, report.slots.get(class).copied().filter(|count| *count > 0)?)))
        .map(|(class, count)| format!("{} {class}", grouped(count)))
        .collect();
    text.push_str(&format!("slots        {}\n", counts.join(", ")));
    for irregular in report.irregular.iter().take(IRREGULAR_MAX) {
        text.push_str(&format!("  {}\n", irregular_words(irregular)));
    }
    if report.irregular.len() > IRREGULAR_MAX {
        let more = report.irregular.len() - IRREGULAR_MAX;
        text.push_str(&format!("  and {} more; --json lists all\n", grouped(more as u64)));
    }
    text.push_str(&size_line(report.size_bytes, Some(report.size_expected_bytes)));
    text.push_str(if report.is_damaged { "DAMAGED" } else { "no damage" });
    text
}

fn log_line(report: &JournalReport) -> String {
    let (Some(first), Some(head)) = (report.first_op, report.head) else {
        return "log          no op of it is to be found\n".to_owned();
    };
    let view = match report.log_view {
        Some(view) => format!(" of view {view}"),
        None => ", as far as the journal alone can say".to_owned(),
    };
    let (first, head, commit) = (grouped(first), grouped(head), grouped(report.commit));
    format!("log          ops {first} to {head}{view}, committed to op {commit} at least\n")
}

fn irregular_words(it: &Irregular) -> String {
    let (slots, ops) = if it.first_slot == it.last_slot {
        (format!("slot {}", grouped(it.first_slot.into())), format!("op {}", grouped(it.first_op)))
    } else {
        let slots = format!("slots {} to {}", grouped(it.first_slot.into()), grouped(it.last_slot.into()));
        (slots, format!("ops {} to {}", grouped(it.first_op), grouped(it.last_op)))
    };
    format!("{slots} ({ops}): {}, row {}: {}", it.class, it.row, it.words)
}

/// One line of a table.
pub(super) fn prepare(report: &PrepareReport) -> String {
    let Some(header) = &report.header else {
        return format!("{:>10}  {:68}{}: {}", report.op, "", report.row, report.words);
    };
    format!(
        "{:>10}  {:>4}  {:>19}  {:>8}  {:>7}  {}  {}  {}: {}",
        report.op,
        header.view,
        header.timestamp_ns,
        report.requests.map_or_else(|| "-".to_owned(), |requests| requests.to_string()),
        header.size_bytes,
        prefix(&header.checksum),
        prefix(&header.parent),
        report.row,
        report.words
    )
}

/// What of a checksum people compare.
fn prefix(checksum: &str) -> &str {
    checksum.get(..8).unwrap_or(checksum)
}

fn file_line(file: &str, size_bytes: u64) -> String {
    format!("{file}: {} ({})\n", counted(size_bytes, "byte"), size::words(size_bytes))
}

fn size_line(size_bytes: u64, expected: Option<u64>) -> String {
    let Some(expected) = expected.filter(|expected| *expected != size_bytes) else { return String::new() };
    let difference = counted(expected.abs_diff(size_bytes), "byte");
    if size_bytes < expected {
        format!("size         {difference} short of what its layout has: it was cut\n")
    } else {
        format!("size         {difference} more than its layout has: something was added\n")
    }
}
