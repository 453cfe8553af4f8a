//! What a primary puts into the log by itself: entries that no client asked for, and the passing of time.
//!
//! Room is reserved for both (design rule 19): the system's entries go into the next prepare before any request, a place in the
//! pipeline and the last slots of the journal are theirs alone, and a state machine that is nearly full refuses requests and never these. A deadline of the state machine's is looked at when the log's time
//! may have come to it; if nothing in the log is as late, a prepare without requests, a *tick*, moves the time on (design rule 17).
//! What is due then is decided where the tick is executed, and not here.

use alloc::vec::Vec;

use crate::{
    frame::Frame,
    process::Actions,
    types::Timestamp,
    vsr::{Vsr, commit::StateMachine, probe::Probe, timer::Timer},
    wire::{
        batch,
        header::{Command, HEADER_SIZE},
    },
};

/// How many entries of the system's wait at most.
pub(super) const SYSTEM_MAX: usize = 64;

/// The least pause before a deadline is looked at again, in nanoseconds: clocks may run at different rates.
const LOOK_MIN_NS: u64 = 100_000;

impl Vsr {
    /// Has an entry of the system's own logged, in the next prepare: see [`StateMachine::execute_system`]. It is lost if this
    /// replica leaves the view before. False, and not taken, if this replica does not serve as a primary, or if too many wait.
    ///
    /// # Panics
    /// If it is larger than a request's payload may be.
    pub fn propose_entry(&mut self, entry: Vec<u8>) -> bool {
        assert!(entry.len() <= self.config.payload_size_max() as usize, "an entry fits a prepare");
        if !self.is_serving() || self.primary.system.len() >= SYSTEM_MAX {
            return false;
        }
        self.primary.waiting_size += batch::entry_size(entry.len());
        self.primary.system.push_back(entry);
        true
    }

    /// Sends an entry of the system's own to the primary of the view, as a backup of it. It may be lost.
    pub fn give_entry(&self, entry: &[u8], actions: &mut Actions) {
        if self.is_backup() {
            actions.probe(Probe::EntryGiven.into());
            self.send(self.primary_of_view(), self.header(Command::Entry), entry, actions);
        }
    }

    /// The entry that another replica gave this one in the last step, which is for whoever knows its meaning to propose or to drop.
    pub fn given_entry(&self) -> Option<&[u8]> {
        self.given.as_ref().map(|frame| &frame[HEADER_SIZE..])
    }

    /// Another replica has something for the log.
    pub(super) fn on_entry(&mut self, frame: &Frame) {
        if self.is_serving() {
            self.given = Some(frame.clone());
        }
    }

    /// How many more entries [`Vsr::propose_entry`] takes.
    pub fn system_room(&self) -> usize {
        if self.is_serving() { SYSTEM_MAX - self.primary.system.len() } else { 0 }
    }

    /// Looks at what the state machine, as it now is, wants of its primary.
    pub(super) fn attend<M: StateMachine>(&mut self, machine: &M, actions: &mut Actions) {
        if !self.is_serving() {
            return;
        }
        self.primary.is_nearly_full = machine.is_nearly_full();
        let due = machine.due();
        if due.is_none() && self.primary.due.is_none() {
            return;
        }
        let is_other = due != self.primary.due;
        self.primary.due = due;
        match due {
            None => {
                self.primary.tick = false;
                self.timers.stop(Timer::Tick);
            }
            // More was due than one op does.
            Some(due) if self.log.head_header().timestamp >= due => {
                self.primary.tick = self.applied == self.log.head();
            }
            Some(_) if is_other => self.on_tick_timer(actions),
            Some(_) => {}
        }
    }

    /// The log's time may have come to what the state machine waits for.
    pub(super) fn on_tick_timer(&mut self, actions: &mut Actions) {
        let Some(due) = self.primary.due else { return };
        let head = self.log.head_header().timestamp;
        if head >= due {
            // It has, or will have when that is executed.
            return;
        }
        let (Timestamp(now), _) = self.clock.timestamp(head, self.now);
        if now >= due.0 && !self.primary.tick {
            actions.probe(Probe::Tick.into());
        }
        self.primary.tick = now >= due.0;
        // Clocks may be stepped before the tick is prepared, and without an agreed interval the log's time stands still: it is looked at
        // again in any case.
        let election_ns = self.config.timeouts.election_ns;
        let wait_ns =
            if self.primary.tick { election_ns } else { due.0.saturating_sub(now).clamp(LOOK_MIN_NS, election_ns) };
        self.timers.set(Timer::Tick, self.after(wait_ns));
    }
}
