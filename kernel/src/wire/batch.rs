//! The body of a prepare: the entries that it carries, back to back, raw. Most are clients' requests.
//!
//! ```text
//!    0  client    u128
//!   16  session   u64
//!   24  request   u64   0 registers a session
//!   32  length    u32   of the payload
//!   36  kind      u32   0 a client's request, 1 the system's own, of no client, session and number (all 0), 2 an operator's request,
//!                         3 the members: of no client, session and number as well
//!   40  payload   [u8; length], the next entry right behind it
//! ```
//!
//! Invariant: a [`Batch`] has been walked to its end once; iterating it cannot fail and allocates nothing. A batch may be
//! empty: such a prepare only moves the log on.

use alloc::vec::Vec;

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64, U128},
};

use crate::{
    types::{ClientId, RequestNumber, Session},
    wire::error::WireError,
};

/// The bytes of an entry before its payload.
pub const ENTRY_HEADER_SIZE: usize = 40;

/// What an entry with this payload adds to a batch, in bytes.
pub const fn entry_size(payload_length: usize) -> usize {
    ENTRY_HEADER_SIZE + payload_length
}

/// Appends a client's request.
///
/// # Panics
/// If the payload is 4 GiB or more.
pub fn push(bytes: &mut Vec<u8>, client: ClientId, session: Session, request: RequestNumber, payload: &[u8]) {
    push_entry(bytes, &Entry { kind: Kind::Request, client, session, request, payload });
}

/// Appends an entry of the system's own.
///
/// # Panics
/// If the payload is 4 GiB or more.
pub fn push_system(bytes: &mut Vec<u8>, payload: &[u8]) {
    let (client, session, request) = (ClientId(0), Session(0), RequestNumber(0));
    push_entry(bytes, &Entry { kind: Kind::System, client, session, request, payload });
}

/// Appends the members from here on, as they are encoded.
///
/// # Panics
/// If the payload is 4 GiB or more.
pub fn push_members(bytes: &mut Vec<u8>, payload: &[u8]) {
    let (client, session, request) = (ClientId(0), Session(0), RequestNumber(0));
    push_entry(bytes, &Entry { kind: Kind::Members, client, session, request, payload });
}

/// Appends an entry as it is.
///
/// # Panics
/// If the payload is 4 GiB or more.
pub fn push_entry(bytes: &mut Vec<u8>, entry: &Entry<'_>) {
    let layout = Layout {
        client: U128::new(entry.client.0),
        session: U64::new(entry.session.0),
        request: U64::new(entry.request.0),
        length: U32::new(u32::try_from(entry.payload.len()).expect("a payload is shorter than 4 GiB")),
        kind: U32::new(entry.kind as u32),
    };
    bytes.extend_from_slice(layout.as_bytes());
    bytes.extend_from_slice(entry.payload);
}

/// Who an entry is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Kind {
    /// A client.
    Request = 0,
    /// The primary: what it says is no client's concern, and judged by the state machine alone.
    System = 1,
    /// An operator, who has a session as a client has: what is asked is asked of the state machine's own keeping, and not of the
    /// application.
    Operator = 2,
    /// The primary: who the replicas are from here on, for the protocol itself.
    Members = 3,
}

/// One entry of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Who it is from.
    pub kind: Kind,
    /// Who asks.
    pub client: ClientId,
    /// In which session.
    pub session: Session,
    /// The number of the request in it; 0 registers.
    pub request: RequestNumber,
    /// What is asked, in the application's own encoding.
    pub payload: &'a [u8],
}

/// The requests of one prepare.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    length: u32,
}

impl<'a> Batch<'a> {
    /// The batch that `bytes`, all of them, are.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut rest = bytes;
        let mut length = 0;
        while !rest.is_empty() {
            (_, rest) = split_entry(rest).ok_or(WireError::Batch)?;
            length += 1;
        }
        Ok(Self { bytes, length })
    }

    /// How many requests there are.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The requests, in order.
    pub const fn iter(&self) -> Entries<'a> {
        Entries { rest: self.bytes }
    }
}

impl<'a> IntoIterator for Batch<'a> {
    type Item = Entry<'a>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// The requests of a batch, in order.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        // An empty rest has no entry; any other was walked when the batch was parsed.
        let (entry, rest) = split_entry(self.rest)?;
        self.rest = rest;
        Some(entry)
    }
}

/// The entry that `bytes` begin with, and what follows it.
fn split_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (layout, rest) = Layout::ref_from_prefix(bytes).ok()?;
    let kind = match (layout.kind.get(), layout.client.get(), layout.session.get(), layout.request.get()) {
        (0, ..) => Kind::Request,
        (1, 0, 0, 0) => Kind::System,
        (2, ..) => Kind::Operator,
        (3, 0, 0, 0) => Kind::Members,
        _ => return None,
    };
    let (payload, rest) = rest.split_at_checked(layout.length.get() as usize)?;
    let entry = Entry {
        kind,
        client: ClientId(layout.client.get()),
        session: Session(layout.session.get()),
        request: RequestNumber(layout.request.get()),
        payload,
    };
    Some((entry, rest))
}

/// The bytes of an entry before its payload.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    client: U128,
    session: U64,
    request: U64,
    length: U32,
    kind: U32,
}

const _: () = assert!(size_of::<Layout>() == ENTRY_HEADER_SIZE, "an entry has no padding");

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn two() -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, ClientId(0xc1), Session(0x51), RequestNumber(0), b"");
        push(&mut bytes, ClientId(0xc2), Session(0x52), RequestNumber(3), b"abc");
        bytes
    }

    fn members() -> Vec<u8> {
        let mut bytes = Vec::new();
        push_members(&mut bytes, b"all");
        bytes
    }

    fn system() -> Vec<u8> {
        let mut bytes = Vec::new();
        push_system(&mut bytes, b"own");
        bytes
    }

    #[test]
    fn the_bytes_of_a_batch_never_change() {
        let hex: std::string::String = two().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "c1000000000000000000000000000000\
             5100000000000000\
             0000000000000000\
             00000000\
             00000000\
             c2000000000000000000000000000000\
             5200000000000000\
             0300000000000000\
             03000000\
             00000000\
             616263"
        );
    }

    #[test]
    fn a_batch_gives_back_what_was_pushed_in_order() {
        let bytes = two();
        assert_eq!(bytes.len(), entry_size(0) + entry_size(3));
        let batch = Batch::parse(&bytes).unwrap();
        assert_eq!((batch.len(), batch.is_empty()), (2, false));
        let expected = [
            Entry {
                kind: Kind::Request,
                client: ClientId(0xc1),
                session: Session(0x51),
                request: RequestNumber(0),
                payload: b"",
            },
            Entry {
                kind: Kind::Request,
                client: ClientId(0xc2),
                session: Session(0x52),
                request: RequestNumber(3),
                payload: b"abc",
            },
        ];
        assert!(batch.iter().eq(expected));
        assert!(batch.into_iter().eq(expected));
    }

    #[test]
    fn no_bytes_are_an_empty_batch() {
        let batch = Batch::parse(&[]).unwrap();
        assert_eq!((batch.len(), batch.is_empty(), batch.iter().next()), (0, true, None));
    }

    #[test]
    fn every_truncation_of_a_batch_is_an_error_but_between_entries() {
        let bytes = two();
        for length in 0..bytes.len() {
            let parsed = Batch::parse(&bytes[..length]).map(|batch| batch.len());
            let expected = match length {
                0 => Ok(0),
                40 => Ok(1),
                _ => Err(WireError::Batch),
            };
            assert_eq!(parsed, expected, "{length} bytes");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error() {
        for length in [4_u32, 5, u32::MAX] {
            let mut bytes = two();
            bytes[72..76].copy_from_slice(&length.to_le_bytes());
            assert_eq!(Batch::parse(&bytes).map(|batch| batch.len()), Err(WireError::Batch));
        }
    }

    #[test]
    fn an_entry_of_an_unknown_kind_or_of_the_system_s_with_a_client_is_an_error() {
        for index in 36..40 {
            let mut bytes = two();
            bytes[index] = 1;
            assert_eq!(Batch::parse(&bytes).map(|batch| batch.len()), Err(WireError::Batch));
            let mut bytes = system();
            bytes[index] = 4;
            assert_eq!(Batch::parse(&bytes).map(|batch| batch.len()), Err(WireError::Batch));
        }
        for index in 0..32 {
            for mut bytes in [system(), members()] {
                bytes[index] = 1;
                assert_eq!(Batch::parse(&bytes).map(|batch| batch.len()), Err(WireError::Batch));
            }
        }
        let bytes = members();
        let kinds: Vec<_> = Batch::parse(&bytes).unwrap().iter().map(|entry| (entry.kind, entry.payload)).collect();
        assert_eq!(kinds, [(Kind::Members, &b"all"[..])]);
    }

    #[test]
    fn an_entry_of_the_system_s_is_of_no_client() {
        let bytes = system();
        let entry = Batch::parse(&bytes).unwrap().iter().next().unwrap();
        assert_eq!((entry.kind, entry.payload), (Kind::System, &b"own"[..]));
        assert_eq!((entry.client, entry.session, entry.request), (ClientId(0), Session(0), RequestNumber(0)));
    }

    #[test]
    fn what_parses_is_pushed_to_the_same_bytes_whichever_bit_is_flipped() {
        let bytes = [two(), system()].concat();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(batch) = Batch::parse(&flipped) else { continue };
            let mut again = Vec::new();
            for entry in batch {
                push_entry(&mut again, &entry);
            }
            assert_eq!(again, flipped, "bit {bit}");
        }
    }
}
