//! Requests and responses of the key-value application as bytes.
//!
//! Each value has exactly one encoding and each encoding one value: what decodes encodes to the same bytes. Decoding is
//! total: whatever the bytes are, the result is a request within the limits or a [`Refusal`], and nothing is allocated.
//! Numbers are little-endian.
//!
//! ```text
//! request                                     response
//!   1 get     key                               1 found     value (the rest)
//!   2 put     key  value (the rest)             2 missing
//!   3 delete  key                               3 stored
//!   4 cas     key  option  value (the rest)     4 deleted
//!   5 append  key  value (the rest)             5 appended  length u32
//! key:    length u16, then the bytes            6 swapped
//! option: 0, or 1, length u32, the bytes        7 mismatch  0, or 1 and the value (the rest)
//! ```

use alloc::vec::Vec;
use core::fmt;

use crate::app::application::Rejection;

/// The longest key, in bytes. The shortest has one.
pub const KEY_SIZE_MAX: usize = 256;

/// The longest value, in bytes, whether put at once or appended to.
pub const VALUE_SIZE_MAX: usize = 16 * 1024;

/// What a client can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// What is under `key`?
    Get {
        /// The key.
        key: &'a [u8],
    },
    /// Let `value` be under `key`.
    Put {
        /// The key.
        key: &'a [u8],
        /// Its new value.
        value: &'a [u8],
    },
    /// Let nothing be under `key`.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Let `value` be under `key` if `expected` is there now (`None`: if nothing is).
    CompareAndSwap {
        /// The key.
        key: &'a [u8],
        /// What must be there.
        expected: Option<&'a [u8]>,
        /// What shall be there.
        value: &'a [u8],
    },
    /// Put `value` behind what is under `key`, if anything is.
    Append {
        /// The key.
        key: &'a [u8],
        /// What to add.
        value: &'a [u8],
    },
}

/// What a request came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response<'a> {
    /// The value asked for.
    Found(&'a [u8]),
    /// There was nothing to get, or to delete.
    Missing,
    /// The value was put.
    Stored,
    /// The key was there and no longer is.
    Deleted,
    /// The value was appended.
    Appended {
        /// The length of the whole value now.
        length: u32,
    },
    /// The value was swapped in.
    Swapped,
    /// The value was not swapped in, because this was there (`None`: nothing).
    Mismatch(Option<&'a [u8]>),
}

/// Why the application refuses a request: the code of its [`Rejection`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub enum Refusal {
    /// The bytes are no request.
    Malformed = 1,
    /// The key is empty, or longer than [`KEY_SIZE_MAX`].
    KeySize = 2,
    /// A value is longer than [`VALUE_SIZE_MAX`], or would become so.
    ValueSize = 3,
}

impl Refusal {
    /// The refusal with this code.
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Malformed),
            2 => Some(Self::KeySize),
            3 => Some(Self::ValueSize),
            _ => None,
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal as u32)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a request of the key-value store: is the client of another version?"),
            Self::KeySize => write!(f, "a key has 1 to {KEY_SIZE_MAX} bytes: use another"),
            Self::ValueSize => write!(f, "a value has at most {VALUE_SIZE_MAX} bytes: split it over several keys"),
        }
    }
}

impl core::error::Error for Refusal {}

impl<'a> Request<'a> {
    const GET: u8 = 1;
    const PUT: u8 = 2;
    const DELETE: u8 = 3;
    const COMPARE_AND_SWAP: u8 = 4;
    const APPEND: u8 = 5;

    /// The key that the request is about.
    pub const fn key(&self) -> &'a [u8] {
        match self {
            Self::Get { key }
            | Self::Put { key, .. }
            | Self::Delete { key }
            | Self::CompareAndSwap { key, .. }
            | Self::Append { key, .. } => key,
        }
    }

    /// Appends the encoding to `bytes`. The limits are not checked: [`Request::within_limits`].
    ///
    /// # Panics
    /// If the key is longer than 65,535 bytes, or the expected value than 4 GiB.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        match *self {
            Self::Get { key } => encode_key(Self::GET, key, bytes),
            Self::Put { key, value } => {
                encode_key(Self::PUT, key, bytes);
                bytes.extend_from_slice(value);
            }
            Self::Delete { key } => encode_key(Self::DELETE, key, bytes),
            Self::CompareAndSwap { key, expected, value } => {
                encode_key(Self::COMPARE_AND_SWAP, key, bytes);
                match expected {
                    None => bytes.push(0),
                    Some(expected) => {
                        let length = u32::try_from(expected.len()).expect("an expected value is shorter than 4 GiB");
                        bytes.push(1);
                        bytes.extend_from_slice(&length.to_le_bytes());
                        bytes.extend_from_slice(expected);
                    }
                }
                bytes.extend_from_slice(value);
            }
            Self::Append { key, value } => {
                encode_key(Self::APPEND, key, bytes);
                bytes.extend_from_slice(value);
            }
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// If the bytes are no request, or one beyond the limits.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let (kind, rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(Refusal::Malformed)?;
        let (key, rest) = split(rest, u32::from(u16::from_le_bytes(*length)))?;
        let request = match *kind {
            Self::GET if rest.is_empty() => Self::Get { key },
            Self::PUT => Self::Put { key, value: rest },
            Self::DELETE if rest.is_empty() => Self::Delete { key },
            Self::COMPARE_AND_SWAP => match rest.split_first() {
                Some((0, value)) => Self::CompareAndSwap { key, expected: None, value },
                Some((1, rest)) => {
                    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Refusal::Malformed)?;
                    let (expected, value) = split(rest, u32::from_le_bytes(*length))?;
                    Self::CompareAndSwap { key, expected: Some(expected), value }
                }
                _ => return Err(Refusal::Malformed),
            },
            Self::APPEND => Self::Append { key, value: rest },
            _ => return Err(Refusal::Malformed),
        };
        request.within_limits()
    }

    /// The same, unless its key or a value is none that the store takes.
    ///
    /// # Errors
    /// If one is not.
    pub fn within_limits(self) -> Result<Self, Refusal> {
        if !(1..=KEY_SIZE_MAX).contains(&self.key().len()) {
            return Err(Refusal::KeySize);
        }
        let within = match self {
            Self::Get { .. } | Self::Delete { .. } => true,
            Self::Put { value, .. } | Self::Append { value, .. } => value.len() <= VALUE_SIZE_MAX,
            Self::CompareAndSwap { expected, value, .. } => {
                value.len() <= VALUE_SIZE_MAX && expected.is_none_or(|expected| expected.len() <= VALUE_SIZE_MAX)
            }
        };
        if within { Ok(self) } else { Err(Refusal::ValueSize) }
    }
}

impl<'a> Response<'a> {
    /// The longest encoding of a response.
    pub const SIZE_MAX: usize = VALUE_SIZE_MAX + 2;

    const FOUND: u8 = 1;
    const MISSING: u8 = 2;
    const STORED: u8 = 3;
    const DELETED: u8 = 4;
    const APPENDED: u8 = 5;
    const SWAPPED: u8 = 6;
    const MISMATCH: u8 = 7;

    /// Appends the encoding to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Found(value) => {
                bytes.push(Self::FOUND);
                bytes.extend_from_slice(value);
            }
            Self::Missing => bytes.push(Self::MISSING),
            Self::Stored => bytes.push(Self::STORED),
            Self::Deleted => bytes.push(Self::DELETED),
            Self::Appended { length } => {
                bytes.push(Self::APPENDED);
                bytes.extend_from_slice(&length.to_le_bytes());
            }
            Self::Swapped => bytes.push(Self::SWAPPED),
            Self::Mismatch(None) => bytes.extend_from_slice(&[Self::MISMATCH, 0]),
            Self::Mismatch(Some(value)) => {
                bytes.extend_from_slice(&[Self::MISMATCH, 1]);
                bytes.extend_from_slice(value);
            }
        }
    }

    /// Reads a response.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let (kind, rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
        match (*kind, rest) {
            (Self::FOUND, value) => Ok(Self::Found(value)),
            (Self::MISSING, []) => Ok(Self::Missing),
            (Self::STORED, []) => Ok(Self::Stored),
            (Self::DELETED, []) => Ok(Self::Deleted),
            (Self::APPENDED, &[a, b, c, d]) => Ok(Self::Appended { length: u32::from_le_bytes([a, b, c, d]) }),
            (Self::SWAPPED, []) => Ok(Self::Swapped),
            (Self::MISMATCH, [0]) => Ok(Self::Mismatch(None)),
            (Self::MISMATCH, [1, value @ ..]) => Ok(Self::Mismatch(Some(value))),
            _ => Err(Refusal::Malformed),
        }
    }
}

fn encode_key(kind: u8, key: &[u8], bytes: &mut Vec<u8>) {
    let length = u16::try_from(key.len()).expect("a key is shorter than 64 KiB");
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(key);
}

fn split(bytes: &[u8], at: u32) -> Result<(&[u8], &[u8]), Refusal> {
    bytes.split_at_checked(at as usize).ok_or(Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    fn requests<'a>() -> Vec<Request<'a>> {
        vec![
            Request::Get { key: b"k" },
            Request::Put { key: b"key", value: b"" },
            Request::Put { key: b"key", value: b"value" },
            Request::Delete { key: &[255; KEY_SIZE_MAX] },
            Request::CompareAndSwap { key: b"k", expected: None, value: b"" },
            Request::CompareAndSwap { key: b"k", expected: Some(b""), value: b"new" },
            Request::CompareAndSwap { key: b"k", expected: Some(b"old"), value: b"new" },
            Request::Append { key: b"k", value: &[9; VALUE_SIZE_MAX] },
        ]
    }

    fn responses<'a>() -> Vec<Response<'a>> {
        vec![
            Response::Found(b""),
            Response::Found(b"value"),
            Response::Missing,
            Response::Stored,
            Response::Deleted,
            Response::Appended { length: 70_000 },
            Response::Swapped,
            Response::Mismatch(None),
            Response::Mismatch(Some(b"")),
            Response::Mismatch(Some(&[3; VALUE_SIZE_MAX])),
        ]
    }

    fn encoded(request: Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        bytes
    }

    #[test]
    fn requests_and_responses_come_back_as_they_were() {
        for request in requests() {
            assert_eq!(Request::decode(&encoded(request)), Ok(request));
        }
        for response in responses() {
            let mut bytes = Vec::new();
            response.encode(&mut bytes);
            assert!(bytes.len() <= Response::SIZE_MAX);
            assert_eq!(Response::decode(&bytes), Ok(response));
        }
    }

    #[test]
    fn the_encoding_never_changes_between_builds() {
        let swap = encoded(Request::CompareAndSwap { key: b"k", expected: Some(b"old"), value: b"new" });
        assert_eq!(swap, b"\x04\x01\x00k\x01\x03\x00\x00\x00oldnew");
        assert_eq!(encoded(Request::Put { key: b"key", value: b"v" }), b"\x02\x03\x00keyv");
    }

    #[test]
    fn a_request_that_was_cut_short_is_refused_or_is_another_whole_request() {
        for request in requests() {
            let bytes = encoded(request);
            for length in 0..bytes.len().min(600) {
                if let Ok(other) = Request::decode(&bytes[..length]) {
                    assert_eq!(encoded(other), &bytes[..length]);
                }
            }
        }
        assert_eq!(Request::decode(&[]), Err(Refusal::Malformed));
        assert_eq!(Request::decode(b"\x01\x05\x00k"), Err(Refusal::Malformed), "a key beyond the end");
        assert_eq!(Request::decode(b"\x04\x01\x00k"), Err(Refusal::Malformed), "no option");
        assert_eq!(Request::decode(b"\x04\x01\x00k\x01\xff\xff\xff\xff"), Err(Refusal::Malformed), "4 GiB expected");
    }

    #[test]
    fn there_is_no_second_encoding_of_anything() {
        assert_eq!(Request::decode(b"\x01\x01\x00k!"), Err(Refusal::Malformed), "a get with a tail");
        assert_eq!(Request::decode(b"\x03\x01\x00k!"), Err(Refusal::Malformed), "a delete with a tail");
        assert_eq!(Request::decode(b"\x04\x01\x00k\x02"), Err(Refusal::Malformed), "an option that is neither");
        assert_eq!(Response::decode(b"\x03!"), Err(Refusal::Malformed));
        assert_eq!(Response::decode(b"\x05\x01\x00\x00\x00!"), Err(Refusal::Malformed));
        assert_eq!(Response::decode(b"\x07\x00!"), Err(Refusal::Malformed));
        // Every short byte string that decodes at all encodes to itself.
        let mut bytes = Vec::new();
        for kind in 0..=6_u8 {
            for a in 0..=3_u8 {
                for b in 0..=1_u8 {
                    for tail in [
                        &[][..],
                        &[0],
                        &[1, 0],
                        &[1, 1],
                        &[1, 0, 0, 0, 0, 0],
                        &[7, 1, 1, 0, 0, 0, 9],
                        &[7, 2, 1, 0, 0, 0, 9],
                    ] {
                        let candidate = [&[kind, a, b][..], tail].concat();
                        if let Ok(request) = Request::decode(&candidate) {
                            bytes.clear();
                            request.encode(&mut bytes);
                            assert_eq!(bytes, candidate);
                        }
                        if let Ok(response) = Response::decode(&candidate) {
                            bytes.clear();
                            response.encode(&mut bytes);
                            assert_eq!(bytes, candidate);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn keys_and_values_beyond_the_limits_are_refused_as_such() {
        let long = [0; VALUE_SIZE_MAX + 1];
        let cases = [
            (Request::Get { key: b"" }, Refusal::KeySize),
            (Request::Get { key: &long[..KEY_SIZE_MAX + 1] }, Refusal::KeySize),
            (Request::Put { key: b"k", value: &long }, Refusal::ValueSize),
            (Request::Append { key: b"k", value: &long }, Refusal::ValueSize),
            (Request::CompareAndSwap { key: b"k", expected: None, value: &long }, Refusal::ValueSize),
            (Request::CompareAndSwap { key: b"k", expected: Some(&long), value: b"" }, Refusal::ValueSize),
        ];
        for (request, refusal) in cases {
            assert_eq!(Request::decode(&encoded(request)), Err(refusal));
            assert_eq!(Refusal::from_code(refusal as u32), Some(refusal));
        }
    }
}
