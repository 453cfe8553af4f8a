//! A scratch copy of the workspace, in which mutants are built.
//!
//! The copy and its build folder outlive a mutant: only files that differ are written again, so that what a patch leaves alone
//! is not compiled again. Nothing outside `target/mutants` is changed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;

use super::parse_report;
use crate::{
    file,
    output::{Status, Trouble},
};

/// The copy.
pub(super) struct Scratch {
    root: PathBuf,
    folder: PathBuf,
    package: &'static str,
    program: &'static str,
}

impl Scratch {
    /// The scratch copy of the workspace at `root`.
    pub(super) fn new(root: &Path, package: &'static str, program: &'static str) -> Result<Self, Trouble> {
        let folder = root.join("target/mutants");
        file::make_folder(&folder.join("tree"))?;
        Ok(Self { root: root.to_path_buf(), folder, package, program })
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Makes the copy equal to the workspace as it is now, and applies the patch to it.
    pub(super) fn apply(&self, patch: &Path) -> Result<(), Trouble> {
        self.refresh().map_err(|error| Trouble::Infrastructure(format!("the scratch copy cannot be made: {error}")))?;
        let mut command = Command::new("git");
        // The copy lies within the repository and is no part of it: git would silently skip what the patch names.
        command.env("GIT_CEILING_DIRECTORIES", &self.folder).current_dir(self.tree());
        command.args(["apply", "--whitespace=nowarn"]).arg(patch);
        let output = finish(&mut command, "git")?;
        if output.status.success() {
            return Ok(());
        }
        Err(Trouble::Infrastructure(format!(
            "the patch does not apply; make it anew: {}",
            last_lines(&output.stderr, 4)
        )))
    }

    /// Builds the copy's program.
    pub(super) fn build(&self) -> Result<(), Trouble> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(self.tree()).env("CARGO_TARGET_DIR", self.folder.join("build"));
        // A mutant is built to be run for seconds.
        command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        command.args(["build", "--release", "--quiet", "--package", self.package, "--bin", self.program]);
        let output = finish(&mut command, "cargo")?;
        if output.status.success() {
            return Ok(());
        }
        Err(Trouble::Infrastructure(format!("the patched workspace does not build: {}", errors(&output.stderr))))
    }

    /// Runs seeds of the copy's program until one fails or the time is over, and gives its report.
    pub(super) fn run(&self, scenario: &str, budget: Duration) -> Result<Value, Trouble> {
        let report = self.folder.join("report.json");
        let mut command = Command::new(self.folder.join("build/release").join(self.program));
        command.current_dir(self.tree()).args(["run", "--start", "0", "--scenario", scenario]);
        command.arg("--for").arg(format!("{}ms", budget.as_millis()));
        command.arg("--report").arg(&report).arg("--traces").arg(self.folder.join("traces"));
        let output = finish(&mut command, "the mutant")?;
        if ![Status::Clean, Status::Found].iter().any(|status| output.status.code() == Some(*status as i32)) {
            let why = last_lines(&output.stderr, 4);
            return Err(Trouble::Infrastructure(format!("the mutant ended with {}: {why}", output.status)));
        }
        parse_report(&file::read(&report, &file::REPORT, "the mutant wrote no report")?)
    }

    /// Writes what differs, and takes away what is too much.
    fn refresh(&self) -> io::Result<()> {
        let wanted: BTreeSet<PathBuf> = self.sources()?.into_iter().collect();
        for path in files_under(&self.tree())? {
            if !wanted.contains(&path) {
                fs::remove_file(self.tree().join(path))?;
            }
        }
        for path in wanted {
            let (from, to) = (self.root.join(&path), self.tree().join(&path));
            let bytes = fs::read(from)?;
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(to, bytes)?;
        }
        Ok(())
    }

    /// The workspace's files, by their paths from its root: those that git tracks or would, all where there is no git.
    fn sources(&self) -> io::Result<Vec<PathBuf>> {
        let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = Command::new("git").current_dir(&self.root).args(arguments).output();
        let Some(output) = listed.ok().filter(|output| output.status.success()) else {
            return files_under(&self.root);
        };
        let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let paths = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()));
        // A file that was deleted and not yet committed so is still listed.
        let paths: Vec<PathBuf> = paths.filter(|path| self.root.join(path).is_file()).collect();
        // Nothing is listed where another repository ignores the folder that this workspace lies in.
        if paths.is_empty() { files_under(&self.root) } else { Ok(paths) }
    }
}

/// The files under a folder, by their paths from it, without those of builds and of git.
fn files_under(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if !entry.file_type()?.is_dir() {
                files.push(path);
            } else if !["target", ".git"].iter().any(|skipped| entry.file_name() == *skipped) {
                folders.push(path);
            }
        }
    }
    Ok(files)
}

fn finish(command: &mut Command, name: &str) -> Result<Output, Trouble> {
    command.output().map_err(|error| Trouble::Infrastructure(format!("{name} cannot be started: {error}")))
}

/// The first errors among what a compiler said.
fn errors(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error")).take(3).collect();
    if errors.is_empty() { last_lines(bytes, 4) } else { errors.join("\n") }
}

/// The last lines of what a program said, in one.
fn last_lines(bytes: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
