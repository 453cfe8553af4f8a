//! What a primary has done in the world outside, and how it gets into the log what came of it.
//!
//! The outbox says what is to be done, and under which claim; it is the same on every replica. This is the primary's own side,
//! which is lost with its view or its life: what it has handed to its host, and what it waits to see logged. Nothing rests on it: the
//! next primary finds in the outbox what is open, and does with it what each effect's policy says.
//!
//! Invariant: nothing is handed to the host but what a committed claim of this view, or a start committed under it, allows (design
//! rule 18), and nothing twice under one token. What the host reports is kept, up to [`REPORTS_MAX`], until the outbox has no use for
//! it; one for which there is no room is as if it had not come: the attempt times out. A replica that does not lead any more gives what it
//! knows to the one that does, again and again until it is logged: what was started and is not run twice would be parked for ever though
//! somebody knows what it came to.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use crate::{
    app::{
        effect::{
            Destination, EffectId, EffectOrder, EffectReport, EffectResult, Errand, Fence, FencingToken,
            RESPONSE_TOO_LARGE, TIMED_OUT,
        },
        outbox::{Outbox, Task, TaskKind},
        system::SystemEntry,
    },
    process::Actions,
    types::{Instant, View},
    vsr::Vsr,
};

/// How many effects are under way at most that nothing orders among others.
pub(super) const FETCHES_MAX: usize = 128;

/// How many effects are under way at most, one of each channel.
pub(super) const UNDER_WAY_MAX: usize = 1024;

/// How many reports a backup gives the primary at once.
const GIVEN_MAX: usize = 16;

/// How many reports are kept at most that are not logged yet.
pub(super) const REPORTS_MAX: usize = 4096;

/// What a replica has done outside.
#[derive(Clone, Default)]
pub(super) struct Dispatch {
    /// The view that all of this belongs to, the reports apart.
    view: View,
    /// Whether a claim was proposed in it.
    claimed: bool,
    /// What was handed to the host, or proposed to be started, until the outbox has something else to do about it.
    under_way: BTreeMap<EffectId, UnderWay>,
    fetches: usize,
    /// When an attempt is given up.
    alarms: BTreeSet<(Instant, EffectId)>,
    reports: VecDeque<Pending>,
    /// How far the outbox had changed when it was last looked at.
    seen: u64,
    /// Whether something is left to do that no change of the outbox will call for.
    unfinished: bool,
    /// When a backup gives the primary its reports again.
    give_at: Option<Instant>,
}

#[derive(Clone)]
struct UnderWay {
    token: FencingToken,
    kind: TaskKind,
    /// When it is given up; none of what has come to something, and of a start.
    until: Option<Instant>,
    is_fetch: bool,
}

/// A report that is to be logged.
#[derive(Clone)]
struct Pending {
    report: EffectReport,
    /// In which view it was proposed.
    proposed: Option<View>,
}

impl Dispatch {
    /// The host reports what an attempt came to.
    pub(super) fn report(&mut self, report: &EffectReport, outbox: &Outbox) {
        if self.reports.len() >= REPORTS_MAX || !outbox.awaits(report.id, report.token) {
            return;
        }
        let mut report = report.clone();
        let is_fetch = outbox.get(report.id).is_some_and(|entry| entry.standing.destination == Destination::Fetch);
        if let EffectResult::Done { response } = &mut report.result
            && !is_fetch
        {
            // Nobody asked for it: it takes no room in the log, and if there is none, the effect was done all the same.
            response.clear();
        }
        if let Some(under_way) = self.under_way.get_mut(&report.id).filter(|under_way| under_way.token == report.token)
        {
            if report.result == EffectResult::NotDone && under_way.kind != TaskKind::Ask {
                // It answers what nobody asked.
                report.result = EffectResult::Unknown { code: 0 };
            }
            if let Some(until) = under_way.until.take() {
                self.alarms.remove(&(until, report.id));
            }
        }
        self.reports.push_back(Pending { report, proposed: None });
        self.unfinished = true;
    }

    /// Another replica reports what an attempt of its own came to, in a view that is over.
    pub(super) fn told(&mut self, report: &EffectReport, outbox: &Outbox) {
        if !self.reports.iter().any(|pending| pending.report == *report) {
            self.report(report, outbox);
        }
    }

    /// Whether a report is to be seen logged.
    pub(super) fn waits(&self) -> bool {
        !self.reports.is_empty()
    }

    /// An outcome was executed: what was proposed has come to its end.
    pub(super) fn executed(&mut self, report: &EffectReport) {
        if let Some(place) = self.reports.iter().position(|pending| pending.report == *report) {
            self.reports.remove(place);
        }
    }

    /// When an attempt is next given up, or a report given to the primary once more.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let alarm = self.alarms.first().map(|(until, _)| *until);
        let again = self.give_at.filter(|_| !self.reports.is_empty());
        alarm.into_iter().chain(again).min()
    }

    /// How many effects are under way, and how many reports wait.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.under_way.len(), self.reports.len())
    }

    /// Does what there is to do after a step.
    #[inline]
    pub(super) fn run(&mut self, vsr: &mut Vsr, outbox: &Outbox, now: Instant, actions: &mut Actions) {
        let idle = outbox.is_empty() && self.under_way.is_empty() && self.reports.is_empty();
        if !idle {
            self.attend(vsr, outbox, now, actions);
        }
    }

    fn attend(&mut self, vsr: &mut Vsr, outbox: &Outbox, now: Instant, actions: &mut Actions) {
        if !vsr.is_leading() || vsr.view() != self.view {
            self.forget_view(vsr.view());
            if !vsr.is_leading() {
                self.drop_stale(outbox);
                return self.give(vsr, now, actions);
            }
        }
        self.give_at = None;
        self.give_up(now, outbox);
        if !vsr.is_serving() {
            // Its state is in doubt. What is under way stays so: the view is the same, and nothing may be ordered twice in it.
            return;
        }
        if !self.unfinished && self.seen == outbox.changes() {
            return;
        }
        (self.seen, self.unfinished) = (outbox.changes(), false);
        self.drop_stale(outbox);
        self.settle(outbox);
        let before = vsr.system_room();
        self.propose_reports(vsr);
        let fence = Fence { epoch: vsr.epoch(), view: self.view };
        if outbox.fence() == Some(fence) {
            self.take_tasks(vsr, outbox, now, actions);
        } else if !self.claimed && !outbox.is_empty() {
            self.claimed = propose(vsr, &SystemEntry::Claim(fence));
            self.unfinished |= !self.claimed;
        }
        if vsr.system_room() != before {
            vsr.pump(actions);
        }
    }

    /// What was under way in a view that is over is the next primary's.
    fn forget_view(&mut self, view: View) {
        self.under_way.clear();
        self.alarms.clear();
        self.fetches = 0;
        self.claimed = false;
        self.view = view;
        // Whoever serves in it begins with a claim, though nothing has changed.
        self.unfinished = true;
    }

    fn drop_stale(&mut self, outbox: &Outbox) {
        self.reports.retain(|pending| outbox.awaits(pending.report.id, pending.report.token));
    }

    /// What this replica had done is the log's concern still: its primary is told. Of what nobody knows there is nothing to tell.
    fn give(&mut self, vsr: &Vsr, now: Instant, actions: &mut Actions) {
        self.reports.retain(|pending| !matches!(pending.report.result, EffectResult::Unknown { .. }));
        if !vsr.is_backup() || self.reports.is_empty() {
            self.give_at = None;
        } else if self.give_at.is_none_or(|at| at <= now) {
            for Pending { report, .. } in self.reports.iter_mut().take(GIVEN_MAX) {
                fit(report, vsr);
                let mut entry = Vec::new();
                SystemEntry::Outcome(report.clone()).encode(&mut entry);
                vsr.give_entry(&entry, actions);
            }
            self.give_at = Some(now.after(vsr.config().timeouts.resend_ns));
        }
    }

    /// Attempts whose time is over came to nobody knows what.
    fn give_up(&mut self, now: Instant, outbox: &Outbox) {
        while let Some((until, id)) = self.alarms.first().copied().filter(|(until, _)| *until <= now) {
            self.alarms.remove(&(until, id));
            let Some(under_way) = self.under_way.get_mut(&id) else { continue };
            under_way.until = None;
            let report = EffectReport { id, token: under_way.token, result: EffectResult::Unknown { code: TIMED_OUT } };
            if outbox.awaits(id, report.token) {
                self.reports.push_back(Pending { report, proposed: None });
            }
            self.unfinished = true;
        }
    }

    /// Forgets what is under way and what the outbox has no such task for any more.
    fn settle(&mut self, outbox: &Outbox) {
        let Self { under_way, alarms, fetches, .. } = self;
        under_way.retain(|id, under_way| {
            let stays =
                outbox.task(*id).is_some_and(|task| (task.token, task.kind) == (under_way.token, under_way.kind));
            if !stays {
                *fetches -= usize::from(under_way.is_fetch);
                if let Some(until) = under_way.until {
                    alarms.remove(&(until, *id));
                }
            }
            stays
        });
    }

    fn propose_reports(&mut self, vsr: &mut Vsr) {
        let view = self.view;
        for Pending { report, proposed } in &mut self.reports {
            if *proposed == Some(view) {
                continue;
            }
            fit(report, vsr);
            if !propose(vsr, &SystemEntry::Outcome(report.clone())) {
                self.unfinished = true;
                return;
            }
            *proposed = Some(view);
        }
    }

    /// Hands to the host what may be done, and has started what must be started first.
    fn take_tasks(&mut self, vsr: &mut Vsr, outbox: &Outbox, now: Instant, actions: &mut Actions) {
        for task in outbox.tasks() {
            let is_fetch = task.entry.standing.destination == Destination::Fetch;
            let full = self.under_way.len() >= UNDER_WAY_MAX || is_fetch && self.fetches >= FETCHES_MAX;
            // One that ends makes room, and changes the outbox.
            if full || self.under_way.contains_key(&task.id) {
                continue;
            }
            let until = match task.kind {
                TaskKind::Start => {
                    if !propose(vsr, &SystemEntry::Start { id: task.id, token: task.token }) {
                        self.unfinished = true;
                        return;
                    }
                    None
                }
                TaskKind::Run | TaskKind::Ask => {
                    let order = order(&task);
                    let until = now.after(order.timeout_ns);
                    actions.run_effect(order);
                    self.alarms.insert((until, task.id));
                    Some(until)
                }
            };
            self.fetches += usize::from(is_fetch);
            self.under_way.insert(task.id, UnderWay { token: task.token, kind: task.kind, until, is_fetch });
        }
    }
}

/// A response that fits no entry of the log is none.
fn fit(report: &mut EffectReport, vsr: &Vsr) {
    let room = (vsr.config().payload_size_max() as usize).saturating_sub(SystemEntry::OVERHEAD_MAX);
    if let EffectResult::Done { response } = &report.result
        && response.len() > room
    {
        report.result = EffectResult::Refused { code: RESPONSE_TOO_LARGE };
    }
}

fn order(task: &Task<'_>) -> EffectOrder {
    let standing = &task.entry.standing;
    EffectOrder {
        id: task.id,
        token: task.token,
        errand: if task.kind == TaskKind::Ask { Errand::Ask } else { Errand::Run },
        destination: standing.destination,
        payload: task.entry.payload.clone(),
        timeout_ns: standing.policy.attempt_timeout_ns(),
    }
}

fn propose(vsr: &mut Vsr, entry: &SystemEntry) -> bool {
    if vsr.system_room() == 0 {
        return false;
    }
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    vsr.propose_entry(bytes)
}
