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

/// How many idle buffers a pool keeps of each class.
const POOL_LENGTH_MAX: usize = 32;

/// The classes of buffers, by the capacity that each has at least: a buffer that had to grow would be copied for it, and a large
/// one under a small frame would be memory held for nothing. The last is made as large as is asked.
const CLASSES: [usize; 4] = [0, 512, 2048, SECTOR_SIZE];

/// Immutable, reference-counted bytes.
#[derive(Clone)]
pub struct Frame {
    buffer: Arc<Vec<u8>>,
    /// Where the bytes begin in the buffer, in the high half, and how many they are, in the low; and in the highest bit whether they
    /// were sealed here. One word and not more, so that a frame is passed in two registers: frames are moved many times between a
    /// process and its world.
    place: u64,
}

/// In a frame's place: its bytes are a header and a body whose checksums this program made.
const SEALED: u64 = 1 << 63;

impl Frame {
    /// A frame over the whole of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 2 GiB or longer.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::whole(Arc::new(bytes))
    }

    #[inline]
    fn whole(buffer: Arc<Vec<u8>>) -> Self {
        let length = i32::try_from(buffer.len()).expect("a frame is shorter than 2 GiB");
        Self { buffer, place: length.unsigned_abs().into() }
    }

    /// Whether these are the very bytes that were sealed, in this program and not in another: frames are immutable, so that their
    /// checksums hold still. Nothing that came from a disk or a socket is.
    #[inline]
    pub(crate) fn is_sealed(&self) -> bool {
        self.place & SEALED != 0
    }

    #[inline]
    fn start(&self) -> usize {
        ((self.place & !SEALED) >> 32) as usize
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
    /// If it is 2 GiB or longer.
    #[inline]
    pub fn finish(mut self) -> Frame {
        if self.stale {
            self.bytes();
        }
        Frame::whole(self.buffer)
    }

    /// The frame, whose bytes are a header that was sealed over the rest.
    #[inline]
    pub(crate) fn finish_sealed(self) -> Frame {
        let mut frame = self.finish();
        frame.place |= SEALED;
        frame
    }
}

/// Buffers that were frames and can be frames again. A clone of a pool is an empty pool.
#[derive(Default)]
pub struct FramePool {
    /// The small buffer to use next: a process that answers what it gets needs no other. Held by nobody else, as all here.
    spare: Option<Arc<Vec<u8>>>,
    /// By class.
    idle: [Vec<Arc<Vec<u8>>>; CLASSES.len()],
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
        match self.spare.take().or_else(|| self.idle[0].pop()) {
            Some(buffer) => FrameBuilder { buffer, stale: true },
            None => FrameBuilder { buffer: Arc::default(), stale: false },
        }
    }

    /// An empty builder with room for `length` bytes, from an idle buffer if there is one of its class.
    pub fn builder_of(&mut self, length: usize) -> FrameBuilder {
        let class = CLASSES.iter().position(|capacity| length <= *capacity).unwrap_or(CLASSES.len() - 1);
        if let Some(buffer) = self.idle[class].pop() {
            let mut builder = FrameBuilder { buffer, stale: true };
            if builder.buffer.capacity() < length {
                builder.bytes().reserve_exact(length);
            }
            return builder;
        }
        if class == 0 {
            return self.builder();
        }
        FrameBuilder { buffer: Arc::new(Vec::with_capacity(length.max(CLASSES[class]))), stale: false }
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
        if buffer.capacity() < CLASSES[1] && self.spare.is_none() {
            self.spare = Some(buffer);
        } else {
            self.keep(buffer);
        }
    }

    fn keep(&mut self, buffer: Arc<Vec<u8>>) {
        let class = CLASSES.iter().rposition(|capacity| buffer.capacity() >= *capacity).unwrap_or(0);
        if self.idle[class].len() < POOL_LENGTH_MAX {
            self.idle[class].push(buffer);
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
        assert!(pool.spare.is_none() && pool.idle.iter().all(Vec::is_empty));
        pool.recycle(held);
        assert!(pool.spare.is_some());
        assert!(pool.builder().bytes().is_empty());
        pool.recycle(Frame::new(vec![1, 2, 3]));
        assert!(pool.builder().finish().is_empty());
    }

    #[test]
    fn only_the_very_bytes_that_were_sealed_are_sealed() {
        let mut pool = FramePool::default();
        let mut builder = pool.builder();
        builder.bytes().extend_from_slice(b"sealed");
        let sealed = builder.finish_sealed();
        assert!(sealed.is_sealed() && sealed.clone().is_sealed());
        assert_eq!((&sealed[..], &sealed.slice(1, 3)[..]), (&b"sealed"[..], &b"ea"[..]));
        assert!(!sealed.slice(0, 6).is_sealed() && !Frame::new(sealed.to_vec()).is_sealed());
        assert_eq!(sealed, Frame::new(sealed.to_vec()), "what was sealed is equal to its copy");
        pool.recycle(sealed);
        assert!(!pool.builder().finish().is_sealed());
    }

    #[test]
    fn a_buffer_serves_frames_of_its_class_again_and_does_not_grow_under_them() {
        let mut pool = FramePool::default();
        for length in [0, 1, 128, 512, 513, 2048, 2049, 4096, 5000, 20_000] {
            let mut builder = pool.builder_of(length);
            let before = builder.bytes().capacity();
            builder.bytes().resize(length, 7);
            assert!(before >= length && builder.bytes().capacity() == before, "{length}");
            pool.recycle(builder.finish());
            let kept = |pool: &FramePool| pool.idle.iter().map(Vec::len).sum::<usize>();
            let idle = kept(&pool);
            let mut again = pool.builder_of(length.min(SECTOR_SIZE));
            assert!(again.bytes().is_empty() && (length == 0 || kept(&pool) == idle - 1), "{length}");
            pool.recycle(again.finish());
        }
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_bound() {
        let mut pool = FramePool::default();
        for length in 0..3 * POOL_LENGTH_MAX {
            pool.recycle(Frame::new(vec![0; 600 + length]));
            pool.recycle(Frame::new(vec![0; length]));
        }
        assert!(pool.idle.iter().all(|buffers| buffers.len() <= POOL_LENGTH_MAX));
    }
}
