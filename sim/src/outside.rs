//! The services that a simulated cluster's effects are done by: they are down, slow, hang, answer late, twice or never, and keep a
//! record of every call.
//!
//! A channel's number says what manners its service has, so that each kind of policy meets one that it is for: see [`manners`]. What is
//! fetched, and lines of the log, may be done again and again. Deliberately absent: any judgement; that is the oracles'
//! ([`ClusterOracle`](crate::oracle::cluster::ClusterOracle)), which go by the effect's policy.

use std::collections::BTreeMap;

use chronon::{
    app::effect::{OnUnknown, Policy},
    effect::{Channel, Destination, EffectId, EffectOrder, EffectResult, Errand, FencingToken},
    types::NodeId,
};
use serde::{Deserialize, Serialize};

use crate::{rng::Stream, service::Service};

/// How often services fail, in millionths of the orders or answers, and how long things take. Until healing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesPlan {
    /// The least that an order, or its answer, takes.
    pub latency_min_ns: u64,
    /// The most.
    pub latency_max_ns: u64,
    /// Orders that are lost on the way.
    pub lost_ppm: u32,
    /// Orders that arrive twice, where a service can tell.
    pub twice_ppm: u32,
    /// Orders and answers that take much longer.
    pub late_ppm: u32,
    /// How much longer at most.
    pub late_ns_max: u64,
    /// Answers that are lost.
    pub unheard_ppm: u32,
    /// Orders that fail.
    pub failed_ppm: u32,
    /// Orders that are refused for good.
    pub refused_ppm: u32,
    /// Orders in whose middle the service goes down: it has done it or not, and tells nobody.
    pub outage_ppm: u32,
    /// How long it stays down at most.
    pub outage_ns_max: u64,
}

impl ServicesPlan {
    /// Nothing but the time that things take.
    pub fn sound(self) -> Self {
        Self { latency_min_ns: self.latency_min_ns, latency_max_ns: self.latency_max_ns, ..Self::default() }
    }

    /// Draws a seed's.
    pub fn draw(random: &mut Stream) -> Self {
        const MS: u64 = 1_000_000;
        let latency_min_ns = random.range(MS / 10, 5 * MS);
        let mut chance = |one_in: u64, most: u64| if random.below(one_in) == 0 { random.below(most) as u32 } else { 0 };
        Self {
            lost_ppm: chance(2, 150_000),
            twice_ppm: chance(2, 150_000),
            late_ppm: chance(2, 150_000),
            unheard_ppm: chance(2, 150_000),
            failed_ppm: chance(2, 200_000),
            refused_ppm: chance(4, 20_000),
            outage_ppm: chance(2, 50_000),
            late_ns_max: random.range(50 * MS, 2_000 * MS),
            outage_ns_max: random.range(50 * MS, 800 * MS),
            latency_min_ns,
            latency_max_ns: latency_min_ns + random.range(MS / 10, 20 * MS),
        }
    }

    /// Whether it can be followed.
    pub(crate) fn is_sound(&self) -> bool {
        const MILLION: u32 = 1_000_000;
        const HOUR_NS: u64 = 3_600_000_000_000;
        let chances = [
            self.lost_ppm,
            self.twice_ppm,
            self.late_ppm,
            self.unheard_ppm,
            self.failed_ppm,
            self.refused_ppm,
            self.outage_ppm,
        ];
        chances.iter().all(|ppm| *ppm <= MILLION)
            && self.latency_min_ns <= self.latency_max_ns
            && self.latency_max_ns.max(self.late_ns_max).max(self.outage_ns_max) <= HOUR_NS
    }
}

/// What a service honours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manners {
    /// It refuses a token that is lower than the highest that it has seen in the channel.
    pub fences: bool,
    /// It does no effect again that it has done.
    pub remembers: bool,
}

/// The manners of a channel's service, by the channel's number, counted round: one that honours everything; one that
/// honours nothing, for effects that are never run twice; two that fence and forget, the second for effects that may be run again.
///
/// Effects of any policy may go to any of them. All can be asked whether an effect was done. What none of them promises, no policy can make
/// good: an order to the fourth may come twice and is done twice then; and whether the second did an effect is asked in vain while
/// the order to do it is still on its way, for it does not fence that off.
pub const fn manners(channel: Channel) -> Manners {
    match channel.0 % 4 {
        0 => Manners { fences: true, remembers: true },
        1 => Manners { fences: false, remembers: false },
        _ => Manners { fences: true, remembers: false },
    }
}

/// Whether an order to this channel's service may come twice and be done twice.
pub const fn is_doubled(channel: Channel) -> bool {
    channel.0 % 4 == 3
}

/// Whether an effect of this policy is done once at the most in this channel, whatever befalls it.
pub fn is_done_once(channel: Channel, policy: &Policy) -> bool {
    let manners = manners(channel);
    let by_policy = match policy.on_unknown() {
        OnUnknown::RunAgain => false,
        OnUnknown::NeverTwice => true,
        OnUnknown::AskFirst => manners.fences,
    };
    manners.remembers || by_policy && !is_doubled(channel)
}

/// What a call came to, as the service knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    /// It was done now.
    Ran,
    /// It had been done.
    Remembered,
    /// It was only asked about.
    Asked,
    /// Its token is too old.
    Fenced,
    /// Nothing was done.
    Failed,
}

/// A call as the service saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceCall {
    /// When.
    pub at_ns: u64,
    /// From whom.
    pub from: NodeId,
    /// About which effect.
    pub id: EffectId,
    /// Under which token.
    pub token: FencingToken,
    /// Where it went.
    pub destination: Destination,
    /// What it came to.
    pub came: Came,
}

/// All services.
#[derive(Clone)]
pub struct Outside {
    plan: ServicesPlan,
    stream: Stream,
    down_until_ns: u64,
    highest: BTreeMap<Channel, FencingToken>,
    runs: BTreeMap<EffectId, u32>,
    calls: Vec<ServiceCall>,
}

impl Outside {
    /// The services of a seed.
    pub fn new(seed: u64, plan: ServicesPlan) -> Self {
        Self {
            plan,
            stream: Stream::new(seed, "services", 0, 0),
            down_until_ns: 0,
            highest: BTreeMap::new(),
            runs: BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    /// From now on they fail in this way.
    pub fn set_plan(&mut self, plan: ServicesPlan) {
        self.plan = plan;
    }

    /// Everything works from now on.
    pub fn heal(&mut self) {
        self.plan = self.plan.sound();
        self.down_until_ns = 0;
    }

    /// Nothing is done or answered before `until_ns` of virtual time.
    pub fn go_down(&mut self, until_ns: u64) {
        self.down_until_ns = until_ns;
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> &[ServiceCall] {
        &self.calls
    }

    /// How often an effect was done.
    pub fn runs(&self, id: EffectId) -> u32 {
        self.runs.get(&id).copied().unwrap_or(0)
    }

    fn latency_ns(&mut self) -> u64 {
        let latency_ns = self.stream.range(self.plan.latency_min_ns, self.plan.latency_max_ns);
        if self.stream.chance(self.plan.late_ppm) {
            latency_ns + self.stream.range(0, self.plan.late_ns_max)
        } else {
            latency_ns
        }
    }

    /// Does what is ordered, or not.
    fn perform(&mut self, order: &EffectOrder) -> (Came, EffectResult) {
        let done = |response: &[u8]| EffectResult::Done { response: response.to_vec() };
        let manners = match order.destination {
            Destination::Emit(channel) => {
                let manners = manners(channel);
                let highest = self.highest.entry(channel).or_insert(order.token);
                if manners.fences && order.token < *highest {
                    return (Came::Fenced, EffectResult::Failed { code: 412 });
                }
                *highest = order.token.max(*highest);
                manners
            }
            Destination::Fetch | Destination::Log(_) => Manners { fences: false, remembers: false },
        };
        let runs = self.runs(order.id);
        if order.errand == Errand::Ask {
            return (Came::Asked, if runs > 0 { done(&[]) } else { EffectResult::NotDone });
        }
        if self.stream.chance(self.plan.failed_ppm) {
            return (Came::Failed, EffectResult::Failed { code: 503 });
        }
        if runs > 0 && manners.remembers {
            return (Came::Remembered, done(&[]));
        }
        if self.stream.chance(self.plan.refused_ppm) {
            return (Came::Failed, EffectResult::Refused { code: 400 });
        }
        self.runs.insert(order.id, runs + 1);
        let rate = self.stream.below(10) as u8;
        (Came::Ran, if order.destination == Destination::Fetch { done(&[rate]) } else { done(&[]) })
    }
}

impl Service for Outside {
    fn order(&mut self, order: &EffectOrder) -> Vec<u64> {
        if self.stream.chance(self.plan.lost_ppm) {
            return Vec::new();
        }
        let mut arrivals = vec![self.latency_ns()];
        // Whoever forgets would do it twice, and nobody could keep it from that.
        let tells = match order.destination {
            Destination::Emit(channel) => manners(channel).remembers || is_doubled(channel),
            Destination::Fetch | Destination::Log(_) => true,
        };
        if tells && self.stream.chance(self.plan.twice_ppm) {
            arrivals.push(self.latency_ns());
        }
        arrivals
    }

    fn arrive(&mut self, now_ns: u64, from: NodeId, order: &EffectOrder) -> Vec<(u64, EffectResult)> {
        if now_ns < self.down_until_ns {
            return Vec::new();
        }
        let outage = self.stream.chance(self.plan.outage_ppm);
        if outage {
            self.down_until_ns = now_ns + self.stream.range(0, self.plan.outage_ns_max);
            if self.stream.chance(500_000) {
                return Vec::new();
            }
        }
        let (came, result) = self.perform(order);
        let EffectOrder { id, token, destination, .. } = *order;
        self.calls.push(ServiceCall { at_ns: now_ns, from, id, token, destination, came });
        if outage || self.stream.chance(self.plan.unheard_ppm) {
            return Vec::new();
        }
        let mut answers = vec![(self.latency_ns(), result.clone())];
        if self.stream.chance(self.plan.twice_ppm) {
            answers.push((self.latency_ns(), result));
        }
        answers
    }
}
