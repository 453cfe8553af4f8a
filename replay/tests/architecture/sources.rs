//! What every source file owes its reader and its cluster, read off its tokens.
//!
//! Some of it is style; some closes what clippy cannot see (see `bans.rs`): a raw pointer that is compared or cast, a float
//! whose type nobody wrote, a build profile that decides.

use std::path::Path;

use crate::{
    lexer::{Kind, Token, tokens},
    refuse, root,
};

/// A source file, by its path from the root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A file that is longer knows too much: split it by noun.
const LINES_MAX: usize = 600;

/// Where an exception from the determinism bans may stand, each under an `#[expect]` with its reason.
const EXCEPTIONS: &[&str] = &[
    // Starts the workers of a campaign, and catches the panics that are verdicts.
    "sim/src/campaign.rs",
    // A buffer that nobody else holds is used again; a test that two frames share one compares addresses.
    "kernel/src/frame.rs",
    // A test that a panic is told as the state machine's, or is not, looks at what the panic left.
    "kernel/src/vsr/commit.rs",
    // That two maps share a node saves looking into it.
    "kernel/src/map/iter.rs",
    // A test that floats are not stored names them.
    "kernel/src/wire/stored.rs",
    // A test over many seeds is told by its environment which one to replay.
    "sim/src/testing.rs",
    // A test that a panic of a process can be caught, and its world looked at afterwards.
    "sim/tests/engine/oracles_see_everything_and_stop_the_world.rs",
    // A program that reads its arguments.
    "sim/examples/primary_backup.rs",
    // The ports of one step share the world's core for the length of it.
    "sim/src/world/ports.rs",
    "sim/src/world/step.rs",
    // A suite that pulls a process's strings from outside shares them with it.
    "sim/tests/conformance_world.rs",
];

/// The Rust files under a folder, in order, without those of build folders.
pub(crate) fn rust_files(folder: &str) -> Vec<File> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path =
                path.strip_prefix(root()).expect("a file of the repository").to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
}

/// Every Rust file of the repository.
fn all_files() -> Vec<File> {
    ["kernel", "sim", "replay", "fuzz"].into_iter().flat_map(rust_files).collect()
}

/// The files that determinism binds: all that runs inside a world, with its tests and examples.
fn deterministic_files() -> Vec<File> {
    let inside = |file: &File| !file.path.starts_with("kernel/production/");
    ["kernel", "sim"].into_iter().flat_map(rust_files).filter(inside).collect()
}

#[test]
fn every_file_opens_with_what_it_is() {
    let opens = |file: &File| file.text.starts_with("//! ");
    refuse(&paths(all_files().iter().filter(|file| !opens(file)), "does not open with `//!`"));
}

#[test]
fn no_file_knows_too_much() {
    let long = |file: &&File| file.text.lines().count() > LINES_MAX;
    refuse(&paths(all_files().iter().filter(long), &format!("has more than {LINES_MAX} lines: split it by noun")));
}

#[test]
fn unsafe_lives_in_the_production_bindings_alone() {
    let mut violations = Vec::new();
    for file in all_files().iter().filter(|file| !file.path.starts_with("kernel/production/")) {
        for token in tokens(&file.text).iter().filter(|token| token.text == "unsafe") {
            violations.push(format!("{}:{}: unsafe", file.path, token.line));
        }
    }
    refuse(&violations);
}

#[test]
fn replicas_are_primary_or_backup_and_nothing_else() {
    let mut violations = Vec::new();
    for file in rust_files("kernel/src").iter().chain(&rust_files("sim/src")) {
        for token in tokens(&file.text) {
            let word = token.text.to_lowercase();
            if word.contains("leader") || word.contains("follower") {
                violations.push(format!("{}:{}: `{}`: primary or backup", file.path, token.line, token.text));
            }
        }
    }
    refuse(&violations);
}

#[test]
fn what_clippy_cannot_see_is_not_written() {
    let mut violations = Vec::new();
    for file in deterministic_files() {
        for (line, why) in unseen(&file.text) {
            violations.push(format!("{}:{line}: {why}", file.path));
        }
    }
    refuse(&violations);
}

#[test]
fn the_bans_have_the_exceptions_that_are_named_and_no_other() {
    let mut violations = Vec::new();
    for file in deterministic_files() {
        if EXCEPTIONS.contains(&file.path.as_str()) {
            continue;
        }
        for token in tokens(&file.text) {
            if crate::bans::is_determinism_lint(&token.text) {
                violations.push(format!("{}:{}: an exception from `{}`", file.path, token.line, token.text));
            }
        }
    }
    refuse(&violations);
}

#[test]
fn only_the_encoding_itself_says_what_is_stored() {
    let mut violations = Vec::new();
    for file in all_files().iter().filter(|file| file.path != "kernel/src/wire/stored.rs") {
        let tokens = tokens(&file.text);
        for pair in tokens.windows(2).filter(|pair| pair[0].text == "Stored" && pair[1].text == "for") {
            violations
                .push(format!("{}:{}: `stored!` names the fields, so that each is checked", file.path, pair[0].line));
        }
    }
    refuse(&violations);
}

fn paths<'a>(files: impl Iterator<Item = &'a File>, what: &str) -> Vec<String> {
    files.map(|file| format!("{} {what}", file.path)).collect()
}

/// What `source` says that clippy lets pass and determinism does not: the lines, and why.
pub(crate) fn unseen(source: &str) -> Vec<(usize, &'static str)> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if let Some(why) = unseen_at(&tokens, at) {
            found.push((token.line, why));
        }
    }
    found
}

fn unseen_at(tokens: &[Token], at: usize) -> Option<&'static str> {
    let text = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text.as_str());
    if tokens[at].kind == Kind::Float {
        return Some("a float decides nothing, whatever its type is inferred to be");
    }
    match (text(0), text(1), text(2)) {
        // A multiplication by a constant has an operand before the star.
        ("*", "const" | "mut", _) => Some("a raw pointer compares and casts as an address"),
        ("&", "raw", "const" | "mut") => Some("a raw pointer compares and casts as an address"),
        ("NonNull" | "addr_of" | "addr_of_mut", ..) => Some("a raw pointer compares and casts as an address"),
        ("debug_assertions", ..) => Some("debug and release decide alike"),
        ("target_pointer_width" | "target_endian" | "target_os" | "target_arch" | "target_env", ..) => {
            Some("every machine decides alike")
        }
        ("as_f32" | "as_f64" | "as_float" | "is_float" | "Float", ..) => Some("a float decides nothing, parsed or not"),
        _ => None,
    }
}
