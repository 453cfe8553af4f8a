//! How large a cluster's messages must be for an application's responses, and whether a simulation has so much room.

use chronon::{
    app::{application::Application, executor::ANSWER_OVERHEAD},
    frame::SECTOR_SIZE,
    wire::header::HEADER_SIZE,
};

use crate::{
    schedule::{BLOCK_SIZE_ORDINARY, BLOCKS_MAX, MESSAGE_SIZE_MAX},
    workload::Workload,
};

/// The largest message of a cluster whose application needs no larger one.
pub(super) const MESSAGE_SIZE_ORDINARY: u32 = 20 * 1024;

/// What a message holds besides an application's response.
const AROUND: u32 = ANSWER_OVERHEAD + HEADER_SIZE as u32;

/// The largest message of a cluster of this application: what every application has room in, or more if a response needs it.
pub(super) fn message_size_max<W: Workload>(workload: &W) -> u32 {
    let response = workload.application().response_size_max();
    let needed = response.saturating_add(AROUND);
    needed.checked_next_multiple_of(SECTOR_SIZE as u32).unwrap_or(u32::MAX).max(MESSAGE_SIZE_ORDINARY)
}

/// How many blocks a grid has room in for two checkpoints of a state of so many bytes, at any time: the one that is durable, and the one
/// that is to take its place. Their leaves are half full at least; and a few blocks hold tables, roots, and chunks that a crash has
/// left twice.
pub(super) fn blocks_for(state_size: u64) -> u32 {
    let leaves = state_size.div_ceil(u64::from(BLOCK_SIZE_ORDINARY) / 2);
    u32::try_from(2 * leaves + 16).unwrap_or(u32::MAX).min(BLOCKS_MAX)
}

/// Whether a simulated cluster can run this application.
///
/// # Errors
/// A sentence that says what to change.
pub fn fits<W: Workload>(workload: &W) -> Result<(), String> {
    if message_size_max(workload) <= MESSAGE_SIZE_MAX {
        return Ok(());
    }
    let stated = workload.application().response_size_max();
    let most = MESSAGE_SIZE_MAX - ANSWER_OVERHEAD - HEADER_SIZE as u32;
    Err(format!(
        "the application states responses of up to {stated} bytes, and a simulated message has room for {most}: let its \
         Application::response_size_max return at most {most}, at least for the value that Workload::application gives"
    ))
}

#[cfg(test)]
mod tests {
    use chronon::{
        app::{
            application::{ApplyContext, Event, Outcome, Rejection},
            number::Number,
        },
        digest::SetDigest,
    };

    use super::*;
    use crate::{
        nemesis::{Options, draw_for},
        rng::Stream,
        scenario::SCENARIOS,
        simulation::Simulation,
        trace::TraceMode,
        workload::{Calls, KvWorkload, Turn},
    };

    /// States that its responses have so many bytes.
    #[derive(Clone, Copy)]
    struct Verbose(u32);

    /// How long a response is where there are any.
    const LONG: u32 = 40_000;

    fn talk(state: &mut u64, _: Event<'_>, _: &ApplyContext, outcome: &mut Outcome) -> Result<(), Rejection> {
        *state += 1;
        outcome.response.resize(LONG as usize, *state as u8);
        Ok(())
    }

    impl Workload for Verbose {
        type Application = Number;
        type Plan = Calls;
        type Memory = ();

        fn application(&self) -> Number {
            Number::new(talk).with_responses(self.0)
        }

        fn plan(&self, _: &mut Stream, _: u64) -> Calls {
            Calls { calls: 3, think_ns_max: 0 }
        }

        fn ask(&self, (): &mut (), turn: Turn<'_, Calls>, request: &mut Vec<u8>) {
            request.push(turn.call as u8);
        }

        fn digest(&self, state: &u64) -> SetDigest {
            let mut digest = SetDigest::new();
            digest.insert(chronon::digest::EntryHasher::new().number(*state).finish());
            digest
        }
    }

    #[test]
    fn messages_are_as_large_as_responses_need() {
        assert_eq!(message_size_max(&KvWorkload), MESSAGE_SIZE_ORDINARY);
        assert_eq!(message_size_max(&Verbose(0)), MESSAGE_SIZE_ORDINARY);
        assert_eq!(message_size_max(&Verbose(MESSAGE_SIZE_ORDINARY - AROUND)), MESSAGE_SIZE_ORDINARY);
        assert_eq!(message_size_max(&Verbose(MESSAGE_SIZE_ORDINARY - AROUND + 1)), MESSAGE_SIZE_ORDINARY + 4096);
    }

    #[test]
    fn an_application_with_long_responses_is_simulated() {
        let workload = Verbose(LONG);
        let schedule = draw_for(&workload, 1, &Options { replicas: Some(3), ..Options::new(&SCENARIOS[1]) });
        let mut simulation = Simulation::of(workload, &schedule, TraceMode::Digest, "");
        simulation.run();
        let outcome = simulation.outcome();
        assert_eq!(outcome.failure, None);
        assert_eq!(outcome.requests_acknowledged, 3 * u64::from(schedule.workload.clients));
    }

    #[test]
    fn an_application_whose_responses_fit_no_message_is_told_what_to_change() {
        let most = MESSAGE_SIZE_MAX - AROUND;
        assert_eq!(fits(&Verbose(most)), Ok(()));
        for stated in [most + 1, u32::MAX] {
            let why = fits(&Verbose(stated)).expect_err("it does not fit");
            assert!(why.contains(&format!("let its Application::response_size_max return at most {most}")), "{why}");
        }
    }
}
