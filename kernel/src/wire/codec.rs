//! The one place that knows bincode: structured bodies to bytes and back.
//!
//! Invariant: decoding is total and takes exactly the bytes that it is given. Four holes that bincode leaves open are
//! closed here: integers have a fixed width (variable ones have several encodings of one number), the bytes read are
//! limited, the bytes left over are an error, and a sequence grows with what is there, up to a bound, whatever length it
//! declares ([`bounded`]). A fifth is closed by the types: none is recursive, so that no input nests.
//!
//! Lacks on purpose: maps and sets (they would decode in any order, with repetitions, and not encode to the same bytes),
//! floats, `usize`, borrowing. Application payloads do not come through here.

use alloc::vec::Vec;
use core::{fmt, marker::PhantomData};

use bincode::{
    config::{Configuration, Fixint, Limit, LittleEndian},
    enc::write::Writer,
    error::{DecodeError, EncodeError},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, SeqAccess, Visitor},
};

use crate::wire::stored::Stored;

/// The longest encoding, in bytes.
pub const ENCODING_SIZE_MAX: usize = 1024 * 1024;

/// Why bytes are not an encoding of the type that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodecError {
    /// They end too early, or hold what the type cannot.
    Malformed,
    /// They are, or declare to be, longer than allowed.
    Limit,
    /// Bytes are left over.
    Trailing,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the bytes end too early or hold an impossible value; send them again from a sound copy",
            Self::Limit => "it is or declares to be longer than allowed; send it in parts",
            Self::Trailing => "bytes are left over behind it; send nothing else with it",
        })
    }
}

impl core::error::Error for CodecError {}

/// Appends the encoding of `value`.
///
/// # Panics
/// If it is longer than [`ENCODING_SIZE_MAX`], which nothing could decode.
pub fn encode<T: Stored + Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bincode::serde::encode_into_writer(value, Appender(bytes), CONFIGURATION)
        .expect("the types that are encoded know their lengths");
    assert!(bytes.len() - start <= ENCODING_SIZE_MAX, "what is encoded can be decoded");
}

/// The value that `bytes`, all of them, encode.
pub fn decode<T: Stored + DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > ENCODING_SIZE_MAX {
        return Err(CodecError::Limit);
    }
    let (value, consumed) = bincode::serde::decode_from_slice(bytes, CONFIGURATION).map_err(|error| match error {
        DecodeError::LimitExceeded => CodecError::Limit,
        _ => CodecError::Malformed,
    })?;
    if consumed != bytes.len() {
        return Err(CodecError::Trailing);
    }
    Ok(value)
}

/// Deserializes a sequence of at most `MAX` elements, for `#[serde(deserialize_with)]`. The length that it declares is
/// not believed: nothing is allocated ahead.
pub fn bounded<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

const CONFIGURATION: Configuration<LittleEndian, Fixint, Limit<ENCODING_SIZE_MAX>> =
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<ENCODING_SIZE_MAX>();

/// Appends to what a vector already holds; bincode's own writers begin an empty one.
struct Appender<'a>(&'a mut Vec<u8>);

impl Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

struct Bounded<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        // Grows with what is really there: a short frame that declares many elements costs what it holds.
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            if elements.len() == MAX {
                return Err(serde::de::Error::invalid_length(MAX + 1, &self));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec};

    use super::*;
    use crate::wire::stored::stored;

    stored! { struct Few { numbers } }

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct Few {
        #[serde(deserialize_with = "bounded::<_, _, 3>")]
        numbers: Vec<u16>,
    }

    fn encoded<T: Stored + Serialize>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(value, &mut bytes);
        bytes
    }

    #[test]
    fn integers_have_a_fixed_width_and_one_encoding() {
        assert_eq!(encoded(&300_u64), [44, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encoded(&1_u16), [1, 0]);
        // In bincode's variable encoding 1 is `01`, and also `fb 01 00`, and `fc 01 00 00 00`.
        assert_eq!(decode::<u64>(&[1]), Err(CodecError::Malformed));
        assert_eq!(decode::<u64>(&[0xfb, 1, 0]), Err(CodecError::Malformed));
        assert_eq!(decode::<u64>(&[0xfc, 1, 0, 0, 0]), Err(CodecError::Malformed));
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        assert_eq!(decode::<u32>(&[7, 0, 0, 0]), Ok(7));
        assert_eq!(decode::<u32>(&[7, 0, 0, 0, 0]), Err(CodecError::Trailing));
    }

    #[test]
    fn a_declared_length_beyond_the_limit_is_refused_before_it_is_allocated() {
        for length in [ENCODING_SIZE_MAX as u64, 1 << 40, u64::MAX] {
            assert_eq!(decode::<String>(&length.to_le_bytes()), Err(CodecError::Limit), "{length} bytes");
        }
    }

    #[test]
    fn a_declared_length_that_is_not_there_is_an_error() {
        for length in [1_u64, 1000, 1 << 40, u64::MAX] {
            assert_eq!(decode::<Vec<u64>>(&length.to_le_bytes()), Err(CodecError::Malformed), "{length} numbers");
            assert_eq!(decode::<Few>(&length.to_le_bytes()), Err(CodecError::Malformed), "{length} numbers");
        }
    }

    #[test]
    fn a_sequence_beyond_its_bound_is_an_error_though_it_is_all_there() {
        let few = Few { numbers: vec![1, 2, 3] };
        assert_eq!(decode::<Few>(&encoded(&few)), Ok(few));
        assert_eq!(decode::<Few>(&encoded(&Few { numbers: vec![1, 2, 3, 4] })), Err(CodecError::Malformed));
    }

    #[test]
    fn more_bytes_than_the_limit_are_refused_unread() {
        assert_eq!(decode::<u8>(&vec![0; ENCODING_SIZE_MAX + 1]), Err(CodecError::Limit));
    }

    #[test]
    fn tags_have_one_encoding() {
        assert_eq!(decode::<bool>(&[1]), Ok(true));
        assert_eq!(decode::<bool>(&[2]), Err(CodecError::Malformed));
        assert_eq!(decode::<Option<u8>>(&[1, 5]), Ok(Some(5)));
        assert_eq!(decode::<Option<u8>>(&[2, 5]), Err(CodecError::Malformed));
    }

    #[test]
    fn encoding_appends_and_leaves_what_was_there() {
        let mut bytes = vec![9];
        encode(&1_u16, &mut bytes);
        assert_eq!(bytes, [9, 1, 0]);
    }
}
