//! How numbers and text are written: the writing half of the format that `decode` reads.
//!
//! A number below 248 is one byte. A larger one is 247 plus the count of its bytes, and then those, least first. There is one
//! encoding of each number, so that equal bytes and equal records are the same thing.

/// The first byte value that announces further bytes.
pub(super) const SHORT: u8 = 248;

/// The most bytes that the fixed part of a record takes: a tag and seven numbers of nine bytes.
const FIXED_MAX: usize = 64;

/// Bytes being written.
#[derive(Clone, Default)]
pub(super) struct Page {
    bytes: Vec<u8>,
}

impl Page {
    /// An empty page with room for so many bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// What was written.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// How much was written.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a record with `tag`.
    #[inline(always)]
    pub(super) fn pen(&mut self, tag: u8) -> Pen<'_> {
        self.pen_on().byte(tag)
    }

    /// Goes on with a record.
    #[inline(always)]
    pub(super) fn pen_on(&mut self) -> Pen<'_> {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; FIXED_MAX]);
        Pen { page: &mut self.bytes, at }
    }

    /// Adds bytes as they are.
    #[inline(always)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds one number; a [`Pen`] is faster where several follow a tag.
    pub(super) fn number(&mut self, value: u64) {
        self.pen_on().number(value).end();
    }

    /// Adds text with its length.
    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    /// Adds zeros up to a multiple of `unit`.
    pub(super) fn pad(&mut self, unit: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(unit), 0);
    }

    /// Forgets the first `count` bytes that were written.
    pub(super) fn forget(&mut self, count: usize) {
        self.bytes.drain(..count);
    }
}

/// Writes the fixed part of one record, straight into the page, which is longer by [`FIXED_MAX`] for as long.
pub(super) struct Pen<'a> {
    page: &'a mut Vec<u8>,
    /// Where the next byte goes.
    at: usize,
}

impl Pen<'_> {
    /// Adds a number.
    #[inline(always)]
    pub(super) fn number(mut self, value: u64) -> Self {
        let room: &mut [u8; 9] = self.page[self.at..].first_chunk_mut().expect("a record's fixed part has room");
        if value < u64::from(SHORT) {
            room[0] = value as u8;
            self.at += 1;
            return self;
        }
        let count = 8 - value.leading_zeros() as u8 / 8;
        room[0] = SHORT - 1 + count;
        // Eight bytes whatever the count: what follows writes over those beyond it.
        room[1..].copy_from_slice(&value.to_le_bytes());
        self.at += 1 + usize::from(count);
        self
    }

    /// Adds a number that may be negative, the small ones of either sign in few bytes.
    #[inline(always)]
    pub(super) fn signed(self, value: i64) -> Self {
        self.number((value << 1 ^ value >> 63) as u64)
    }

    /// Adds one byte.
    #[inline(always)]
    pub(super) fn byte(mut self, value: u8) -> Self {
        self.page[self.at] = value;
        self.at += 1;
        self
    }

    /// Ends the fixed part.
    #[inline(always)]
    pub(super) fn end(self) {
        self.page.truncate(self.at);
    }
}
