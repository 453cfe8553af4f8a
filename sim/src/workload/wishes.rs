//! For tests: an application that has effects of whatever policy in whatever channels, and a timer, as its users' own may.

use std::collections::BTreeSet;

use chronon::{
    app::{
        application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
        effect::{Channel, EffectId, Policy},
    },
    digest::{EntryHasher, SetDigest},
    types::{ClusterId, Op},
};

use super::{Calls, Turn, Workload};
use crate::rng::Stream;

/// Every request emits once in each of the channels; the first sets the timer.
#[derive(Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) letters: Vec<(Channel, Policy)>,
    /// After how long the timer fires, if there is one.
    pub(crate) timer_ns: Option<u64>,
    /// Whether it is set again whenever it fires.
    pub(crate) is_periodic: bool,
}

#[derive(Clone, Default)]
pub(crate) struct State {
    waiting: BTreeSet<EffectId>,
    is_set: bool,
}

impl Application for Wishes {
    type State = State;

    fn apply(
        &self,
        state: &mut State,
        event: Event<'_>,
        _: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let sets = match event {
            Event::Request { .. } => {
                for (channel, policy) in &self.letters {
                    state.waiting.extend(outcome.emit(*channel, "a letter", *policy));
                }
                !state.is_set
            }
            Event::Acknowledged { id } | Event::Failed { id, .. } | Event::Fetched { id, .. } => {
                state.waiting.remove(&id);
                false
            }
            Event::Fired { .. } => self.is_periodic,
        };
        if let Some(delay_ns) = self.timer_ns.filter(|_| sets) {
            state.is_set = outcome.schedule(delay_ns, "a timer").is_ok();
        }
        Ok(())
    }

    fn query(&self, _: &State, _: &[u8], _: &mut Vec<u8>) -> Result<(), Rejection> {
        Err(Rejection::new(1))
    }

    fn snapshot(&self, state: &State, writer: &mut SnapshotWriter) {
        writer.record(&[state.is_set.into()]);
        for EffectId { cluster, op, position, index } in &state.waiting {
            let place = u64::from(*position) << 32 | u64::from(*index);
            writer.record(&[cluster.0, op.0, place].map(u64::to_le_bytes).concat());
        }
    }

    fn restore(&self, state: &mut State, record: &[u8]) -> Result<(), RestoreError> {
        if let [is_set] = record {
            state.is_set = *is_set != 0;
            return Ok(());
        }
        let number =
            |n: usize| record.get(8 * n..8 * n + 8).and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let [Some(cluster), Some(op), Some(place)] = [0, 1, 2].map(number) else { return Err(RestoreError) };
        let (cluster, op) = (ClusterId(cluster), Op(op));
        state.waiting.insert(EffectId { cluster, op, position: (place >> 32) as u32, index: place as u32 });
        Ok(())
    }
}

impl Workload for Wishes {
    type Application = Self;
    type Plan = Calls;
    type Memory = ();

    fn application(&self) -> Self {
        self.clone()
    }

    fn plan(&self, random: &mut Stream, calls: u64) -> Calls {
        Calls::draw(random, calls)
    }

    fn ask(&self, (): &mut (), turn: Turn<'_, Calls>, request: &mut Vec<u8>) {
        request.push(turn.call as u8);
    }

    fn digest(&self, state: &State) -> SetDigest {
        let mut digest = SetDigest::new();
        digest.insert(EntryHasher::new().number(state.is_set.into()).finish());
        for id in &state.waiting {
            let place = u64::from(id.position) << 32 | u64::from(id.index);
            digest.insert(EntryHasher::new().number(id.op.0).number(place).finish());
        }
        digest
    }

    fn waiting(&self, state: &State) -> Option<Vec<EffectId>> {
        (!self.letters.is_empty()).then(|| state.waiting.iter().copied().collect())
    }
}
