//! Memory that the system reads and writes: such as direct I/O takes, which begins at a sector and has whole sectors, and buffers of
//! any kind that are lent to it for a while. None of it moves.
#![expect(
    unsafe_code,
    reason = "the system reads and writes this memory by its address, while nobody here holds a reference to it"
)]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    mem::ManuallyDrop,
    ops::Range,
    ptr::NonNull,
};

use chronon::frame::SECTOR_SIZE;

/// Bytes that the system may be told the address of. Freed when dropped, unless [`Memory::leak`] was called.
pub(super) struct Memory {
    start: NonNull<u8>,
    length: usize,
    leaked: bool,
}

// SAFETY: it is the only owner of its bytes, as a `Box` of them would be.
unsafe impl Send for Memory {}

impl Memory {
    /// Zeros.
    ///
    /// # Panics
    /// If `length` is no positive multiple of the sector.
    pub(super) fn zeroed(length: usize) -> Self {
        let layout = Self::layout(length);
        // SAFETY: the layout's size is not zero: `layout` asserts it.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, length, leaked: false }
    }

    fn layout(length: usize) -> Layout {
        assert!(length > 0 && length.is_multiple_of(SECTOR_SIZE), "direct I/O goes by the sector");
        Layout::from_size_align(length, SECTOR_SIZE).expect("an operation is shorter than half of all addresses")
    }

    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// The address of a range's first byte, for the system.
    ///
    /// # Panics
    /// If the range does not lie within.
    pub(super) fn address(&self, range: &Range<usize>) -> *mut u8 {
        assert!(range.start <= range.end && range.end <= self.length, "a range lies within its memory");
        // SAFETY: the offset lies within the allocation, as was just asserted.
        unsafe { self.start.as_ptr().add(range.start) }
    }

    /// A range's bytes.
    ///
    /// # Safety
    /// The system reads and writes nothing of the range as long as the reference lives.
    ///
    /// # Panics
    /// If the range does not lie within.
    pub(super) unsafe fn bytes(&mut self, range: Range<usize>) -> &mut [u8] {
        let address = self.address(&range);
        // SAFETY: the range lies within the allocation, whose bytes were initialised when it was made; nobody here has another
        // reference to them, for `self` is borrowed, and the system keeps away, as the caller says.
        unsafe { std::slice::from_raw_parts_mut(address, range.len()) }
    }

    /// Is never freed: the system may still write to it.
    pub(super) const fn leak(&mut self) {
        self.leaked = true;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: allocated by `zeroed` with the same layout, and freed here alone.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.length)) };
        }
    }
}

/// Bytes that are with the system, for it to read those that there are or to fill the room behind them. Unless they are had back,
/// they are never freed: the system may still use them.
pub(super) struct Lent {
    start: NonNull<u8>,
    length: usize,
    capacity: usize,
}

impl Lent {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let mut bytes = ManuallyDrop::new(bytes);
        let (length, capacity) = (bytes.len(), bytes.capacity());
        let start = NonNull::new(bytes.as_mut_ptr()).expect("a vector's bytes have an address");
        Self { start, length, capacity }
    }

    /// The address and the number of the bytes from `from` on, for the system to read.
    ///
    /// # Panics
    /// If there are not so many.
    pub(super) fn rest(&self, from: usize) -> (*const u8, usize) {
        assert!(from <= self.length, "what is left lies within");
        // SAFETY: the offset lies within the allocation, as was just asserted.
        (unsafe { self.start.as_ptr().add(from) }, self.length - from)
    }

    /// The address and the size of the room behind the bytes, for the system to fill.
    pub(super) fn room(&self) -> (*mut u8, usize) {
        // SAFETY: a vector has no more bytes than room for them.
        (unsafe { self.start.as_ptr().add(self.length) }, self.capacity - self.length)
    }

    /// The bytes, and as many more as the system filled.
    ///
    /// # Safety
    /// The system will not use them any more, and has filled that many.
    ///
    /// # Panics
    /// If there is no room for so many.
    pub(super) unsafe fn back(self, filled: usize) -> Vec<u8> {
        assert!(filled <= self.capacity - self.length, "the system keeps to the room that it was told of");
        // SAFETY: these are the parts of the vector that `new` took apart, which is put together here once, since `self` is gone
        // then; the bytes that were filled are initialised, as the caller says, and within its capacity.
        unsafe { Vec::from_raw_parts(self.start.as_ptr(), self.length + filled, self.capacity) }
    }
}
