//! The structured bodies, and the reasons of a refusal.
//!
//! Invariant: every header in a body that decodes carries its own valid checksum and can be in a log. Whether it may be
//! in *this* log, and what a claim is worth, is for the protocol to say.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    types::Op,
    wire::{codec, error::WireError, header::Header, members::Members, stored::stored},
};

/// The most headers in one body.
pub const HEADERS_MAX: usize = 1024;

/// What a replica says of the prepare of one op. Silence is never a claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Claim {
    /// It is here, durable and whole.
    Present = 1,
    /// It was never acknowledged here.
    NeverHad,
    /// It may have been acknowledged here, and is not to be read.
    Unknown,
}

impl From<Claim> for u8 {
    fn from(claim: Claim) -> Self {
        claim as Self
    }
}

impl TryFrom<u8> for Claim {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            1 => Ok(Self::Present),
            2 => Ok(Self::NeverHad),
            3 => Ok(Self::Unknown),
            _ => Err("no such claim"),
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "present",
            Self::NeverHad => "never had",
            Self::Unknown => "unknown",
        })
    }
}

stored! { enum Claim { Present, NeverHad, Unknown } }
stored! { struct DoViewChange { headers, claims, members } }
stored! { struct Headers { headers } }

/// The body of `do_view_change`: the sender's log of its log view, above what it knows to be committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DoViewChange {
    /// Consecutive ops, ascending.
    #[serde(deserialize_with = "codec::bounded::<_, _, HEADERS_MAX>")]
    pub headers: Vec<Header>,
    /// One for each header, in the same order.
    #[serde(deserialize_with = "codec::bounded::<_, _, HEADERS_MAX>")]
    pub claims: Vec<Claim>,
    /// The latest members that the sender knows to be committed: who among those that give their logs is who.
    pub members: Members,
}

/// The body of `start_view` and of `headers`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Headers {
    /// Prepares' headers, in any order.
    #[serde(deserialize_with = "codec::bounded::<_, _, HEADERS_MAX>")]
    pub headers: Vec<Header>,
}

/// Appends the body of `do_view_change`.
///
/// # Panics
/// If it could not be decoded: too many headers, not consecutive, or not one claim for each.
pub fn encode_do_view_change(body: &DoViewChange, bytes: &mut Vec<u8>) {
    assert!(body.headers.len() <= HEADERS_MAX, "a log is sent within the bound");
    assert!(body.claims.len() == body.headers.len(), "every header has its claim");
    assert!(is_contiguous(&body.headers), "a log has no gap");
    codec::encode(body, bytes);
}

/// The body of a `do_view_change`.
pub fn decode_do_view_change(bytes: &[u8]) -> Result<DoViewChange, WireError> {
    let body: DoViewChange = codec::decode(bytes)?;
    verify_all(&body.headers)?;
    if body.claims.len() != body.headers.len() {
        return Err(WireError::Claims);
    }
    if !is_contiguous(&body.headers) {
        return Err(WireError::Gap);
    }
    Ok(body)
}

/// Appends the body of `start_view` or `headers`.
///
/// # Panics
/// If there are more than [`HEADERS_MAX`].
pub fn encode_headers(headers: &[Header], bytes: &mut Vec<u8>) {
    assert!(headers.len() <= HEADERS_MAX, "headers are sent within the bound");
    codec::encode(headers, bytes);
}

/// The body of a `start_view` or `headers`.
pub fn decode_headers(bytes: &[u8]) -> Result<Headers, WireError> {
    let body: Headers = codec::decode(bytes)?;
    verify_all(&body.headers)?;
    Ok(body)
}

/// Whether the headers name consecutive ops, ascending.
pub fn is_contiguous(headers: &[Header]) -> bool {
    headers.windows(2).all(|pair| pair[0].op.0.checked_add(1).map(Op) == Some(pair[1].op))
}

/// Whether the headers name consecutive ops, ascending, and each the one before as its parent.
pub fn is_chained(headers: &[Header]) -> bool {
    is_contiguous(headers) && headers.windows(2).all(|pair| pair[1].parent() == pair[0].checksum)
}

/// Why a replica refuses a client's request. Travels as the header's context.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RejectReason {
    /// There is no room now. The request number is not used up.
    Busy = 1,
    /// This replica is not the primary; the header's view says who is.
    NotPrimary,
    /// The session is gone. Whether its last request was executed is unknown.
    Evicted,
    /// The request is larger than a message may be.
    TooLarge,
}

impl RejectReason {
    /// The reason in a header's context, if it is one.
    pub const fn from_context(context: u128) -> Option<Self> {
        match context {
            1 => Some(Self::Busy),
            2 => Some(Self::NotPrimary),
            3 => Some(Self::Evicted),
            4 => Some(Self::TooLarge),
            _ => None,
        }
    }

    /// The reason as a header's context.
    pub const fn context(self) -> u128 {
        self as u128
    }
}

fn verify_all(headers: &[Header]) -> Result<(), WireError> {
    for header in headers {
        header.verify()?;
        if !header.is_log_entry() {
            return Err(WireError::NotAPrepare);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::{
        types::{Checksum, ClusterId, View},
        wire::{codec::CodecError, header::Command, stored::Stored},
    };

    const CLUSTER: ClusterId = ClusterId(7);

    /// A chain of prepares, the first of which is of op `first`.
    fn chain(first: u64, length: u64) -> Vec<Header> {
        let mut parent = Checksum(0xabc);
        let mut headers = Vec::new();
        for op in first..first + length {
            let prepare = Header::new(CLUSTER, Command::Prepare, 2, View(3));
            let header = if op == 0 {
                Header::root(CLUSTER)
            } else {
                Header { op: Op(op), context: parent.0, ..prepare }.sealed(&op.to_le_bytes())
            };
            parent = header.checksum;
            headers.push(header);
        }
        headers
    }

    fn members() -> Members {
        Members { version: 1, incarnations: vec![4, 5, 6] }
    }

    fn do_view_change() -> DoViewChange {
        let claims = vec![Claim::Present, Claim::NeverHad, Claim::Unknown];
        DoViewChange { headers: chain(5, 3), claims, members: members() }
    }

    fn encoded(body: &(impl Stored + Serialize)) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode(body, &mut bytes);
        bytes
    }

    #[test]
    fn bodies_survive_the_wire() {
        for headers in [vec![], chain(0, 1), chain(0, 4), chain(u64::MAX - 3, 3), chain(1, HEADERS_MAX as u64)] {
            let mut bytes = Vec::new();
            encode_headers(&headers, &mut bytes);
            assert_eq!(decode_headers(&bytes), Ok(Headers { headers: headers.clone() }));
            let body = DoViewChange { claims: vec![Claim::Present; headers.len()], headers, members: members() };
            let mut bytes = Vec::new();
            encode_do_view_change(&body, &mut bytes);
            assert_eq!(decode_do_view_change(&bytes), Ok(body));
        }
    }

    #[test]
    fn the_bytes_of_a_body_never_change() {
        let bytes = encoded(&do_view_change());
        let mut last = Vec::new();
        members().encode(&mut last);
        assert!(bytes.ends_with(&last) && last.len() == 8 + 8 + 3 * 16);
        let bytes = &bytes[..bytes.len() - last.len()];
        let header_size = (bytes.len() - 8 - 8 - 3) / 3;
        assert_eq!(header_size, 122);
        assert_eq!(bytes[..8], 3_u64.to_le_bytes());
        let first = chain(5, 1)[0];
        assert_eq!(bytes[8..24], first.checksum.0.to_le_bytes());
        assert_eq!(bytes[24..40], first.checksum_body.0.to_le_bytes());
        assert_eq!(bytes[64], 3, "the command by its number");
        assert_eq!(bytes[bytes.len() - 11..bytes.len() - 3], 3_u64.to_le_bytes());
        assert_eq!(bytes[bytes.len() - 3..], [1, 2, 3]);
    }

    #[test]
    fn every_truncation_and_extension_of_a_body_is_an_error() {
        let mut bytes = encoded(&do_view_change());
        for length in 0..bytes.len() {
            assert_eq!(decode_do_view_change(&bytes[..length]), Err(WireError::Body(CodecError::Malformed)));
        }
        bytes.push(0);
        assert_eq!(decode_do_view_change(&bytes), Err(WireError::Body(CodecError::Trailing)));
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_encodes_to_the_same_bytes() {
        let bytes = encoded(&do_view_change());
        let mut accepted = 0;
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(body) = decode_do_view_change(&flipped) {
                accepted += 1;
                assert_eq!(encoded(&body), flipped, "bit {bit}");
                assert_eq!(body.headers, do_view_change().headers, "a header is never another, bit {bit}");
            }
        }
        let members_bits = 64 + 3 * 128;
        let claims = accepted - members_bits;
        assert_eq!(claims, 4, "claims and members have no checksum of their own: 1 to 3, 2 to 3, 3 to 1 and to 2");
    }

    #[test]
    fn a_header_in_a_body_carries_its_own_checksum() {
        let mut headers = chain(5, 3);
        headers[1].timestamp.0 += 1;
        assert_eq!(decode_headers(&encoded(&headers)), Err(WireError::HeaderChecksum));
    }

    #[test]
    fn a_header_in_a_body_is_a_prepare_s() {
        let ping = Header::new(CLUSTER, Command::Ping, 0, View(0)).sealed(&[]);
        assert_eq!(decode_headers(&encoded(&vec![ping])), Err(WireError::NotAPrepare));
        let other_root = Header::new(CLUSTER, Command::Prepare, 0, View(1)).sealed(&[]);
        assert_eq!(decode_headers(&encoded(&vec![other_root])), Err(WireError::NotAPrepare));
    }

    #[test]
    fn more_headers_than_the_bound_are_an_error_though_they_are_all_there() {
        let headers = chain(1, HEADERS_MAX as u64 + 1);
        assert_eq!(decode_headers(&encoded(&headers)), Err(WireError::Body(CodecError::Malformed)));
    }

    #[test]
    fn a_log_with_a_gap_or_out_of_order_is_an_error() {
        let chain = chain(5, 3);
        for headers in [vec![chain[0], chain[2]], vec![chain[1], chain[0]], vec![chain[0], chain[0]]] {
            let body = DoViewChange { claims: vec![Claim::Present; headers.len()], headers, members: members() };
            assert_eq!(decode_do_view_change(&encoded(&body)), Err(WireError::Gap));
        }
    }

    #[test]
    fn a_log_without_one_claim_for_each_header_is_an_error() {
        for count in [0, 2, 4] {
            let claims = vec![Claim::Present; count];
            let body = DoViewChange { headers: chain(5, 3), claims, members: members() };
            assert_eq!(decode_do_view_change(&encoded(&body)), Err(WireError::Claims));
        }
    }

    #[test]
    fn a_chain_names_its_parents_and_consecutive_ops_need_not() {
        let mut headers = chain(0, 4);
        assert!(is_contiguous(&headers) && is_chained(&headers));
        headers[2] = Header { context: 1, ..headers[2] }.sealed(&[]);
        assert!(is_contiguous(&headers) && !is_chained(&headers));
        headers.remove(1);
        assert!(!is_contiguous(&headers));
        let last = Header { op: Op(u64::MAX), ..headers[2] };
        let first = Header { op: Op(0), ..last };
        assert!(!is_contiguous(&[last, first]), "ops do not wrap around");
    }

    #[test]
    fn reasons_have_their_numbers_and_others_are_none() {
        let reasons = [RejectReason::Busy, RejectReason::NotPrimary, RejectReason::Evicted, RejectReason::TooLarge];
        for (number, reason) in (1..).zip(reasons) {
            assert_eq!(reason.context(), number);
            assert_eq!(RejectReason::from_context(number), Some(reason));
        }
        for number in [0, 5, 1 << 64 | 1, u128::MAX] {
            assert_eq!(RejectReason::from_context(number), None);
        }
    }

    #[test]
    fn claims_have_their_numbers_and_others_are_none() {
        for (number, claim) in (1..).zip([Claim::Present, Claim::NeverHad, Claim::Unknown]) {
            assert_eq!(u8::from(claim), number);
            assert_eq!(Claim::try_from(number), Ok(claim));
        }
        for number in [0, 4, 255] {
            assert!(Claim::try_from(number).is_err());
        }
    }
}
