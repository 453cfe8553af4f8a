//! Whether an application fits a cluster: known before there is a replica, so that whoever opens one can be told what to change.

use core::fmt;

use crate::{
    app::{application::Application, executor::ANSWER_OVERHEAD, operator::OPERATOR_ANSWER_MAX},
    frame::SECTOR_SIZE,
    storage::{layout::Layout, snapshot::RECORD_SIZE_MAX},
    wire::header::HEADER_SIZE,
};

/// What a message holds besides an application's response.
const AROUND: u32 = ANSWER_OVERHEAD + HEADER_SIZE as u32;

/// The longest response that any cluster has room for: a session with its reply is a record of a checkpoint.
const RESPONSE_SIZE_MAX: u32 = (RECORD_SIZE_MAX / 2) as u32 - ANSWER_OVERHEAD;

/// Why an application cannot run in a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// Its longest response, in bytes, does not fit a message.
    Message {
        /// What [`Application::response_size_max`] says, or what operators are answered if that is longer.
        response_size_max: u32,
        /// The largest message, as the replicas' files are laid out.
        message_size_max: u32,
        /// The least that would do.
        least: u32,
    },
    /// Its longest response, in bytes, is longer than any cluster has room for.
    Response(u32),
    /// One effect may have so many bytes, as many as all of them together, and is a record of a checkpoint, which holds fewer.
    Effects(u64),
    /// One timer, in the same way.
    Timers(u64),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { response_size_max, message_size_max, least } => write!(
                f,
                "the application's longest response, of {response_size_max} bytes, does not fit a message of {message_size_max}: it takes \
                 messages of {least} bytes or more, and all replicas are formatted with the same"
            ),
            Self::Response(found) => write!(
                f,
                "the application's longest response, of {found} bytes, fits no checkpoint: let Application::response_size_max return \
                 at most {RESPONSE_SIZE_MAX}"
            ),
            Self::Effects(found) => write!(
                f,
                "one of the application's effects may have {found} bytes, and a record of a checkpoint has room for {RECORD_SIZE_MAX}: let \
                 Application::effects_max return no more"
            ),
            Self::Timers(found) => write!(
                f,
                "one of the application's timers may have {found} bytes, and a record of a checkpoint has room for {RECORD_SIZE_MAX}: let \
                 Application::timers_max return no more"
            ),
        }
    }
}

impl core::error::Error for Misfit {}

/// Whether replicas whose files are laid out like this can run the application.
///
/// # Errors
/// What stands in the way, and what to change.
pub fn fits<A: Application>(application: &A, layout: &Layout) -> Result<(), Misfit> {
    let response_size_max = application.response_size_max().max(OPERATOR_ANSWER_MAX);
    if response_size_max > RESPONSE_SIZE_MAX {
        return Err(Misfit::Response(response_size_max));
    }
    let (needed, message_size_max) = (response_size_max + AROUND, layout.message_size_max);
    if needed > message_size_max {
        let least = needed.next_multiple_of(SECTOR_SIZE as u32);
        return Err(Misfit::Message { response_size_max, message_size_max, least });
    }
    for (bytes_max, misfit) in [
        (application.effects_max().bytes_max, Misfit::Effects as fn(u64) -> Misfit),
        (application.timers_max().bytes_max, Misfit::Timers),
    ] {
        if bytes_max > RECORD_SIZE_MAX as u64 {
            return Err(misfit(bytes_max));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::app::{
        application::{ApplyContext, Event, Outcome, Rejection},
        branch::Branch,
        number::Number,
        room::Limits,
    };

    fn with_messages(message_size_max: u32) -> Layout {
        Layout { slot_count: 64, message_size_max, block_count: 8, block_size: 4096 }
    }

    fn nothing(_: &mut u64, _: Event<'_>, _: &ApplyContext, _: &mut Outcome) -> Result<(), Rejection> {
        Ok(())
    }

    fn judged(response_size_max: u32, message_size_max: u32) -> Result<(), Misfit> {
        fits(&Number::new(nothing).with_responses(response_size_max), &with_messages(message_size_max))
    }

    #[test]
    fn the_least_size_of_messages_that_is_named_would_do_and_no_smaller_one() {
        for response_size_max in [0, 5000, 8192 - AROUND, 8193 - AROUND, 65_536, RESPONSE_SIZE_MAX] {
            let Err(Misfit::Message { least, response_size_max: named, .. }) = judged(response_size_max, 0) else {
                panic!("{response_size_max} fits nothing");
            };
            assert_eq!(named, response_size_max.max(OPERATOR_ANSWER_MAX));
            assert_eq!(judged(response_size_max, least), Ok(()));
            assert!(judged(response_size_max, least - SECTOR_SIZE as u32).is_err(), "{response_size_max}: {least}");
        }
        assert_eq!(judged(8192 - AROUND, 8192), Ok(()), "to the byte");
    }

    #[test]
    fn a_response_that_no_checkpoint_has_room_for_fits_no_message() {
        for response_size_max in [RESPONSE_SIZE_MAX + 1, u32::MAX] {
            let misfit = judged(response_size_max, !4095).unwrap_err();
            assert_eq!(misfit, Misfit::Response(response_size_max));
            assert!(misfit.to_string().contains(&RESPONSE_SIZE_MAX.to_string()), "{misfit}");
        }
    }

    #[test]
    fn an_effect_that_no_record_has_room_for_is_refused_with_its_limit() {
        let with_room = |bytes_max| Branch { room: Limits { bytes_max, ..Limits::DEFAULT }, ..Branch::default() };
        let most = RECORD_SIZE_MAX as u64;
        assert_eq!(fits(&with_room(most), &with_messages(1 << 20)), Ok(()));
        let misfit = fits(&with_room(most + 1), &with_messages(1 << 20)).unwrap_err();
        assert_eq!(misfit, Misfit::Effects(most + 1));
        assert!(misfit.to_string().contains("Application::effects_max"), "{misfit}");
    }

    #[test]
    fn a_timer_that_no_record_has_room_for_is_refused_with_its_limit() {
        let with_room = |bytes_max| Number::new(nothing).with_timers(Limits { bytes_max, ..Limits::DEFAULT });
        let most = RECORD_SIZE_MAX as u64;
        assert_eq!(fits(&with_room(most), &with_messages(1 << 20)), Ok(()));
        let misfit = fits(&with_room(most + 1), &with_messages(1 << 20)).unwrap_err();
        assert_eq!(misfit, Misfit::Timers(most + 1));
        assert!(misfit.to_string().contains("Application::timers_max"), "{misfit}");
    }
}
