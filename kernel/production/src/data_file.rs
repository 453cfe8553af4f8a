//! The data file: made once with all of its bytes, opened by one process at a time.
//!
//! A file is written whole before it has its name, so that a file that exists is complete; the name is durable before
//! [`DataFile::create`] returns. Its zeros are written and not only reserved: a durable write into extents that were never
//! written takes twice as long, because the file system must then log that they are.
//!
//! The lock belongs to the open file and goes with the process, however that ends. Deliberately absent: any knowledge of
//! what the bytes mean; and opening without the lock, but for [`DataFile::open_to_read`].

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use chronon::frame::SECTOR_SIZE;
use rustix::{
    fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with},
    io::Errno,
};

/// How much is written at once when a file is filled.
const CHUNK: usize = 1 << 20;

/// An open data file, locked against every other process and every other [`DataFile`].
#[derive(Debug)]
pub struct DataFile {
    file: File,
    path: PathBuf,
    size: u64,
}

/// Why a data file could not be made or opened.
#[derive(Debug)]
pub enum DataFileError {
    /// There is a file of that name already.
    Exists(PathBuf),
    /// There is no file of that name.
    Missing(PathBuf),
    /// It is no regular file.
    NoFile(PathBuf),
    /// Another process has it open. Its number and name, where they could be found out.
    Locked(PathBuf, Option<(u32, String)>),
    /// Its size is no multiple of the sector, or it is empty.
    Size(PathBuf, u64),
    /// The system refused.
    System {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for DataFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => {
                write!(f, "{} exists: a data file is made once; choose another name", path.display())
            }
            Self::Missing(path) => write!(f, "{} does not exist: make it with `format`", path.display()),
            Self::NoFile(path) => write!(f, "{} is no regular file: name a data file", path.display()),
            Self::Locked(path, Some((process, name))) => {
                write!(f, "{} is in use by process {process} ({name}): stop that first", path.display())
            }
            Self::Locked(path, None) => {
                write!(f, "{} is in use by another process: stop that first", path.display())
            }
            Self::Size(path, size) => write!(
                f,
                "{} has {size} bytes, which no data file has: it was cut short, or is another kind of file",
                path.display()
            ),
            Self::System { doing, path, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DataFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl DataFile {
    /// Makes a file of `size` bytes: zeros, but for `blocks` at their offsets. Durable, name and all, when it returns; if it
    /// fails, there is no file of that name.
    ///
    /// # Errors
    /// If a file of that name exists, or if the system refuses: no room, for one.
    ///
    /// # Panics
    /// If `size` is no positive multiple of the sector, or if a block lies beyond it.
    pub fn create(path: &Path, size: u64, blocks: &[(u64, Vec<u8>)]) -> Result<(), DataFileError> {
        assert!(size > 0 && size.is_multiple_of(SECTOR_SIZE as u64), "a data file has whole sectors");
        let inside =
            |(offset, bytes): &(u64, Vec<u8>)| offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= size);
        assert!(blocks.iter().all(inside), "a block lies within its file");
        if path.symlink_metadata().is_ok() {
            return Err(DataFileError::Exists(path.to_owned()));
        }
        let partial = partial_name(path);
        let made = fill(&partial, size, blocks).and_then(|()| give_name(&partial, path));
        if made.is_err() {
            // What is left of a failure says nothing that the error does not.
            let _ = std::fs::remove_file(&partial);
        }
        made
    }

    /// Opens the file for reading and writing, and locks it.
    ///
    /// # Errors
    /// If there is no such file, if it cannot be a data file by its size, or if another process has it open.
    pub fn open(path: &Path) -> Result<Self, DataFileError> {
        let opened = Self::open_with(path, OpenOptions::new().read(true).write(true))?;
        match flock(&opened.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(opened),
            Err(Errno::WOULDBLOCK) => Err(DataFileError::Locked(path.to_owned(), holder(&opened.file))),
            Err(error) => Err(system("lock", path, error.into())),
        }
    }

    /// Opens the file for reading alone, whoever else has it open: for looking into it, never for serving from it.
    ///
    /// # Errors
    /// If there is no such file, or if it cannot be a data file by its size.
    pub fn open_to_read(path: &Path) -> Result<Self, DataFileError> {
        Self::open_with(path, OpenOptions::new().read(true))
    }

    fn open_with(path: &Path, options: &OpenOptions) -> Result<Self, DataFileError> {
        let file = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DataFileError::Missing(path.to_owned()),
            io::ErrorKind::IsADirectory => DataFileError::NoFile(path.to_owned()),
            _ => system("open", path, error),
        })?;
        let metadata = file.metadata().map_err(|error| system("look at", path, error))?;
        if !metadata.is_file() {
            return Err(DataFileError::NoFile(path.to_owned()));
        }
        let size = metadata.len();
        if size == 0 || !size.is_multiple_of(SECTOR_SIZE as u64) {
            return Err(DataFileError::Size(path.to_owned(), size));
        }
        Ok(Self { file, path: path.to_owned(), size })
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

/// Where a file is made before it has its name. In the same folder: a name is given within one file system.
fn partial_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    PathBuf::from(name)
}

fn fill(path: &Path, size: u64, blocks: &[(u64, Vec<u8>)]) -> Result<(), DataFileError> {
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).to_owned();
    let mut file = options.open(path).map_err(|error| system("create", path, error))?;
    let zeros = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        let now = left.min(CHUNK as u64);
        file.write_all(&zeros[..now as usize]).map_err(|error| system("write", path, error))?;
        left -= now;
    }
    for (offset, bytes) in blocks {
        let written = std::os::unix::fs::FileExt::write_all_at(&file, bytes, *offset);
        written.map_err(|error| system("write", path, error))?;
    }
    file.sync_all().map_err(|error| system("sync", path, error))
}

/// Gives the file its name, unless there is one of that name by now, and makes the name durable.
fn give_name(partial: &Path, path: &Path) -> Result<(), DataFileError> {
    renameat_with(CWD, partial, CWD, path, RenameFlags::NOREPLACE).map_err(|error| match error {
        Errno::EXIST => DataFileError::Exists(path.to_owned()),
        _ => system("name", path, error.into()),
    })?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| system("sync the folder of", path, error))
}

fn system(doing: &'static str, path: &Path, error: io::Error) -> DataFileError {
    DataFileError::System { doing, path: path.to_owned(), error }
}

/// Who holds the lock on `file`, as far as the system tells: its locks are listed by device and inode.
fn holder(file: &File) -> Option<(u32, String)> {
    let inode = file.metadata().ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (kind, process, place) = (fields.get(1)?, fields.get(4)?, fields.get(5)?);
        let same = *kind == "FLOCK" && place.rsplit(':').next() == Some(inode.to_string().as_str());
        same.then(|| process.parse::<u32>().ok()).flatten()
    })?;
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some((process, name.trim_end().to_owned()))
}
