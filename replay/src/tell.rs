//! Telling a trace: the transitions in it, and a table of them in columns by replica.
//!
//! A transition is what a reader wants to hear of: crashes, restarts, pauses, cuts, clocks, remarks, rare paths, the verdict.
//! Messages, disk operations and deadlines are not: they are what a trace is for. Paths that are taken all the time are
//! summed up between the others. Deliberately absent: any knowledge of what the processes are.

mod table;

use std::collections::BTreeMap;

use chronon::types::NodeId;
use chronon_sim::{
    simulation::Particular,
    trace::{CrashCause, Entry, Named, Record, Trace, TraceError},
};
use serde::Serialize;

pub(crate) use table::{Table, shortened};

/// A path that is taken more often than this in one run is summed up.
const FREQUENT: u64 = 60;

/// What the nodes of a transition are after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Start,
    Crash,
    Halt,
    Restart,
    Pause,
    Resume,
    Link,
    Clock,
    Note,
    Probe,
    /// Paths that are taken all the time, since the transition before.
    Work,
    Verdict,
    End,
}

/// Something that a reader wants to hear of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Transition {
    /// The virtual time.
    pub(crate) at_ns: u64,
    /// How many events were taken, this one's included.
    pub(crate) step: u64,
    pub(crate) kind: Kind,
    /// Whom it befell.
    pub(crate) nodes: Vec<String>,
    /// The whole of it, without the time.
    pub(crate) text: String,
}

/// A trace as its transitions.
pub(crate) struct Told {
    /// The names of the nodes that have a column.
    pub(crate) columns: Vec<String>,
    pub(crate) transitions: Vec<Transition>,
}

impl Told {
    /// Reads the whole trace, of a run of which some particulars may be known that no trace holds.
    pub(crate) fn of<'a>(trace: &Trace<'a>, particulars: &'a [Particular]) -> Result<Self, TraceError> {
        let (mut counts, mut names) = (BTreeMap::new(), Vec::new());
        for entry in trace.records() {
            match entry?.record {
                Record::Probe { name, .. } => *counts.entry(name).or_insert(0_u64) += 1,
                Record::Node { node } => names.push(node.name),
                _ => {}
            }
        }
        counts.retain(|_, count| *count > FREQUENT);
        let particulars = particulars.iter().map(|one| ((one.step, one.node, one.probe), &*one.text)).collect();
        let mut teller = Teller { frequent: counts.into_keys().collect(), names, particulars, ..Teller::default() };
        for entry in trace.records() {
            // Whoever drives the world may go on with it after a verdict, but nothing happens in it.
            if teller.transitions.last().is_none_or(|last| last.kind != Kind::Verdict) {
                teller.take(&entry?);
            }
        }
        Ok(Self { columns: columns(&teller.names), transitions: teller.transitions })
    }
}

/// The nodes that have a column: those that are named as the first one is, `r0`, `r1`, `r2`; all if that is the only one.
fn columns(names: &[&str]) -> Vec<String> {
    let stem = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    let first = names.first().map(|name| stem(name));
    let alike: Vec<&&str> = names.iter().filter(|name| Some(stem(name)) == first).collect();
    let chosen: Vec<&&str> = if alike.len() > 1 || names.len() > 8 { alike } else { names.iter().collect() };
    chosen.into_iter().take(8).map(|name| (*name).to_owned()).collect()
}

#[derive(Default)]
struct Teller<'a> {
    /// The paths that are summed up.
    frequent: Vec<&'a str>,
    names: Vec<&'a str>,
    /// What a path was about that a node took in a step.
    particulars: BTreeMap<(u64, NodeId, &'a str), &'a str>,
    transitions: Vec<Transition>,
    /// How often which node took each of the frequent paths since the last transition.
    work: BTreeMap<&'a str, BTreeMap<NodeId, u64>>,
    /// The last of that work: its time and step.
    worked: (u64, u64),
    /// Links cut, healed, clogged or opened at one instant, which are told together.
    links: Vec<(NodeId, NodeId)>,
    /// A node that is about to start since it was restarted or added: that is one thing.
    restarted: Option<NodeId>,
}

impl<'a> Teller<'a> {
    fn take(&mut self, entry: &Entry<'a>) {
        let kind = match &entry.record {
            Record::Probe { node, name } if self.frequent.contains(name) => {
                *self.work.entry(name).or_default().entry(node.node).or_default() += 1;
                self.worked = (entry.at_ns, entry.step);
                return;
            }
            Record::Cut { from, to } => return self.link(entry, "cut", *from, *to),
            Record::Heal { from, to } => return self.link(entry, "heal", *from, *to),
            Record::Clog { from, to } => return self.link(entry, "clog", *from, *to),
            Record::Echo { from, to } => return self.link(entry, "echo", *from, *to),
            Record::Unclog { from, to } => return self.link(entry, "unclog", *from, *to),
            Record::Start { node, .. } if self.restarted.take_if(|last| *last == node.node).is_some() => return,
            // A node that stopped itself has said so.
            Record::Crash { cause: CrashCause::Halted, .. } => return,
            Record::Start { .. } => Kind::Start,
            Record::Crash { .. } => Kind::Crash,
            Record::Halt { .. } => Kind::Halt,
            Record::Restart { node } => {
                self.restarted = Some(node.node);
                Kind::Restart
            }
            Record::Pause { .. } => Kind::Pause,
            Record::Resume { .. } => Kind::Resume,
            Record::Link { .. } => Kind::Link,
            Record::Drift { .. } | Record::ClockStep { .. } => Kind::Clock,
            Record::Note { .. } => Kind::Note,
            Record::Probe { .. } => Kind::Probe,
            Record::Verdict { .. } => Kind::Verdict,
            Record::End { .. } => Kind::End,
            _ => return,
        };
        let (mut node, mut text) = (entry.record.node().map(|node| node.node), entry.record.to_string());
        if let Record::Probe { node, name } = entry.record {
            text = match self.particulars.get(&(entry.step, node.node, name)) {
                Some(about) => format!("{name} {about}"),
                None => name.to_owned(),
            };
        }
        if let Record::Note { note } = entry.record
            && let Some((name, rest)) = note.split_once(": ")
            && let Some(place) = self.names.iter().position(|known| *known == name)
        {
            (node, text) = (Some(NodeId(place as u32)), rest.to_owned());
        }
        self.tell(entry, kind, node, &text);
    }

    /// Adds a transition, or a node to the last one if the same befell it at the same instant.
    fn tell(&mut self, entry: &Entry<'_>, kind: Kind, node: Option<NodeId>, what: &str) {
        self.sum_up();
        self.links.clear();
        let name = node.map(|node| self.name(node));
        if let Some(last) = self.transitions.last_mut()
            && let Some(name) = &name
            && (last.at_ns, last.kind) == (entry.at_ns, kind)
            && !last.nodes.is_empty()
            && !last.nodes.contains(name)
            && last.text == sentence(&last.nodes, what)
        {
            last.nodes.push(name.clone());
            last.text = sentence(&last.nodes, what);
            return;
        }
        let nodes: Vec<String> = name.into_iter().collect();
        let text = sentence(&nodes, what);
        self.transitions.push(Transition { at_ns: entry.at_ns, step: entry.step, kind, nodes, text });
    }

    /// Adds a link to the links that the same befell at the same instant.
    fn link(&mut self, entry: &Entry<'_>, verb: &str, from: Named<'_>, to: Named<'_>) {
        let is_last = |last: &Transition| {
            last.at_ns == entry.at_ns && last.kind == Kind::Link && last.text.starts_with(&format!("{verb} "))
        };
        let mut links = std::mem::take(&mut self.links);
        if !links.is_empty() && self.work.is_empty() && self.transitions.last().is_some_and(is_last) {
            self.transitions.pop();
        } else {
            links.clear();
        }
        links.push((from.node, to.node));
        let text = format!("{verb} {}", self.arrows(&links));
        self.tell(entry, Kind::Link, None, &text);
        let mut ends: Vec<NodeId> = links.iter().flat_map(|(from, to)| [*from, *to]).collect();
        ends.sort_unstable();
        ends.dedup();
        let ends = ends.into_iter().map(|node| self.name(node)).collect();
        self.transitions.last_mut().expect("it was just told").nodes = ends;
        self.links = links;
    }

    /// Links as arrows, both ways where both are among them.
    fn arrows(&self, links: &[(NodeId, NodeId)]) -> String {
        let mut parts = Vec::new();
        for (at, (from, to)) in links.iter().enumerate() {
            let opposite = links.iter().position(|other| *other == (*to, *from));
            match opposite {
                Some(place) if place < at => {}
                Some(_) => parts.push(format!("{} ↔ {}", self.name(*from), self.name(*to))),
                None => parts.push(format!("{} → {}", self.name(*from), self.name(*to))),
            }
        }
        parts.join(", ")
    }

    /// Adds what was taken all the time since the last transition, as one.
    fn sum_up(&mut self) {
        if self.work.is_empty() {
            return;
        }
        let work = std::mem::take(&mut self.work);
        let mut nodes: Vec<NodeId> = work.values().flat_map(BTreeMap::keys).copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        let told = work.iter().map(|(name, counts)| {
            let counts: Vec<String> =
                counts.iter().map(|(node, count)| format!("{} {count}", self.name(*node))).collect();
            format!("{name}: {}", counts.join(", "))
        });
        let text = told.collect::<Vec<_>>().join("; ");
        let nodes = nodes.into_iter().map(|node| self.name(node)).collect();
        let (at_ns, step) = self.worked;
        self.transitions.push(Transition { at_ns, step, kind: Kind::Work, nodes, text });
    }

    fn name(&self, node: NodeId) -> String {
        self.names.get(node.0 as usize).map_or_else(|| node.to_string(), |name| (*name).to_owned())
    }
}

/// What befell the nodes, said of one or of several.
fn sentence(nodes: &[String], what: &str) -> String {
    match nodes {
        [] => what.to_owned(),
        [node] => format!("{node} {what}"),
        _ => {
            let plural = [("is ", "are "), ("starts", "start"), ("goes on", "go on")];
            let rest = plural.iter().find_map(|(one, many)| Some(format!("{many}{}", what.strip_prefix(one)?)));
            format!("{} {}", nodes.join(", "), rest.as_deref().unwrap_or(what))
        }
    }
}
