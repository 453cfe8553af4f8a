//! Tells the program which build it is: the sources that decide what a trace holds, and the commit that they are of.
//!
//! Invariant: the same sources give the same code version, wherever, whenever and in whichever profile they are built. The
//! commit is for people and enters no trace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What decides the bytes of a trace, from this crate's folder.
const SOURCES: [&str; 2] = ["../kernel/src", "../sim/src"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=CHRONON_CODE_VERSION={}", code_version());
    println!("cargo::rustc-env=CHRONON_COMMIT={}", commit());
}

/// Sixteen hex digits over the names and contents of all sources; the crate's version where the sources are not at hand.
fn code_version() -> String {
    let mut files = Vec::new();
    for folder in SOURCES {
        println!("cargo::rerun-if-changed={folder}");
        collect(Path::new(folder), &mut files);
    }
    if files.is_empty() {
        return format!("version {}", env!("CARGO_PKG_VERSION"));
    }
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for (name, path) in files {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for part in [name.as_bytes(), &bytes] {
            // Each part with its length, so that no two sets of files run together alike.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn collect(folder: &Path, files: &mut Vec<(String, PathBuf)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.to_string_lossy().replace('\\', "/"), path));
        }
    }
}

/// The commit, and whether the sources have changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| Command::new("git").args(arguments).output().ok().filter(|out| out.status.success());
    let Some(output) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // A commit that changes no source moves HEAD all the same: its log says so.
    if let Some(path) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={}", String::from_utf8_lossy(&path.stdout).trim());
    }
    let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let is_clean = git(&[&["diff", "--quiet", "HEAD", "--"], &SOURCES[..]].concat()).is_some();
    if is_clean { hash } else { format!("{hash} with local changes") }
}
