//! A file that is being made: under another name, in the same folder, until it is whole.
//!
//! Invariant: it is locked from before its first byte until it has its name or is gone. One that nobody has locked is of a maker that was
//! killed, and goes when a file of the same name is made. Who makes one proceeds only if, once it is locked, it still has its own
//! name: whoever took it for abandoned in the moment before may have removed it. Were one removed all the same, where locks are not seen
//! by all, its maker would make no file, and say so.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::ControlFlow,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

use super::{DataFileError, OPENS_MAX, folder_of, is_named, rename, system};
use crate::runner;

/// How much is written at once when a file is filled.
const CHUNK: usize = 1 << 20;

/// How much is written between two syncs when a file is filled: so that how far it is says how far it is durable.
const SYNC_EVERY: u64 = 64 * CHUNK as u64;

const SUFFIX: &str = ".partial";

/// How many digits the number in its name has.
const DIGITS: usize = 32;

/// A file that is being made. It goes with this, unless it is given its name.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    /// An empty one that is to become `path`.
    pub(super) fn create(path: &Path) -> Result<Self, DataFileError> {
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).to_owned();
        for _ in 0..OPENS_MAX {
            let name = name(path)?;
            let file = options.open(&name).map_err(|error| system("create", &name, error))?;
            let partial = Self { file, path: name };
            match flock(&partial.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_named(&partial.file, &partial.path) => return Ok(partial),
                // It was taken for an abandoned one.
                Ok(()) | Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(system("lock", &partial.path, error.into())),
            }
        }
        Err(DataFileError::Unsettled(path.to_owned()))
    }

    /// Writes all of it, and makes that durable.
    pub(super) fn fill(
        &mut self,
        size: u64,
        blocks: &[(u64, Vec<u8>)],
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, DataFileError> {
        let Self { file, path } = self;
        let zeros = vec![0; CHUNK];
        let mut left = size;
        while left > 0 {
            let now = left.min(CHUNK as u64);
            file.write_all(&zeros[..now as usize]).map_err(|error| system("write", path, error))?;
            left -= now;
            if (size - left).is_multiple_of(SYNC_EVERY) {
                file.sync_data().map_err(|error| system("sync", path, error))?;
            }
            if progress(size - left).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        for (offset, bytes) in blocks {
            file.write_all_at(bytes, *offset).map_err(|error| system("write", path, error))?;
        }
        file.sync_all().map_err(|error| system("sync", path, error)).map(ControlFlow::Continue)
    }

    /// Gives the file its name, unless there is one of that name by now, and makes the name durable.
    pub(super) fn give_name(self, path: &Path) -> Result<(), DataFileError> {
        // Opened first: once the file has its name, syncing alone can fail.
        let folder = File::open(folder_of(path)).map_err(|error| system("open the folder of", path, error))?;
        rename(&self.path, path)?;
        folder.sync_all().map_err(|error| DataFileError::NameUnsynced(path.to_owned(), error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What is left of a failure says nothing that the error does not; and one that has its name has this one no more.
        let _ = fs::remove_file(&self.path);
        // Said and not left to the end of the file: a process that begins just now has it open for a moment, too.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Removes what those left who were killed while they made a file of that name. What cannot be removed stays: it is nobody's harm.
pub(super) fn remove_abandoned(path: &Path) {
    let Some(of) = path.file_name() else { return };
    let found = fs::read_dir(folder_of(path)).into_iter().flatten().flatten();
    for entry in found.filter(|entry| is_partial(&entry.file_name(), of)) {
        let _ = remove_unlocked(&entry.path());
    }
}

fn remove_unlocked(path: &Path) -> io::Result<()> {
    // No link is followed, and nothing that blocks is waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    if file.metadata()?.is_file() && is_named(&file, path) { fs::remove_file(path) } else { Ok(()) }
}

/// A name that nobody else draws; processes in containers have the same numbers. In the same folder: a name is given within one file
/// system.
fn name(path: &Path) -> Result<PathBuf, DataFileError> {
    let number = runner::random().map_err(|error| system("draw a number for", path, error))?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:0DIGITS$x}{SUFFIX}"));
    Ok(PathBuf::from(name))
}

/// Whether a file of that name is one that was to become `of`.
fn is_partial(name: &OsStr, of: &OsStr) -> bool {
    let rest = name.as_bytes().strip_prefix(of.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
    let digits = rest.and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_to_become_a_file_is_known_by_its_name_and_nothing_else_is() {
        let drawn = name(Path::new("folder/r0")).unwrap();
        let is_of_r0 = |name: &str| is_partial(OsStr::new(name), OsStr::new("r0"));
        assert!(is_partial(drawn.file_name().unwrap(), OsStr::new("r0")), "{}", drawn.display());
        let number = "0123456789abcdef".repeat(2);
        assert!(is_of_r0(&format!("r0.{number}.partial")));
        for other in [
            format!("r1.{number}.partial"),
            format!("r0.{number}.partial2"),
            format!("r0.{number}0.partial"),
            format!("r0{number}.partial"),
            format!("r0.{}.partial", number.to_uppercase()),
            "r0.partial".to_owned(),
            "r0".to_owned(),
        ] {
            assert!(!is_of_r0(&other), "{other}");
        }
    }

    #[test]
    fn only_one_that_nobody_has_locked_is_removed() {
        let folder = std::env::temp_dir().join(format!("chronon-partial-{}", std::process::id()));
        // Of a process that was killed, and had the same number.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("r0");
        let making = Partial::create(&path).unwrap();
        let abandoned = name(&path).unwrap();
        fs::write(&abandoned, b"of one who was killed").unwrap();
        let link = name(&path).unwrap();
        std::os::unix::fs::symlink(folder.join("elsewhere"), &link).unwrap();
        remove_abandoned(&path);
        assert!(making.path.exists() && !abandoned.exists() && link.is_symlink());
        let made = making.path.clone();
        drop(making);
        assert!(!made.exists(), "it goes with its maker");
        fs::remove_dir_all(folder).unwrap();
    }
}
