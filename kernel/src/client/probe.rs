//! The rare paths of a client. A campaign that never takes one of them has not tested it.

use crate::process::ProbeId;

/// A rare path of a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u16)]
pub enum ClientProbe {
    /// Nobody answered in time; another replica was asked.
    Retried,
    /// A replica sent the client on to the primary.
    Redirected,
    /// A replica was busy.
    Busy,
    /// The session was evicted.
    Evicted,
    /// The request was too large.
    TooLarge,
    /// A frame came that no longer matters.
    LateAnswer,
    /// A frame came that was damaged, or that no replica should send.
    BadFrame,
}

impl ClientProbe {
    /// The names, by [`ProbeId`].
    pub const NAMES: &'static [&'static str] = &[
        "client_retried",
        "client_redirected",
        "client_told_busy",
        "client_evicted",
        "client_told_too_large",
        "client_ignored_a_late_answer",
        "client_dropped_a_bad_frame",
    ];
}

impl From<ClientProbe> for ProbeId {
    fn from(probe: ClientProbe) -> Self {
        Self(probe as u16)
    }
}
