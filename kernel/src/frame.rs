//! Frames: reference-counted bytes, and the pool that makes and reuses them.
//!
//! A frame is immutable once made. Cloning it, slicing it, sending it to five nodes and writing what arrived to a disk copy
//! nothing.

use alloc::{sync::Arc, vec::Vec};
use core::{fmt, ops::Deref};

/// The unit of a disk's offsets and lengths, in bytes.
pub const SECTOR_SIZE: usize = 4096;

/// Frames whose buffers are larger than this are not kept for reuse, so that one large message does not pin memory.
const POOLED_CAPACITY_MAX: usize = 64 * 1024;

/// How many idle buffers a pool keeps.
const POOL_LENGTH_MAX: usize = 64;

/// Immutable, reference-counted bytes.
#[derive(Clone)]
pub struct Frame {
    buffer: Arc<Vec<u8>>,
    /// Where the bytes begin in the buffer, in the high half, and how many they are, in the low. One word and not two, so
    /// that a frame is passed in two registers: frames are moved many times between a process and its world.
    place: u64,
}

impl Frame {
    /// A frame over the whole of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is longer than `u32::MAX`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::whole(Arc::new(bytes))
    }

    #[inline]
    fn whole(buffer: Arc<Vec<u8>>) -> Self {
        let length = u32::try_from(buffer.len()).expect("a frame is shorter than 4 GiB");
        Self { buffer, place: u64::from(length) }
    }

    #[inline]
    fn start(&self) -> usize {
        (self.place >> 32) as usize
    }

    #[inline]
    fn length(&self) -> usize {
        self.place as u32 as usize
    }

    fn at(&self, start: usize, length: usize) -> Self {
        Self { buffer: Arc::clone(&self.buffer), place: (start as u64) << 32 | length as u64 }
    }

    /// The frame's bytes `start..end`, sharing the buffer.
    ///
    /// # Panics
    /// If the range is not within the frame.
    pub fn slice(&self, start: usize, end: usize) -> Self {
        assert!(start <= end && end <= self.length(), "a slice lies within its frame");
        self.at(self.start() + start, end - start)
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer[self.start()..][..self.length()]
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Frame {}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.len())
    }
}

/// A frame being written.
pub struct FrameBuilder {
    buffer: Arc<Vec<u8>>,
    /// Whether the buffer still holds the bytes of an earlier frame.
    stale: bool,
}

impl FrameBuilder {
    /// The bytes so far, to append to or to patch.
    #[inline]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        let bytes = Arc::get_mut(&mut self.buffer).expect("a builder shares its buffer with nobody");
        if self.stale {
            bytes.clear();
            self.stale = false;
        }
        bytes
    }

    /// The frame.
    ///
    /// # Panics
    /// If it is longer than `u32::MAX`.
    #[inline]
    pub fn finish(mut self) -> Frame {
        if self.stale {
            self.bytes();
        }
        Frame::whole(self.buffer)
    }
}

/// Buffers that were frames and can be frames again. A clone of a pool is an empty pool.
#[derive(Default)]
pub struct FramePool {
    /// The buffer to use next: a process that answers what it gets needs no other. Held by nobody else, as all here.
    spare: Option<Arc<Vec<u8>>>,
    idle: Vec<Arc<Vec<u8>>>,
}

impl Clone for FramePool {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl FramePool {
    /// An empty builder, from an idle buffer if there is one.
    #[inline]
    pub fn builder(&mut self) -> FrameBuilder {
        match self.spare.take().or_else(|| self.idle.pop()) {
            Some(buffer) => FrameBuilder { buffer, stale: true },
            None => FrameBuilder { buffer: Arc::default(), stale: false },
        }
    }

    /// Takes the frame's buffer for reuse if nothing else holds it.
    ///
    /// The bytes are cleared when they are next written: to look whether a buffer is shared is cheap, to lay hands on it is
    /// not.
    #[inline(always)]
    #[expect(clippy::disallowed_methods, reason = "a buffer made anew and one used again hold the same bytes")]
    pub fn recycle(&mut self, frame: Frame) {
        let Frame { buffer, .. } = frame;
        if Arc::strong_count(&buffer) > 1 || buffer.capacity() > POOLED_CAPACITY_MAX {
            return;
        }
        if self.spare.is_none() {
            self.spare = Some(buffer);
        } else if self.idle.len() < POOL_LENGTH_MAX {
            self.idle.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_frame_that_is_still_held_is_not_recycled() {
        let mut pool = FramePool::default();
        let frame = Frame::new(vec![1, 2, 3]);
        let held = frame.clone();
        pool.recycle(frame);
        pool.builder().bytes().push(9);
        assert_eq!(&held[..], &[1, 2, 3]);
        assert!(pool.spare.is_none() && pool.idle.is_empty());
        pool.recycle(held);
        assert!(pool.spare.is_some());
        assert!(pool.builder().bytes().is_empty());
        pool.recycle(Frame::new(vec![1, 2, 3]));
        assert!(pool.builder().finish().is_empty());
    }
}
