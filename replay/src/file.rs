//! Files that are read and written whole.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use crate::output::Trouble;

/// Writes a file so that a reader finds either what was there before or all of `bytes`.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let trouble = |error| Trouble::Infrastructure(format!("{} cannot be written: {error}", path.display()));
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

/// Reads a file that the user named; `otherwise` is what to do if there is none.
pub(crate) fn read(path: &Path, otherwise: &str) -> Result<Vec<u8>, Trouble> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Trouble::Usage(format!("there is no file {}; {otherwise}", path.display())),
        ErrorKind::IsADirectory => Trouble::Usage(format!("{} is a folder; {otherwise}", path.display())),
        _ => Trouble::Infrastructure(format!("{} cannot be read: {error}", path.display())),
    })
}

/// Like [`read`], for text.
pub(crate) fn read_text(path: &Path, otherwise: &str) -> Result<String, Trouble> {
    String::from_utf8(read(path, otherwise)?)
        .map_err(|_| Trouble::Usage(format!("{} is not text; {otherwise}", path.display())))
}

/// The nearest folder from here upwards that has `inner` in it.
pub(crate) fn upwards(inner: &str) -> Result<Option<PathBuf>, Trouble> {
    let here = std::env::current_dir()
        .map_err(|error| Trouble::Infrastructure(format!("the current folder is unknown: {error}")))?;
    Ok(here.ancestors().find(|folder| folder.join(inner).is_dir()).map(Path::to_path_buf))
}
