//! Counters that are added to: a request is a counter's name; the response is its new value, in decimal.

use std::collections::BTreeMap;

use chronon::app::application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter};

#[derive(Clone)]
pub(crate) struct Counters;

impl Application for Counters {
    type State = BTreeMap<Vec<u8>, u64>;

    fn apply(
        &self,
        state: &mut Self::State,
        event: Event<'_>,
        _: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let Event::Request { payload: name } = event else { return Ok(()) };
        if name.is_empty() || name.len() > 64 {
            return Err(Rejection::new(1));
        }
        let count = state.entry(name.to_vec()).and_modify(|count| *count += 1).or_insert(1);
        outcome.response.extend_from_slice(count.to_string().as_bytes());
        Ok(())
    }

    fn query(&self, state: &Self::State, name: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        response.extend_from_slice(state.get(name).unwrap_or(&0).to_string().as_bytes());
        Ok(())
    }

    fn snapshot(&self, state: &Self::State, writer: &mut SnapshotWriter) {
        // A large state would pause whenever the writer is full, and go on behind the record that it left off at.
        state.iter().for_each(|(name, count)| writer.record(&[&count.to_le_bytes(), &name[..]].concat()));
    }

    fn restore(&self, state: &mut Self::State, record: &[u8]) -> Result<(), RestoreError> {
        let (count, name) = record.split_first_chunk().ok_or(RestoreError)?;
        state.insert(name.to_vec(), u64::from_le_bytes(*count)).map_or(Ok(()), |_| Err(RestoreError))
    }
}
