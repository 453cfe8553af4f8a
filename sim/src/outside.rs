//! The services that a simulated cluster's effects are done by: they are down, slow, hang, answer late, twice or never, and keep a
//! record of every call.
//!
//! A channel's number says what manners its service has, so that each kind of policy meets one that it is for: see [`manners`]. What is
//! fetched, and lines of the log, may be done again and again. Some say more than they were asked, or more than the log has room for; what
//! they say is drawn from a stream of its own, so that it changes nothing else. Deliberately absent: any judgement; that is the oracles'
//! ([`ClusterOracle`](crate::oracle::cluster::ClusterOracle)), which go by the effect's policy.

use std::collections::BTreeMap;

use chronon::{
    app::{
        effect::{OnUnknown, Policy},
        system::SystemEntry,
    },
    effect::{Channel, Destination, EffectId, EffectOrder, EffectResult, Errand, FencingToken},
    types::NodeId,
    vsr::Config,
};
use serde::{Deserialize, Serialize};

use crate::{rng::Stream, schedule::MESSAGE_SIZE_MAX, service::Service};

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
    /// Acknowledgements that come with bytes of the service's own, which nobody asked for.
    #[serde(default)]
    pub wordy_ppm: u32,
    /// Answers that are as long as the log has room for, or longer.
    #[serde(default)]
    pub large_ppm: u32,
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
        let chance = |random: &mut Stream, one_in: u64, most: u64| {
            if random.below(one_in) == 0 { random.below(most) as u32 } else { 0 }
        };
        Self {
            lost_ppm: chance(random, 2, 150_000),
            twice_ppm: chance(random, 2, 150_000),
            late_ppm: chance(random, 2, 150_000),
            unheard_ppm: chance(random, 2, 150_000),
            failed_ppm: chance(random, 2, 200_000),
            refused_ppm: chance(random, 4, 20_000),
            outage_ppm: chance(random, 2, 50_000),
            late_ns_max: random.range(50 * MS, 2_000 * MS),
            outage_ns_max: random.range(50 * MS, 800 * MS),
            latency_min_ns,
            latency_max_ns: latency_min_ns + random.range(MS / 10, 20 * MS),
            // Last: what was drawn before there were these is drawn still.
            wordy_ppm: chance(random, 2, 500_000),
            large_ppm: chance(random, 3, 200_000),
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
            self.wordy_ppm,
            self.large_ppm,
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

/// The longest response to a fetch that the log of a cluster has room for, in bytes, whichever of its replicas `config` is of: what an
/// attempt came to is one entry of a prepare, which is one message.
pub fn response_size_max(config: &Config) -> usize {
    (config.payload_size_max() as usize).saturating_sub(SystemEntry::OVERHEAD_MAX)
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
    /// Of what they say.
    words: Stream,
    /// What a large answer is as long as, or longer than, in bytes.
    response_size_max: usize,
    down_until_ns: u64,
    highest: BTreeMap<Channel, FencingToken>,
    runs: BTreeMap<EffectId, u32>,
    calls: Vec<ServiceCall>,
}

impl Outside {
    /// The services of a seed. Their large answers are too large for any log, unless [told](Outside::with_response_size_max) what this
    /// one takes.
    pub fn new(seed: u64, plan: ServicesPlan) -> Self {
        Self {
            plan,
            stream: Stream::new(seed, "services", 0, 0),
            words: Stream::new(seed, "services.words", 0, 0),
            response_size_max: MESSAGE_SIZE_MAX as usize,
            down_until_ns: 0,
            highest: BTreeMap::new(),
            runs: BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    /// The same for a log that has room for responses of so many bytes: see [`response_size_max`].
    pub fn with_response_size_max(self, response_size_max: usize) -> Self {
        Self { response_size_max, ..self }
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

    /// What is said of something that was done, `response` first.
    fn done(&mut self, destination: Destination, mut response: Vec<u8>) -> EffectResult {
        let (large, wordy) = (self.words.chance(self.plan.large_ppm), self.words.chance(self.plan.wordy_ppm));
        let length = if large {
            // The longest that the log takes, the shortest that it does not, and one of up to half as long again.
            let over = self.words.range(1, 1 + self.response_size_max as u64 / 2) as usize;
            self.response_size_max + *self.words.pick(&[0, 1, over])
        } else if wordy && destination != Destination::Fetch {
            self.words.range(1, 64) as usize
        } else {
            0
        };
        if length > response.len() {
            response.resize(length, self.words.below(256) as u8);
        }
        EffectResult::Done { response }
    }

    /// Does what is ordered, or not.
    fn perform(&mut self, order: &EffectOrder) -> (Came, EffectResult) {
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
            let result = if runs > 0 { self.done(order.destination, Vec::new()) } else { EffectResult::NotDone };
            return (Came::Asked, result);
        }
        if self.stream.chance(self.plan.failed_ppm) {
            return (Came::Failed, EffectResult::Failed { code: 503 });
        }
        if runs > 0 && manners.remembers {
            return (Came::Remembered, self.done(order.destination, Vec::new()));
        }
        if self.stream.chance(self.plan.refused_ppm) {
            return (Came::Failed, EffectResult::Refused { code: 400 });
        }
        self.runs.insert(order.id, runs + 1);
        let rate = self.stream.below(10) as u8;
        let response = if order.destination == Destination::Fetch { vec![rate] } else { Vec::new() };
        (Came::Ran, self.done(order.destination, response))
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

#[cfg(test)]
mod tests {
    use chronon::{
        effect::Fence,
        frame::Frame,
        types::{ClusterId, Epoch, Op, View},
    };

    use super::*;

    const ROOM: usize = 1_000;

    /// What services of this plan say of so many orders, and what they came to.
    fn answers(plan: ServicesPlan, destination: Destination) -> Vec<(Came, Vec<u8>)> {
        let mut outside = Outside::new(1, plan).with_response_size_max(ROOM);
        let token = FencingToken { fence: Fence { epoch: Epoch(1), view: View(1) }, attempt: Op(1) };
        let orders = (1..=300).map(|op| EffectOrder {
            id: EffectId { cluster: ClusterId(1), op: Op(op), position: 0, index: 0 },
            token,
            errand: Errand::Run,
            destination,
            payload: Frame::default(),
            timeout_ns: 1,
        });
        let said = orders.map(|order| outside.perform(&order));
        said.map(|(came, result)| match result {
            EffectResult::Done { response } => (came, response),
            _ => (came, Vec::new()),
        })
        .collect()
    }

    const EMIT: Destination = Destination::Emit(Channel(0));

    #[test]
    fn words_change_nothing_but_what_is_said() {
        let plan = ServicesPlan { failed_ppm: 300_000, refused_ppm: 100_000, ..ServicesPlan::default() };
        let wordy = ServicesPlan { wordy_ppm: 500_000, large_ppm: 200_000, ..plan };
        for destination in [EMIT, Destination::Fetch] {
            let (few, many) = (answers(plan, destination), answers(wordy, destination));
            for ((came, response), (also, longer)) in few.iter().zip(&many) {
                assert_eq!(came, also);
                assert!(longer.starts_with(response), "a rate comes first");
            }
        }
    }

    #[test]
    fn what_is_large_is_as_long_as_the_log_takes_or_longer() {
        let plan = ServicesPlan { large_ppm: 1_000_000, ..ServicesPlan::default() };
        for destination in [EMIT, Destination::Fetch] {
            let lengths: Vec<usize> = answers(plan, destination).iter().map(|(_, response)| response.len()).collect();
            assert!(lengths.iter().all(|length| (ROOM..=ROOM + 1 + ROOM / 2).contains(length)));
            for some in [ROOM, ROOM + 1] {
                assert!(lengths.iter().filter(|length| **length == some).count() > 60, "{some}");
            }
            assert!(lengths.iter().filter(|length| **length > ROOM + 1).count() > 60);
        }
    }

    #[test]
    fn whoever_is_wordy_adds_to_what_nobody_asked_for() {
        let plan = ServicesPlan { wordy_ppm: 1_000_000, ..ServicesPlan::default() };
        assert!(answers(plan, EMIT).iter().all(|(_, response)| (1..=64).contains(&response.len())));
        assert!(answers(plan, Destination::Fetch).iter().all(|(_, response)| response.len() == 1));
    }

    #[test]
    fn in_some_seeds_services_are_wordy_or_say_much_and_in_some_neither() {
        let plans = (0..200).map(|seed| ServicesPlan::draw(&mut Stream::new(seed, "nemesis.services", 0, 0)));
        let mut counts = [[0_u32; 2]; 2];
        for plan in plans {
            assert!(plan.is_sound());
            counts[usize::from(plan.wordy_ppm > 0)][usize::from(plan.large_ppm > 0)] += 1;
        }
        assert!(counts.iter().flatten().all(|count| *count > 20), "{counts:?}");
    }
}
