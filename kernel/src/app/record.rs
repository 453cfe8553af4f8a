//! Records: what of effects and timers goes into a checkpoint, one after another.
//!
//! ```text
//!   length   u32   of the value
//!   value          by the codec
//!   length   u32   of the payload
//!   payload        as it is
//! ```
//!
//! Invariant: what is taken from bytes was put into the same bytes. Taking is total.

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

#[cfg(test)]
use crate::storage::{
    chunk::CHUNK_HEADER_SIZE,
    snapshot::{SnapshotReader, SnapshotWriter},
};
use crate::wire::{
    codec::{self, CodecError},
    stored::Stored,
};

/// Appends a record.
///
/// # Panics
/// If the payload is 4 GiB or more.
pub(super) fn put<T: Stored + Serialize>(bytes: &mut Vec<u8>, value: &T, payload: &[u8]) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    codec::encode(value, bytes);
    let length = (bytes.len() - start - 4) as u32;
    bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let length = u32::try_from(payload.len()).expect("a payload is shorter than 4 GiB");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(payload);
}

/// Takes the record that `bytes` begin with.
pub(super) fn take<'a, T: Stored + DeserializeOwned>(bytes: &mut &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let value = codec::decode(take_part(bytes)?)?;
    Ok((value, take_part(bytes)?))
}

fn take_part<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], CodecError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(CodecError::Malformed)?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(CodecError::Malformed)?;
    *bytes = rest;
    Ok(part)
}

/// The records that a snapshot writes, one after another, in however many slices that takes.
#[cfg(test)]
pub(super) fn written(mut write: impl FnMut(&mut SnapshotWriter)) -> Vec<Vec<u8>> {
    let (mut writer, mut reader, mut records) = (SnapshotWriter::new(4096, 1), SnapshotReader::default(), Vec::new());
    let mut is_done = false;
    while !is_done {
        is_done = writer.write(1, &mut write);
        if is_done {
            writer.finish();
        }
        while let Some(leaf) = writer.take() {
            let take = |_, record: &[u8]| {
                records.push(record.to_vec());
                Ok(())
            };
            reader.leaf(&leaf[CHUNK_HEADER_SIZE..], take).expect("a writer's leaves are records");
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    #[test]
    fn records_are_taken_as_they_were_put_and_never_in_part() {
        let mut bytes = Vec::new();
        put(&mut bytes, &7_u16, b"abc");
        put(&mut bytes, &8_u16, b"");
        assert_eq!(bytes, [2, 0, 0, 0, 7, 0, 3, 0, 0, 0, 97, 98, 99, 2, 0, 0, 0, 8, 0, 0, 0, 0, 0]);
        let mut rest = &bytes[..];
        assert_eq!(take::<u16>(&mut rest), Ok((7, &b"abc"[..])));
        assert_eq!(take::<u16>(&mut rest), Ok((8, &b""[..])));
        assert_eq!((rest, take::<u16>(&mut rest)), (&[][..], Err(CodecError::Malformed)));
        for length in 0..13 {
            assert!(take::<u16>(&mut &bytes[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(take::<u16>(&mut &vec![255; 64][..]), Err(CodecError::Malformed));
        assert_eq!(take::<u8>(&mut &bytes[..]), Err(CodecError::Trailing));
    }
}
