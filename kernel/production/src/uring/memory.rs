//! Memory that direct I/O takes: it begins at a sector, has whole sectors, and does not move.
#![expect(
    unsafe_code,
    reason = "the system reads and writes this memory by its address, while nobody here holds a reference to it"
)]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
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
