//! All promises together, over random histories: primaries that come, go and do not know that they are gone; outcomes that are
//! lost, late and repeated; services that hang, fail and forget to answer; operators; and a checkpoint after every op.
//!
//! What is checked is what services and the application see. The service of effects that are never run twice honours nothing,
//! the others refuse old tokens; one of them remembers ids as well, and one can be asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::*;

/// The channels, by what an unknown outcome means in each.
const POLICIES: [(u32, OnUnknown); 4] =
    [(0, OnUnknown::RunAgain), (1, OnUnknown::NeverTwice), (2, OnUnknown::AskFirst), (3, OnUnknown::RunAgain)];
const NEVER_TWICE: u32 = 1;
/// The channel whose service remembers ids.
const REMEMBERS: u32 = 0;
/// The channel whose effects may be run again and are not remembered.
const AT_LEAST_ONCE: u32 = 3;

/// Numbers that look random.
struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..].copy_from_slice(&self.drawn.to_le_bytes());
        (Checksum::of(&bytes).0 as u64) % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// A call on its way to a service.
#[derive(Clone, Copy)]
struct Call {
    id: EffectId,
    token: FencingToken,
    asks: bool,
    channel: u32,
    place: u64,
}

/// What the services saw.
#[derive(Default)]
struct Services {
    fences: BTreeMap<u32, FencingToken>,
    runs: BTreeMap<EffectId, u32>,
    /// By channel, the places of effects in the order in which they were first run.
    order: BTreeMap<u32, Vec<u64>>,
}

impl Services {
    fn call(&mut self, call: Call, draws: &mut Draws, faults: bool) -> EffectResult {
        let honours = call.channel != NEVER_TWICE;
        if honours {
            let highest = self.fences.entry(call.channel).or_insert(call.token);
            if call.token < *highest {
                return EffectResult::Failed { code: 412 };
            }
            *highest = call.token;
        }
        let runs = self.runs.entry(call.id).or_default();
        if call.asks {
            return if *runs > 0 { done() } else { EffectResult::NotDone };
        }
        if faults && draws.one_in(4) {
            return EffectResult::Failed { code: 503 };
        }
        if faults && draws.one_in(30) {
            return EffectResult::Refused { code: 400 };
        }
        if *runs == 0 {
            self.order.entry(call.channel).or_default().push(call.place);
        }
        if *runs == 0 || call.channel != REMEMBERS {
            *runs += 1;
        }
        done()
    }
}

struct History {
    draws: Draws,
    outbox: Outbox,
    op: u64,
    view: u64,
    services: Services,
    calls: Vec<Call>,
    outcomes: Vec<(EffectId, FencingToken, EffectResult)>,
    /// What was handed to services: a primary hands each over once.
    dispatched: BTreeSet<(EffectId, FencingToken, bool)>,
    /// Primaries that do not know that they are gone.
    ghosts: Vec<Outbox>,
    /// By id, the channel.
    emitted: BTreeMap<EffectId, u32>,
    ends: BTreeMap<EffectId, End>,
    redriven: BTreeSet<EffectId>,
    tokens: BTreeMap<u32, FencingToken>,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            draws: Draws { seed, drawn: 0 },
            outbox: Outbox::new(LIMITS),
            op: 0,
            view: 0,
            services: Services::default(),
            calls: Vec::new(),
            outcomes: Vec::new(),
            dispatched: BTreeSet::new(),
            ghosts: Vec::new(),
            emitted: BTreeMap::new(),
            ends: BTreeMap::new(),
            redriven: BTreeSet::new(),
            tokens: BTreeMap::new(),
        }
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp(self.op * SECOND)
    }

    fn end(&mut self, ended: Option<Ended>) {
        if let Some(Ended { id, end }) = ended {
            assert!(self.emitted.contains_key(&id), "{id} was never asked for");
            assert_eq!(self.ends.insert(id, end), None, "{id} ended twice");
        }
    }

    /// The next op, with one entry in it.
    fn commit(&mut self, entry: impl FnOnce(&mut Self)) {
        self.op += 1;
        let mut ended = Vec::new();
        self.outbox.advance(Op(self.op), self.timestamp(), 2, &mut ended);
        ended.into_iter().for_each(|ended| self.end(Some(ended)));
        entry(self);
        self.check();
    }

    fn emit(&mut self) {
        let (channel, on_unknown) = POLICIES[self.draws.below(4) as usize];
        let on_exhausted = if self.draws.one_in(3) { OnExhausted::Fail } else { OnExhausted::DeadLetter };
        let policy = Policy::EMIT
            .with_attempts(1 + self.draws.below(4) as u32)
            .with_total_timeout((5 + self.draws.below(60)) * SECOND)
            .with_backoff(SECOND, 4 * SECOND)
            .with_unknown(on_unknown)
            .with_exhausted(on_exhausted);
        let length = self.draws.below(3) as usize;
        self.commit(|history| {
            let id = id(history.op);
            if history.outbox.room().take(length).is_ok() {
                let destination = Destination::Emit(Channel(channel));
                history.outbox.insert(id, destination, policy, Frame::new(vec![9; length]), history.timestamp());
                history.emitted.insert(id, channel);
            }
        });
    }

    fn claim(&mut self) {
        if self.draws.one_in(2) {
            self.ghosts.push(self.outbox.clone());
        }
        self.view += 1;
        let view = self.view;
        self.commit(|history| history.outbox.claim(fence(view), Op(history.op)).expect("a later view"));
    }

    /// What a primary with this outbox does; it may be gone and not know it.
    fn dispatch(&mut self, outbox: &Outbox) {
        let tasks: Vec<_> = outbox.tasks().map(|task| (task.id, task.token, task.kind, task.entry.standing)).collect();
        for (id, token, kind, standing) in tasks {
            let Destination::Emit(Channel(channel)) = standing.destination else { panic!("all are emitted") };
            if kind == TaskKind::Start {
                // Starts of primaries that are gone may commit as well.
                self.commit(|history| {
                    let _ = history.outbox.start(id, token, Op(history.op));
                });
            } else if self.dispatched.insert((id, token, kind == TaskKind::Ask)) {
                if outbox.fence() == Some(fence(self.view)) {
                    let highest = self.tokens.entry(channel).or_insert(token);
                    assert!(token >= *highest, "tokens rise along a channel");
                    *highest = token;
                }
                self.calls.push(Call { id, token, asks: kind == TaskKind::Ask, channel, place: standing.place });
            }
        }
    }

    /// A call reaches its service, or is lost; its answer comes, or is lost, or comes twice.
    fn answer(&mut self, faults: bool) {
        if self.calls.is_empty() {
            return;
        }
        let index = self.draws.below(self.calls.len() as u64) as usize;
        let call = self.calls.swap_remove(index);
        if faults && self.draws.one_in(5) {
            self.outcomes.push((call.id, call.token, EffectResult::Unknown { code: 1 }));
            if self.draws.one_in(2) {
                return;
            }
        }
        let result = self.services.call(call, &mut self.draws, faults);
        if faults && self.draws.one_in(5) {
            self.outcomes.push((call.id, call.token, EffectResult::Unknown { code: 2 }));
        }
        self.outcomes.push((call.id, call.token, result));
    }

    fn outcome(&mut self, faults: bool) {
        if self.outcomes.is_empty() {
            return;
        }
        let index = self.draws.below(self.outcomes.len() as u64) as usize;
        let again = faults && self.draws.one_in(4);
        let (id, token, result) = self.outcomes[index].clone();
        if !again {
            self.outcomes.swap_remove(index);
        }
        if faults && self.draws.one_in(10) {
            return;
        }
        self.commit(|history| {
            let before = history.outbox.digest();
            match history.outbox.outcome(id, token, result, Op(history.op), history.timestamp()) {
                Ok(ended) => history.end(ended),
                Err(refusal) => assert_eq!(history.outbox.digest(), before, "{refusal:?}"),
            }
        });
    }

    fn operate(&mut self) {
        let held = |entry: &Entry| matches!(entry.standing.stage, Stage::Parked | Stage::Dead(_));
        let Some((id, entry)) = self.outbox.iter().find(|(_, entry)| held(entry)) else { return };
        // An operator who keeps to what the policy says runs again what is never run twice only if it has not run.
        let harmless = entry.standing.policy.on_unknown() != OnUnknown::NeverTwice || !entry.standing.may_have_run;
        let redrives = harmless && !self.draws.one_in(3);
        self.commit(|history| {
            if redrives {
                // What ends in the same op is held no more.
                if history.outbox.redrive(id, Op(history.op), history.timestamp()).is_ok() {
                    history.redriven.insert(id);
                }
            } else if let Ok(ended) = history.outbox.discard(id, Op(history.op)) {
                history.end(ended);
            }
        });
    }

    /// After every op: a checkpoint of it is the same outbox.
    fn check(&mut self) {
        let bytes = hostile::encoded(&self.outbox);
        let restored = Outbox::decode(&bytes).expect("what was written restores");
        assert_eq!(restored.digest(), self.outbox.digest());
        assert_eq!(restored.due(), self.outbox.due());
        assert_eq!(restored.room(), self.outbox.room());
        assert!(restored.tasks().eq(self.outbox.tasks()));
        assert!(restored.iter().eq(self.outbox.iter()));
        assert_eq!(hostile::encoded(&restored), bytes);
        // And the replica goes on from it.
        self.outbox = restored;
        for id in self.emitted.keys() {
            assert_eq!(self.outbox.get(*id).is_some(), !self.ends.contains_key(id), "{id} is lost, or did not leave");
        }
    }

    fn run(mut self) -> Self {
        for _ in 0..400 {
            match self.draws.below(16) {
                0..3 => self.emit(),
                3 if self.draws.one_in(3) => self.claim(),
                4..8 => self.dispatch(&self.outbox.clone()),
                8 if !self.ghosts.is_empty() => {
                    let index = self.draws.below(self.ghosts.len() as u64) as usize;
                    self.dispatch(&self.ghosts[index].clone());
                }
                9..12 => self.answer(true),
                12..15 => self.outcome(true),
                15 => self.operate(),
                _ => self.commit(|_| {}),
            }
        }
        // Everything works from now on; whoever is gone has noticed.
        self.ghosts.clear();
        self.claim();
        for _ in 0..4000 {
            if self.outbox.is_empty() {
                return self;
            }
            self.dispatch(&self.outbox.clone());
            self.answer(false);
            self.outcome(false);
            self.operate();
            self.commit(|_| {});
        }
        panic!("an outbox whose services all work empties: {:?}", self.outbox.iter().collect::<Vec<_>>());
    }
}

#[test]
fn in_no_history_is_an_effect_lost_or_ended_twice_or_run_out_of_order_or_run_again_against_its_policy() {
    let (mut acknowledged, mut failed, mut redriven, mut again) = (0, 0, 0, 0);
    for seed in 0..150 {
        let history = History::new(seed).run();
        let Services { runs, order, .. } = &history.services;
        for (id, channel) in &history.emitted {
            let runs = runs.get(id).copied().unwrap_or(0);
            match &history.ends[id] {
                End::Acknowledged => {
                    acknowledged += 1;
                    assert!(runs > 0, "seed {seed}: {id} was acknowledged and never run");
                }
                End::Failed { may_have_run, .. } => {
                    failed += 1;
                    assert!(runs == 0 || *may_have_run, "seed {seed}: {id} has run, and is said not to have");
                }
                End::Fetched { .. } => panic!("nothing is fetched"),
            }
            assert!(
                runs <= 1 || *channel == AT_LEAST_ONCE,
                "seed {seed}: {id} of channel {channel} has run {runs} times"
            );
            redriven += u32::from(history.redriven.contains(id));
            again += u32::from(runs > 1);
        }
        // What is never run twice is parked and passed by, so that its late run is out of order.
        for (channel, places) in order.iter().filter(|(channel, _)| **channel != NEVER_TWICE) {
            assert!(places.is_sorted_by(|a, b| a < b), "seed {seed}: channel {channel} is out of order: {places:?}");
        }
    }
    let varied = acknowledged > 2000 && failed > 500 && redriven > 100 && again > 50;
    assert!(varied, "{acknowledged} acknowledged, {failed} failed, {redriven} redriven, {again} run again");
}
