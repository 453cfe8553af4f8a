//! What tells a damaged trace from one that says something else: checksums of all its bytes.
//!
//! They stand in the header: how many bytes of records follow it, a checksum of each block of them, and one of the header
//! itself up to there. They are made when a kept trace is handed out, so that writing records costs nothing more, and the digest
//! does not cover them.

use super::{TraceError, cursor::Cursor, encode::Page};

/// How many bytes of records share a checksum: damage is located to so many.
const BLOCK: usize = 64 * 1024;

/// How long a checksum is.
const SUM: usize = 16;

/// The checksums as a trace states them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal<'a> {
    /// How many bytes of records there are.
    length: u64,
    /// A checksum for each block of them.
    sums: &'a [u8],
    header_sum: [u8; SUM],
    /// How long the header is, without its own checksum.
    header_length: usize,
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash is longer")
}

impl<'a> Seal<'a> {
    /// Ends a header with the checksums of it and of `records`.
    pub(super) fn write(page: &mut Page, records: &[u8]) {
        page.bytes(&(records.len() as u64).to_le_bytes());
        for block in records.chunks(BLOCK) {
            page.bytes(&sum(block));
        }
        let header_sum = sum(page.written());
        page.bytes(&header_sum);
    }

    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, TraceError> {
        let length = u64::from_le_bytes(cursor.array()?);
        let sums = cursor.bytes(length.div_ceil(BLOCK as u64).saturating_mul(SUM as u64))?;
        let header_length = cursor.at();
        Ok(Self { length, sums, header_sum: cursor.array()?, header_length })
    }

    /// Whether all of `bytes`, a whole trace, are what was written.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), TraceError> {
        let damaged = |from: usize, to: usize| TraceError::Damaged { from: from as u64, to: to as u64 };
        let start = self.header_length + SUM;
        if sum(&bytes[..self.header_length]) != self.header_sum {
            return Err(damaged(0, start));
        }
        let records = &bytes[start..];
        for (number, (block, expected)) in records.chunks(BLOCK).zip(self.sums.chunks(SUM)).enumerate() {
            let begin = number * BLOCK;
            let block = &block[..block.len().min(usize::try_from(self.length).unwrap_or(usize::MAX) - begin)];
            // The last block of a part of a trace is no whole one, and not what is wrong with it.
            let is_whole = block.len() == BLOCK || begin as u64 + block.len() as u64 == self.length;
            if is_whole && sum(block) != *expected {
                return Err(damaged(start + begin, start + begin + block.len()));
            }
        }
        match (records.len() as u64).cmp(&self.length) {
            std::cmp::Ordering::Less => Err(TraceError::Truncated { length: bytes.len() as u64 }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => {
                let offset = start as u64 + self.length;
                Err(TraceError::Malformed { offset, what: "bytes after the end" })
            }
        }
    }
}
