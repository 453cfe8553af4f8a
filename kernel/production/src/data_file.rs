//! The data file: made once with all of its bytes, opened by one process at a time.
//!
//! A file is written whole before it has its name, so that a file that exists is complete; the name is durable before
//! [`DataFile::create`] returns. What a maker that was killed has left goes when a file of that name is made. Its zeros are written and
//! not only reserved: a durable write into extents that were never written takes twice as long, because the file system must then log
//! that they are.
//!
//! The lock belongs to the open file and goes with the process, however that ends. Who looks shares it with others who look,
//! and with nobody who writes, unless he takes what he sees for what it is: [`DataFile::open_in_motion`]. Deliberately absent: any
//! knowledge of what the bytes mean; and writing without the lock.

mod error;
mod lock;
mod partial;

use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use chronon::frame::SECTOR_SIZE;
use rustix::{
    fs::{CWD, FlockOperation, RenameFlags, renameat_with, statvfs},
    io::Errno,
    process::{Resource, getrlimit},
};

pub use self::error::DataFileError;
pub(crate) use self::error::RECOVER;
use self::{error::system, partial::Partial};

/// How often a file is opened that is no longer the one of its name when it is locked.
const OPENS_MAX: u32 = 100;

/// An open data file, locked against every other process and every other [`DataFile`].
#[derive(Debug)]
pub struct DataFile {
    file: File,
    path: PathBuf,
    size: u64,
}

impl DataFile {
    /// Makes a file of `size` bytes: zeros, but for `blocks` at their offsets. Durable, name and all, when it returns; if it
    /// fails, it has made no file of that name, but for [`DataFileError::NameUnsynced`].
    ///
    /// # Errors
    /// If a file of that name exists, or if the system refuses: no room, for one.
    ///
    /// # Panics
    /// If `size` is no positive multiple of the sector, or if a block lies beyond it.
    pub fn create(path: &Path, size: u64, blocks: &[(u64, Vec<u8>)]) -> Result<(), DataFileError> {
        Self::create_with(path, size, blocks, &mut |_| ControlFlow::Continue(()))
    }

    /// Like [`DataFile::create`]; `progress` is told again and again how many bytes are written, and may put an end to it.
    ///
    /// # Errors
    /// As [`DataFile::create`], and [`DataFileError::Stopped`] if `progress` said so.
    ///
    /// # Panics
    /// As [`DataFile::create`].
    pub fn create_with(
        path: &Path,
        size: u64,
        blocks: &[(u64, Vec<u8>)],
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), DataFileError> {
        assert!(size > 0 && size.is_multiple_of(SECTOR_SIZE as u64), "a data file has whole sectors");
        let inside =
            |(offset, bytes): &(u64, Vec<u8>)| offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= size);
        assert!(blocks.iter().all(inside), "a block lies within its file");
        if path.symlink_metadata().is_ok() {
            return Err(DataFileError::Exists(path.to_owned()));
        }
        within_limit(path, size)?;
        partial::remove_abandoned(path);
        // Asked first, so that a file that is much too large does not fill the disk until it fails.
        let room = statvfs(folder_of(path)).map(|system| system.f_bavail.saturating_mul(system.f_frsize));
        if room.is_ok_and(|room| room < size) {
            return Err(DataFileError::NoSpace(path.to_owned(), size));
        }
        let made = Partial::create(path).and_then(|mut partial| match partial.fill(size, blocks, progress)? {
            ControlFlow::Continue(()) => partial.give_name(path),
            ControlFlow::Break(()) => Err(DataFileError::Stopped(path.to_owned())),
        });
        made.map_err(|error| error.about_room(path, size))
    }

    /// Opens the file for reading and writing, and locks it.
    ///
    /// # Errors
    /// If there is no such file, if it cannot be a data file by its size or this process may not write to all of it, or if another
    /// process has it open.
    pub fn open(path: &Path) -> Result<Self, DataFileError> {
        let options = OpenOptions::new().read(true).write(true).to_owned();
        let opened = Self::open_with(path, &options, FlockOperation::NonBlockingLockExclusive)?;
        if opened.size == 0 || !opened.size.is_multiple_of(SECTOR_SIZE as u64) {
            return Err(DataFileError::Size(path.to_owned(), opened.size));
        }
        within_limit(path, opened.size)?;
        Ok(opened)
    }

    /// Opens the file for reading alone, whatever its size: for looking into it, never for serving from it. Others may look
    /// too; nobody can open it to write as long as it is open.
    ///
    /// # Errors
    /// If there is no such file, or if a process has it open that may write to it.
    pub fn open_to_read(path: &Path) -> Result<Self, DataFileError> {
        Self::open_with(path, OpenOptions::new().read(true), FlockOperation::NonBlockingLockShared)
    }

    /// Opens the file for reading alone, under the nose of a process that may write to it: for looking, and no conclusion. Each read
    /// may see a write half done, and two reads see two times. Nobody is kept from anything.
    ///
    /// # Errors
    /// If there is no such file, or if the system refuses.
    pub fn open_in_motion(path: &Path) -> Result<Self, DataFileError> {
        Self::open_unlocked(path, OpenOptions::new().read(true))
    }

    /// Opens the file for reading alone, whatever its size, and locks it against everybody, who looks too: for deciding that it is to
    /// be set aside, and doing it before that can have changed. Through a link it has the name of the file that the link leads to, which
    /// is what is set aside.
    ///
    /// # Errors
    /// If there is no such file, or if a process has it open.
    pub fn open_to_set_aside(path: &Path) -> Result<Self, DataFileError> {
        let resolve = || fs::canonicalize(path).map_err(|error| unopened(path, error));
        let resolved = if path.is_symlink() { resolve()? } else { path.to_owned() };
        Self::open_with(&resolved, OpenOptions::new().read(true), FlockOperation::NonBlockingLockExclusive)
    }

    /// Gives the file another name, under which nothing is replaced. The folder is not synced: whoever makes a file in its place does.
    ///
    /// # Errors
    /// If there is a file of that name, or if the system refuses.
    pub fn set_aside(self, kept: &Path) -> Result<(), DataFileError> {
        rename(&self.path, kept)
    }

    fn open_with(path: &Path, options: &OpenOptions, how: FlockOperation) -> Result<Self, DataFileError> {
        Self::settled(path, || {
            let opened = Self::open_unlocked(path, options)?;
            lock::wait_for(&opened.file, path, how)?;
            Ok(opened)
        })
    }

    /// Opens again until the file is the one of its name: whoever had the lock may have set the file aside, and made another.
    fn settled(path: &Path, mut open: impl FnMut() -> Result<Self, DataFileError>) -> Result<Self, DataFileError> {
        for _ in 0..OPENS_MAX {
            let opened = open()?;
            if opened.has_its_name() {
                return Ok(opened);
            }
        }
        Err(DataFileError::Unsettled(path.to_owned()))
    }

    /// Whether the file is the one of its name. As long as it is locked it stays so: who renames it has the lock.
    fn has_its_name(&self) -> bool {
        is_named(&self.file, &self.path)
    }

    fn open_unlocked(path: &Path, options: &OpenOptions) -> Result<Self, DataFileError> {
        let file = options.open(path).map_err(|error| unopened(path, error))?;
        let metadata = file.metadata().map_err(|error| system("look at", path, error))?;
        if !metadata.is_file() {
            return Err(DataFileError::NoFile(path.to_owned()));
        }
        Ok(Self { size: metadata.len(), file, path: path.to_owned() })
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes, which never changes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Any file as if it were one: for tests of what happens when the system refuses.
    #[cfg(test)]
    pub(crate) fn over(file: File, size: u64) -> Self {
        Self { file, path: PathBuf::new(), size }
    }
}

/// Renames a file, and replaces none.
fn rename(from: &Path, to: &Path) -> Result<(), DataFileError> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(|error| match error {
        Errno::EXIST => DataFileError::Exists(to.to_owned()),
        _ => system("rename", from, error.into()),
    })
}

/// Whether the file of that name is that one.
fn is_named(file: &File, path: &Path) -> bool {
    let same = |own: fs::Metadata, named: fs::Metadata| (own.dev(), own.ino()) == (named.dev(), named.ino());
    file.metadata().is_ok_and(|own| fs::metadata(path).is_ok_and(|named| same(own, named)))
}

fn unopened(path: &Path, error: io::Error) -> DataFileError {
    match error.kind() {
        io::ErrorKind::NotFound => DataFileError::Missing(path.to_owned()),
        io::ErrorKind::IsADirectory => DataFileError::NoFile(path.to_owned()),
        _ => system("open", path, error),
    }
}

/// Whether this process may write to all of a file of that size. A write beyond what it may is not refused: the system kills who tries.
fn within_limit(path: &Path, size: u64) -> Result<(), DataFileError> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < size => Err(DataFileError::TooLarge(path.to_owned(), size)),
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_until_it_is_set_aside_or_another_has_it() {
        let folder = std::env::temp_dir().join(format!("chronon-named-{}", std::process::id()));
        // Of a process that was killed, and had the same number.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let (path, kept) = (folder.join("r0.chronon"), folder.join("r0.chronon.lost"));
        fs::write(&path, b"the first").unwrap();
        let first = DataFile::open_to_set_aside(&path).unwrap();
        assert!(first.has_its_name());
        fs::rename(&path, &kept).unwrap();
        assert!(!first.has_its_name(), "nobody has it");
        fs::write(&path, b"the second").unwrap();
        assert!(!first.has_its_name(), "another has it");
        assert!(DataFile::open_to_set_aside(&path).unwrap().has_its_name());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_never_is_the_one_of_its_name_is_not_opened_for_ever() {
        let path = Path::new("r0.chronon");
        let mut opened = 0;
        let error = DataFile::settled(path, || {
            opened += 1;
            // Nothing has the name that it has.
            Ok(DataFile::over(File::open("/dev/null").unwrap(), 0))
        });
        let error = error.unwrap_err();
        assert!(error.to_string().starts_with("r0.chronon is another file each time"), "{error}");
        assert_eq!(opened, OPENS_MAX);
    }
}
