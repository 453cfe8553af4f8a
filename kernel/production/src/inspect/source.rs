//! Bytes of a file that may be shorter than it should be, or unreadable in places.

use std::{fmt, io, os::unix::fs::FileExt};

use crate::data_file::DataFile;

/// Why bytes could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The file ends before them.
    Beyond,
    /// The system refused.
    Failed(io::Error),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beyond => f.write_str("the file ends before it"),
            Self::Failed(error) => write!(f, "the disk does not give it: {error}"),
        }
    }
}

/// The `length` bytes at `offset`, all of them or none.
pub(super) fn read(file: &DataFile, offset: u64, length: usize) -> Result<Vec<u8>, Unread> {
    if offset.saturating_add(length as u64) > file.size() {
        return Err(Unread::Beyond);
    }
    let mut bytes = vec![0; length];
    match file.file().read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Unread::Beyond),
        Err(error) => Err(Unread::Failed(error)),
    }
}
