//! How numbers and text are written: the writing half of the format that `decode` reads.
//!
//! A number below 248 is one byte. A larger one is 247 plus the count of its bytes, and then those, least first. There is one
//! encoding of each number, so that equal bytes and equal records are the same thing.

/// The first byte value that announces further bytes.
pub(super) const SHORT: u8 = 248;

/// The most bytes that the fixed part of a record takes: a tag and seven numbers of nine bytes.
const FIXED_MAX: usize = 64;

/// How much a page grows at once.
const GROWTH: usize = 16 * 1024;

/// Bytes being written. The buffer is longer than what was written, so that most writes find room without asking for it.
#[derive(Clone, Default)]
pub(super) struct Page {
    buffer: Vec<u8>,
    used: usize,
}

impl Page {
    /// An empty page with capacity for so many bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { buffer: Vec::with_capacity(capacity), used: 0 }
    }

    /// What was written.
    pub(super) fn written(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    /// How much was written.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Begins a record with `tag`.
    #[inline(always)]
    pub(super) fn pen(&mut self, tag: u8) -> Pen<'_> {
        self.reserve(FIXED_MAX);
        let room: &mut [u8; FIXED_MAX] = self.buffer[self.used..].first_chunk_mut().expect("room was reserved");
        room[0] = tag;
        Pen { room, at: 1, used: &mut self.used }
    }

    /// Adds bytes as they are.
    #[inline(always)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.buffer[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }

    /// Adds so many bytes as they are; how many is known to the compiler.
    #[inline(always)]
    pub(super) fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.reserve(N);
        let room: &mut [u8; N] = self.buffer[self.used..].first_chunk_mut().expect("room was reserved");
        *room = bytes;
        self.used += N;
    }

    /// Adds four bytes and then others.
    #[inline(always)]
    pub(super) fn head_and_bytes(&mut self, head: u32, bytes: &[u8]) {
        let length = 4 + bytes.len();
        self.reserve(length);
        let (start, body) = self.buffer[self.used..self.used + length].split_at_mut(4);
        start.copy_from_slice(&head.to_le_bytes());
        body.copy_from_slice(bytes);
        self.used += length;
    }

    /// Adds one number; a [`Pen`] is faster where several follow a tag.
    pub(super) fn number(&mut self, value: u64) {
        self.pen_on().number(value).end();
    }

    /// Goes on with a record.
    pub(super) fn pen_on(&mut self) -> Pen<'_> {
        self.reserve(FIXED_MAX);
        let room = self.buffer[self.used..].first_chunk_mut().expect("room was reserved");
        Pen { room, at: 0, used: &mut self.used }
    }

    /// Adds text with its length.
    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    /// Adds zeros up to a multiple of `unit`.
    pub(super) fn pad(&mut self, unit: usize) {
        let padding = self.used.next_multiple_of(unit) - self.used;
        self.reserve(padding);
        self.buffer[self.used..self.used + padding].fill(0);
        self.used += padding;
    }

    /// Forgets the first `count` bytes that were written.
    pub(super) fn forget(&mut self, count: usize) {
        self.buffer.copy_within(count..self.used, 0);
        self.used -= count;
    }

    #[inline(always)]
    fn reserve(&mut self, more: usize) {
        if self.buffer.len() - self.used < more {
            self.grow(more);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        let length = self.used + more.max(GROWTH);
        self.buffer.resize(length, 0);
    }
}

/// Writes the fixed part of one record.
pub(super) struct Pen<'a> {
    room: &'a mut [u8; FIXED_MAX],
    at: usize,
    used: &'a mut usize,
}

impl Pen<'_> {
    /// Adds a number.
    #[inline(always)]
    pub(super) fn number(mut self, value: u64) -> Self {
        if value < u64::from(SHORT) {
            self.room[self.at] = value as u8;
            self.at += 1;
            return self;
        }
        let count = 8 - value.leading_zeros() as u8 / 8;
        self.room[self.at] = SHORT - 1 + count;
        // Eight bytes whatever the count: what follows writes over those beyond it.
        self.room[self.at + 1..self.at + 9].copy_from_slice(&value.to_le_bytes());
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
        self.room[self.at] = value;
        self.at += 1;
        self
    }

    /// Ends the fixed part.
    #[inline(always)]
    pub(super) fn end(self) {
        *self.used += self.at;
    }
}
