//! A state that nothing is asked of any more is freed part by part, however it came to that: a large one takes longer than a step may.

use super::*;

/// A state of so many parts.
#[derive(Clone, Default)]
struct Parts(u64);

/// Has as many parts as the last request says.
#[derive(Clone)]
struct Large;

impl Application for Large {
    type State = Parts;

    fn apply(&self, state: &mut Parts, event: Event<'_>, _: &ApplyContext, _: &mut Outcome) -> Result<(), Rejection> {
        let Event::Request { payload: [parts] } = event else { return Err(Rejection::new(1)) };
        state.0 = u64::from(*parts);
        Ok(())
    }

    fn query(&self, _: &Parts, _: &[u8], _: &mut Vec<u8>) -> Result<(), Rejection> {
        Err(Rejection::new(2))
    }

    fn release(&self, state: &mut Parts) -> bool {
        state.0 = state.0.saturating_sub(1);
        state.0 == 0
    }

    fn snapshot(&self, state: &Parts, writer: &mut SnapshotWriter) {
        writer.record(&state.0.to_le_bytes());
    }

    fn restore(&self, state: &mut Parts, record: &[u8]) -> Result<(), RestoreError> {
        state.0 = u64::from_le_bytes(record.try_into().map_err(|_| RestoreError)?);
        Ok(())
    }

    fn response_size_max(&self) -> u32 {
        0
    }
}

fn restore(executor: &mut Executor<Large>, records: &[Vec<u8>]) {
    records.iter().for_each(|record| executor.restore(record).expect("a record of its own"));
}

#[test]
fn whatever_state_is_let_go_is_freed_part_by_part() {
    let mut executor = Executor::new(Large, ClusterId(1));
    executor.freeze();
    let empty = records(&executor);
    // Two that are kept for comparison, one after the other, one to be written, and the present one.
    for parts in [2, 3] {
        executor.apply(&[parts], &context(1));
        executor.freeze();
        executor.keep();
    }
    executor.apply(&[5], &context(2));
    executor.freeze();
    let large = records(&executor);
    executor.apply(&[7], &context(3));
    restore(&mut executor, &large);
    executor.abandon();
    restore(&mut executor, &empty);
    executor.restored().expect("it is whole");
    executor.thaw();
    let mut steps = 1;
    while !executor.release() {
        steps += 1;
    }
    assert!(steps >= 2 + 3 + 5 + 5 + 7, "{steps} steps: what was not freed in one of them was freed at once");
}
