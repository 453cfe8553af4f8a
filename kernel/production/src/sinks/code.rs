//! What attempts come to that no service has a number for. A service's own codes, an HTTP status or an `errno`, are smaller.

use chronon::app::effect::{RESPONSE_TOO_LARGE, TIMED_OUT};

/// Nothing does effects of this kind here: no sink is configured for the channel.
pub const NO_SINK: u32 = u32::MAX - 2;

/// As many wait in the channel as there is room for: this one was not begun.
pub const BUSY: u32 = u32::MAX - 3;

/// Its time was over before its turn came: it was not begun.
pub const NOT_BEGUN: u32 = u32::MAX - 4;

/// A later attempt came before its turn did: it was not begun.
pub const SUPERSEDED: u32 = u32::MAX - 5;

/// The sink panicked.
pub const PANICKED: u32 = u32::MAX - 6;

/// The sink cannot be asked what it did.
pub const CANNOT_TELL: u32 = u32::MAX - 7;

/// Nobody could be reached: nothing was sent.
pub const UNREACHABLE: u32 = u32::MAX - 8;

/// No answer came in time, or none that makes sense, after the request was sent.
pub const NO_ANSWER: u32 = u32::MAX - 9;

/// What is to be fetched has no address that may be fetched from.
pub const BAD_ADDRESS: u32 = u32::MAX - 10;

/// An error that the system has no number for: a file that somebody else cut, or that took less than it was given.
pub const NO_NUMBER: u32 = u32::MAX - 11;

/// Whether a code is one of these, and no service's own.
pub const fn is_ours(code: u32) -> bool {
    code >= NO_NUMBER
}

/// A later attempt in the channel was seen: what is older than that is refused. A service says the same by this status.
pub const FENCED: u32 = 412;

/// What a code means that is no service's own, or that every service is asked to mean the same by.
pub const fn words(code: u32) -> Option<&'static str> {
    Some(match code {
        TIMED_OUT => "no answer in time",
        RESPONSE_TOO_LARGE => "the response is larger than may be",
        NO_SINK => "no sink is configured for it",
        BUSY => "too many waited in its channel",
        NOT_BEGUN => "its time was over before its turn came",
        SUPERSEDED => "a later attempt took its place",
        PANICKED => "the sink panicked",
        CANNOT_TELL => "the sink cannot be asked what it did",
        UNREACHABLE => "the service could not be reached",
        NO_ANSWER => "no answer after the request was sent",
        BAD_ADDRESS => "its address may not be fetched from",
        NO_NUMBER => "the file was cut by somebody else, or took less than it was given",
        FENCED => "fenced: its token is older than one that was seen in its channel",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_ours_has_words_and_no_service_s_has() {
        for code in u32::MAX - 11..=u32::MAX {
            assert!(words(code).is_some() && is_ours(code), "{code}");
        }
        assert_eq!([0, 1, 404, 503, u32::MAX - 12].map(words), [None; 5]);
        assert!(!is_ours(FENCED) && !is_ours(u32::MAX - 12));
        assert!(
            words(FENCED).unwrap().starts_with("fenced"),
            "what a service refuses by a token is told as what it is"
        );
    }
}
