//! What ARCHITECTURE.md says of the sources, checked: who may import whom, what determinism forbids, what every file owes its
//! reader, and that the README's commands are those that `.ci/run` runs.
//!
//! These tests read the repository and change nothing in it. They know no protocol: what the code *does* is tested beside it.

mod bans;
mod documents;
mod layers;
mod lexer;
mod manifests;
mod snippets;
mod sources;

use std::path::Path;

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// A file of the repository, by its path from the root.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with every violation at once, so that one run tells all there is to mend.
fn refuse(violations: &[String]) {
    assert!(violations.is_empty(), "\n  {}\n", violations.join("\n  "));
}
