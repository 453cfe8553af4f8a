//! Files that are read and written whole.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use crate::output::Trouble;

/// Writes a file so that a reader finds either what was there before or all of `bytes`.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let trouble = |error: io::Error| {
        let folder = path.parent().filter(|folder| error.kind() == ErrorKind::NotFound && !folder.exists());
        let why = match folder {
            Some(folder) => format!("there is no folder {}; make it first", folder.display()),
            None => error.to_string(),
        };
        Trouble::Infrastructure(format!("{} cannot be written: {why}", path.display()))
    };
    if path.is_dir() {
        return Err(Trouble::Usage(format!("{} is a folder; name a file to write", path.display())));
    }
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        // A terminal or a pipe: nothing lies there that a reader could find half written.
        return fs::write(path, bytes).map_err(trouble);
    }
    let mut name = path
        .file_name()
        .map(std::ffi::OsStr::to_os_string)
        .ok_or_else(|| Trouble::Usage(format!("{} is no name for a file; give one", path.display())))?;
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = (|| {
        let mut file = fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    })();
    written.map_err(|error| {
        // What is left of the part says nothing that the trouble does not.
        let _ = fs::remove_file(&part);
        trouble(error)
    })
}

/// Makes a folder and those that it lies in.
pub(crate) fn make_folder(path: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(path)
        .map_err(|error| Trouble::Infrastructure(format!("the folder {} cannot be made: {error}", path.display())))
}

/// What a file that is read ought to be, and how large it may be: no file takes all of a machine's memory.
pub(crate) struct Sort {
    name: &'static str,
    mib_max: u64,
}

/// A seed of four million steps, at which every run is stopped, takes a few hundred MiB.
pub(crate) const TRACE: Sort = Sort { name: "a trace", mib_max: 1024 };
pub(crate) const SCHEDULE: Sort = Sort { name: "a schedule", mib_max: 4 };
pub(crate) const REPORT: Sort = Sort { name: "a report", mib_max: 256 };
pub(crate) const PATCH: Sort = Sort { name: "a patch", mib_max: 4 };

/// Reads a file that the user named; `otherwise` is what to do if there is none of that sort.
pub(crate) fn read(path: &Path, sort: &Sort, otherwise: &str) -> Result<Vec<u8>, Trouble> {
    let limit = sort.mib_max << 20;
    let trouble = |error: io::Error| match error.kind() {
        ErrorKind::NotFound if path.as_os_str().is_empty() => {
            Trouble::Usage(format!("a file's name is not empty; {otherwise}"))
        }
        ErrorKind::NotFound => Trouble::Usage(format!("there is no file {}; {otherwise}", path.display())),
        ErrorKind::IsADirectory => Trouble::Usage(format!("{} is a folder; {otherwise}", path.display())),
        _ => Trouble::Infrastructure(format!("{} cannot be read: {error}", path.display())),
    };
    let file = fs::File::open(path).map_err(trouble)?;
    let mut bytes = Vec::new();
    let stated = file.metadata().map_err(trouble)?.len();
    if stated <= limit {
        // One byte more than may be: what is no file on a disk states no length, and has no end perhaps.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(trouble)?;
    }
    if stated.max(bytes.len() as u64) > limit {
        let Sort { name, mib_max } = sort;
        return Err(Trouble::Usage(format!(
            "{} is larger than {mib_max} MiB, which {name} never is; {otherwise}",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Like [`read`], for text.
pub(crate) fn read_text(path: &Path, sort: &Sort, otherwise: &str) -> Result<String, Trouble> {
    String::from_utf8(read(path, sort, otherwise)?)
        .map_err(|_| Trouble::Usage(format!("{} is not text; {otherwise}", path.display())))
}

/// The nearest folder from here upwards that has `inner` in it.
pub(crate) fn upwards(inner: &str) -> Result<Option<PathBuf>, Trouble> {
    let here = std::env::current_dir()
        .map_err(|error| Trouble::Infrastructure(format!("the current folder is unknown: {error}")))?;
    Ok(here.ancestors().find(|folder| folder.join(inner).is_dir()).map(Path::to_path_buf))
}
