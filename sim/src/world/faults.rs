//! What can be done to links, clocks and disks. Everything is written to the trace.

use chronon::{process::Now, types::NodeId};

use super::{Pending, World};
use crate::{network::LinkSettings, trace::Happening};

impl World {
    /// Cuts the link both ways. Frames sent into a cut, and those under way when it falls, are lost. Cuts are counted: what
    /// was cut twice is healed by two heals.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Cuts the link from `from` to `to` and leaves the way back.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        if self.is_over() {
            return;
        }
        self.core.network.cut(from, to);
        self.core.trace.happening(self.core.now_ns, &Happening::Cut { from, to });
    }

    /// Takes one cut off the link, both ways.
    pub fn heal(&mut self, a: NodeId, b: NodeId) {
        self.heal_one_way(a, b);
        self.heal_one_way(b, a);
    }

    /// Takes one cut off the link from `from` to `to`.
    pub fn heal_one_way(&mut self, from: NodeId, to: NodeId) {
        if self.is_over() {
            return;
        }
        self.core.network.heal(from, to);
        self.core.trace.happening(self.core.now_ns, &Happening::Heal { from, to });
    }

    /// Cuts every link between the two sides, both ways.
    pub fn partition(&mut self, left: &[NodeId], right: &[NodeId]) {
        for a in left {
            for b in right {
                self.cut(*a, *b);
            }
        }
    }

    /// Takes one cut off every link between the two sides.
    pub fn heal_partition(&mut self, left: &[NodeId], right: &[NodeId]) {
        for a in left {
            for b in right {
                self.heal(*a, *b);
            }
        }
    }

    /// Takes every cut off every link and opens every clogged one.
    pub fn heal_all(&mut self) {
        if self.is_over() {
            return;
        }
        for (from, to) in self.core.network.heal_all() {
            self.core.trace.happening(self.core.now_ns, &Happening::Heal { from, to });
        }
        for (from, to) in self.core.network.clogged() {
            self.unclog(from, to);
        }
    }

    /// Holds whatever arrives over the link from `from` to `to` until it is unclogged.
    pub fn clog(&mut self, from: NodeId, to: NodeId) {
        if self.is_over() {
            return;
        }
        self.core.network.clog(from, to);
        self.core.trace.happening(self.core.now_ns, &Happening::Clog { from, to });
    }

    /// Delivers, at this instant and in order, what the link held.
    pub fn unclog(&mut self, from: NodeId, to: NodeId) {
        if self.is_over() {
            return;
        }
        self.core.trace.happening(self.core.now_ns, &Happening::Unclog { from, to });
        for flight in self.core.network.unclog(from, to) {
            self.soon(Pending::Flight(flight));
        }
    }

    /// Keeps the last `frames_max` frames of each link from now on, for [`World::echo`].
    pub fn remember_frames(&mut self, frames_max: u32) {
        self.core.network.keep(frames_max);
    }

    /// The network says again, at this instant and in order, the last frames that it was given for the link, whatever became
    /// of them then. Says what it remembers: see [`World::remember_frames`].
    pub fn echo(&mut self, from: NodeId, to: NodeId) {
        if self.is_over() {
            return;
        }
        self.core.trace.happening(self.core.now_ns, &Happening::Echo { from, to });
        for flight in self.core.network.echo(from, to) {
            self.soon(Pending::Flight(flight));
        }
    }

    /// Gives new settings to every link that has none of its own.
    pub fn set_links(&mut self, settings: LinkSettings) {
        if self.is_over() {
            return;
        }
        self.core.network.set_default(settings);
        self.core.trace.happening(self.core.now_ns, &Happening::Link { ends: None, settings: &settings });
    }

    /// Gives the link from `from` to `to` settings of its own.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, settings: LinkSettings) {
        if self.is_over() {
            return;
        }
        self.core.network.set_link(from, to, settings);
        self.core.trace.happening(self.core.now_ns, &Happening::Link { ends: Some((from, to)), settings: &settings });
    }

    /// Takes their own settings from all links.
    pub fn reset_links(&mut self) {
        if self.is_over() {
            return;
        }
        self.core.network.reset_links();
        let settings = self.core.network.default_settings();
        self.core.trace.happening(self.core.now_ns, &Happening::Link { ends: None, settings: &settings });
    }

    /// Steps the node's realtime clock by `offset_ns` and lets both of its clocks drift at `drift_ppb` from now on.
    pub fn skew(&mut self, node: NodeId, offset_ns: i64, drift_ppb: i32) {
        if self.is_over() {
            return;
        }
        if offset_ns != 0 {
            self.step_clock(node, offset_ns);
        }
        let slot = &mut self.nodes[node.0 as usize];
        slot.set_drift(self.core.now_ns, drift_ppb);
        // A clock that runs faster now reaches its deadline sooner than it was to be woken.
        slot.arm(self.core.now_ns, node, &mut self.core.queue);
        self.core.trace.happening(self.core.now_ns, &Happening::Drift { node, drift_ppb });
    }

    /// What the node's clocks read.
    pub fn clocks(&self, node: NodeId) -> Now {
        self.slot(node).clock.now(self.core.now_ns)
    }

    /// Steps the node's realtime clock, either way.
    pub fn step_clock(&mut self, node: NodeId, delta_ns: i64) {
        if self.is_over() {
            return;
        }
        let now_ns = self.core.now_ns;
        self.slot_mut(node).clock.step_realtime(now_ns, delta_ns);
        self.core.trace.happening(now_ns, &Happening::ClockStep { node, delta_ns });
    }

    /// Takes all faults off the node's disk and lets what a stall held back go on.
    pub fn clear_disk_faults(&mut self, node: NodeId) {
        if self.is_over() {
            return;
        }
        let slot = &mut self.nodes[node.0 as usize];
        slot.disk.clear_faults();
        let mut due = Vec::new();
        slot.disk.reschedule(self.core.now_ns, &mut due);
        for (at_ns, operation) in due {
            self.core.queue.push(at_ns, Pending::Due { node, life: slot.life, operation, put_off: true });
        }
        self.note(&format!("the disk of {} is sound again", self.name(node).to_owned()));
    }

    /// Writes a remark into the trace: what was done to a disk, or why.
    pub fn note(&mut self, note: &str) {
        if self.is_over() {
            return;
        }
        self.core.trace.happening(self.core.now_ns, &Happening::Note(note));
    }
}
