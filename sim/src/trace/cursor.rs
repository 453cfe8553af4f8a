//! Reading bytes in order: the reading half of the format that `encode` writes.

use super::{TraceError, encode::SHORT};

/// Bytes and a place in them.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn bytes(&mut self, length: u64) -> Result<&'a [u8], TraceError> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest().get(..length));
        let Some(taken) = taken else {
            return Err(TraceError::Truncated { length: self.bytes.len() as u64 });
        };
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], TraceError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N as u64)?);
        Ok(array)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, TraceError> {
        let bytes = self.sized()?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("text that is not UTF-8"))
    }

    pub(super) fn sized(&mut self) -> Result<&'a [u8], TraceError> {
        let length = self.small()?;
        self.bytes(length.into())
    }

    pub(super) fn number(&mut self) -> Result<u64, TraceError> {
        let [first] = self.array()?;
        if first < SHORT {
            return Ok(first.into());
        }
        let count = first - SHORT + 1;
        let mut bytes = [0; 8];
        bytes[..usize::from(count)].copy_from_slice(self.bytes(count.into())?);
        let value = u64::from_le_bytes(bytes);
        // One encoding of each number: the shortest.
        if bytes[usize::from(count) - 1] == 0 || value < SHORT.into() {
            return Err(self.malformed("a number in more bytes than it needs"));
        }
        Ok(value)
    }

    pub(super) fn signed(&mut self) -> Result<i64, TraceError> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(super) fn small(&mut self) -> Result<u32, TraceError> {
        let value = self.number()?;
        u32::try_from(value).map_err(|_| self.malformed("a length above 4 GiB"))
    }

    pub(super) fn position(&mut self) -> Result<(u8, u32, u32, u64), TraceError> {
        let [purpose] = self.array()?;
        Ok((purpose, self.small()?, self.small()?, self.number()?))
    }

    /// Zeros up to a multiple of `unit`, and then nothing.
    pub(super) fn padding(&mut self, unit: usize) -> Result<(), TraceError> {
        let padding = self.at.next_multiple_of(unit) - self.at;
        if self.bytes(padding as u64)?.iter().any(|byte| *byte != 0) || !self.rest().is_empty() {
            return Err(self.malformed("bytes after the end"));
        }
        Ok(())
    }

    pub(super) fn malformed(&self, what: &'static str) -> TraceError {
        TraceError::Malformed { offset: self.at as u64, what }
    }
}
