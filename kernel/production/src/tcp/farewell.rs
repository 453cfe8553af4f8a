//! The last words on a connection: to a client for which there is no room.
//!
//! ```text
//!    0  length   u32     = 0, which no frame has
//!    4  reason   u32     = 1: as many clients are connected as there may be
//!    8  clients  u64     how many that is
//! ```
//!
//! They come where a frame would. A client that does not know them takes them for a frame that is none, and hangs up as it should.

/// The length of a farewell.
pub(super) const FAREWELL_SIZE: usize = 16;

const CROWD: u32 = 1;

/// As many clients are connected as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Farewell {
    pub(super) clients: u64,
}

impl Farewell {
    pub(super) fn encode(self) -> [u8; FAREWELL_SIZE] {
        let mut bytes = [0; FAREWELL_SIZE];
        bytes[4..8].copy_from_slice(&CROWD.to_le_bytes());
        bytes[8..].copy_from_slice(&self.clients.to_le_bytes());
        bytes
    }

    /// None if it gives no reason that is known.
    pub(super) fn decode(bytes: &[u8; FAREWELL_SIZE]) -> Option<Self> {
        let (head, clients) = (bytes.first_chunk()?, bytes.last_chunk()?);
        // No length, and the reason behind that.
        (u64::from_le_bytes(*head) == u64::from(CROWD) << 32).then_some(Self { clients: u64::from_le_bytes(*clients) })
    }
}

/// How connections to a replica ended that this end had dialled, since that was last asked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Parting {
    /// Whether the other end may have taken what was sent over one of them.
    pub(crate) may_have_taken: bool,
    /// If it takes on no more clients, as the last of them said: how many it has.
    pub(crate) crowd: Option<u64>,
}

impl Parting {
    /// One more has ended, whose other end was greeted or not, and said this. Of a client that it does not take on it has taken nothing.
    pub(super) fn note(&mut self, greeted: bool, farewell: Option<Farewell>) {
        self.may_have_taken |= greeted && farewell.is_none();
        self.crowd = farewell.map(|farewell| farewell.clients);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_and_nothing_else_is() {
        let farewell = Farewell { clients: 0x0123_4567_89ab_cdef };
        let bytes = farewell.encode();
        assert_eq!(Farewell::decode(&bytes), Some(farewell));
        for place in 0..8 {
            let mut other = bytes;
            other[place] ^= 0x10;
            assert_eq!(Farewell::decode(&other), None, "{place}");
        }
    }

    #[test]
    fn what_one_connection_may_have_taken_no_later_farewell_denies() {
        let farewell = Some(Farewell { clients: 4 });
        for (ends, may_have_taken, crowd) in [
            (&[(true, farewell), (false, None), (true, farewell)][..], false, Some(4)),
            (&[(true, farewell), (false, None)], false, None),
            (&[(true, None), (true, farewell)], true, Some(4)),
        ] {
            let mut parting = Parting::default();
            ends.iter().for_each(|(greeted, farewell)| parting.note(*greeted, *farewell));
            assert_eq!(parting, Parting { may_have_taken, crowd }, "{ends:?}");
        }
    }
}
