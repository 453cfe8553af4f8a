//! Clients and readers: how many there are, and what they ask.

use super::MS;
use crate::{
    operator::OperatorPlan,
    reader::ReaderConfig,
    rng::Stream,
    schedule::{ReadersPlan, WorkloadPlan},
    workload::Workload,
};

/// What each of so many clients asks, enough for the faults to strike in.
pub(super) fn draw<W: Workload>(
    workload: &W,
    random: &mut Stream,
    clients: u8,
    expected_commits: u64,
) -> WorkloadPlan<W::Plan> {
    let calls = expected_commits.max(230) * random.range(11, 14) / 10;
    let each = workload.plan(random, calls / u64::from(clients) + 1);
    WorkloadPlan { clients, each, healed_calls: None, readers: None, services: None, operator: None }
}

/// In most seeds a healed cluster has shown after a few calls of each client that it answers: what faults are left to find by more of them
/// costs less in a seed of its own. In the others it does all that was to be done, over checkpoints and the ring's end.
pub(super) fn draw_healed_calls(random: &mut Stream) -> Option<u64> {
    let calls = random.range(2, 8);
    (!random.chance(250_000)).then_some(calls)
}

/// In some seeds nobody decides of what was given up.
pub(super) fn draw_operator(random: &mut Stream) -> Option<OperatorPlan> {
    let plan = OperatorPlan { looks: random.range(10, 60), pause_ns: random.range(5 * MS, 200 * MS) };
    (!random.chance(300_000)).then_some(plan)
}

/// In some seeds nobody only reads, and never where the application answers no query; in a few there is hardly room for queries.
pub(super) fn draw_readers<W: Workload>(workload: &W, random: &mut Stream, plan: &W::Plan) -> Option<ReadersPlan> {
    if random.chance(300_000) || !workload.query(plan, &mut random.clone(), &mut Vec::new()) {
        return None;
    }
    let count = random.range(1, 4) as u8;
    let queries_max = if random.chance(60_000) { random.range(1, 2) as u32 } else { 256 };
    let each = ReaderConfig {
        queries: random.range(20, 120),
        stale_ppm: *random.pick(&[0, 100_000, 500_000]),
        think_ns_max: *random.pick(&[0, 2 * MS, 20 * MS]),
    };
    Some(ReadersPlan { count, queries_max, each })
}
