//! The first words on a connection: who speaks, of which cluster, in which version.
//!
//! ```text
//!    0  magic     [u8; 8] = "CHRONON\x01"
//!    8  version   u16     = 1
//!   10  kind      u8      0: a client, 1: a replica, 2: an operator
//!   11  replica   u8      of a replica; else 0
//!   12  terms     u32      of a replica: what all of a cluster must be set up alike in; else 0
//!   16  cluster   u64      an operator's is not looked at: it asks which one this is
//!   24  checksum  u64     the low half of BLAKE3-128 of bytes 0..24
//! ```
//!
//! It keeps misdirected and foreign connections apart from the cluster's own. It does not authenticate.

use std::fmt;

use chronon::types::{Checksum, ClusterId, ReplicaId};

/// The length of a hello.
pub(crate) const HELLO_SIZE: usize = 32;

const MAGIC: [u8; 8] = *b"CHRONON\x01";
const VERSION: u16 = 1;
const CHECKED: usize = 24;

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    /// A client, of whatever number of sessions.
    Client,
    /// A replica.
    Replica(ReplicaId),
    /// Somebody who asks how a replica is, whatever its cluster, and nothing else.
    Operator,
}

/// What a connection opens with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hello {
    pub(super) cluster: ClusterId,
    pub(super) speaker: Speaker,
    pub(super) terms: u32,
}

/// Why a hello is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HelloError {
    /// It does not begin as one, or was damaged.
    Foreign,
    /// It is of another version.
    Version(u16),
    /// It says what no hello of this version says.
    Malformed,
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("it does not speak this protocol"),
            Self::Version(version) => write!(f, "it speaks version {version}, and this program version {VERSION}"),
            Self::Malformed => f.write_str("its first words make no sense"),
        }
    }
}

impl Hello {
    pub(super) fn encode(&self) -> [u8; HELLO_SIZE] {
        let mut bytes = [0; HELLO_SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        (bytes[10], bytes[11]) = match self.speaker {
            Speaker::Client => (0, 0),
            Speaker::Replica(replica) => (1, replica.0),
            Speaker::Operator => (2, 0),
        };
        bytes[12..16].copy_from_slice(&self.terms.to_le_bytes());
        bytes[16..CHECKED].copy_from_slice(&self.cluster.0.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[CHECKED..].copy_from_slice(&checksum);
        bytes
    }

    /// Whether a hello may begin so, as far as it goes: who is none of ours is not waited for.
    pub(super) fn may_begin(bytes: &[u8]) -> bool {
        bytes.iter().zip(&MAGIC).all(|(byte, magic)| byte == magic)
    }

    pub(super) fn decode(bytes: &[u8; HELLO_SIZE]) -> Result<Self, HelloError> {
        if bytes[..8] != MAGIC || bytes[CHECKED..] != checksum(bytes) {
            return Err(HelloError::Foreign);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(HelloError::Version(version));
        }
        let speaker = match (bytes[10], bytes[11]) {
            (0, 0) => Speaker::Client,
            (1, replica) => Speaker::Replica(ReplicaId(replica)),
            (2, 0) => Speaker::Operator,
            _ => return Err(HelloError::Malformed),
        };
        let mut cluster = [0; 8];
        cluster.copy_from_slice(&bytes[16..CHECKED]);
        let terms = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        if terms != 0 && !matches!(speaker, Speaker::Replica(_)) {
            return Err(HelloError::Malformed);
        }
        Ok(Self { cluster: ClusterId(u64::from_le_bytes(cluster)), speaker, terms })
    }
}

/// What an operator opens with.
pub(crate) fn operator_hello() -> [u8; HELLO_SIZE] {
    Hello { cluster: ClusterId(0), speaker: Speaker::Operator, terms: 0 }.encode()
}

fn checksum(bytes: &[u8; HELLO_SIZE]) -> [u8; 8] {
    (Checksum::of(&bytes[..CHECKED]).0 as u64).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEAKERS: [Speaker; 4] =
        [Speaker::Client, Speaker::Replica(ReplicaId(0)), Speaker::Replica(ReplicaId(5)), Speaker::Operator];

    #[test]
    fn what_is_said_is_heard() {
        for speaker in SPEAKERS {
            let terms = if matches!(speaker, Speaker::Replica(_)) { 0x0102_0304 } else { 0 };
            let hello = Hello { cluster: ClusterId(0x0123_4567_89ab_cdef), speaker, terms };
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            assert!((0..=HELLO_SIZE).all(|length| Hello::may_begin(&hello.encode()[..length])));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for speaker in SPEAKERS {
            let bytes = Hello { cluster: ClusterId(7), speaker, terms: 0 }.encode();
            for bit in 0..HELLO_SIZE * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Hello::decode(&flipped), Err(HelloError::Foreign), "bit {bit}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_though_it_is_whole() {
        let sealed = |place: usize, value: u8| {
            let mut bytes = Hello { cluster: ClusterId(7), speaker: Speaker::Client, terms: 0 }.encode();
            bytes[place] = value;
            let sum = checksum(&bytes);
            bytes[CHECKED..].copy_from_slice(&sum);
            Hello::decode(&bytes)
        };
        assert_eq!(sealed(8, 2), Err(HelloError::Version(2)));
        for (place, value) in [(10, 3), (11, 1), (12, 1), (15, 255)] {
            assert_eq!(sealed(place, value), Err(HelloError::Malformed), "{place}");
        }
    }
}
