//! What README.md and ARCHITECTURE.md show exists, and what they tell a reader to type is what `.ci/run` types.

use std::collections::BTreeSet;

use crate::{read, refuse, root, sources::rust_files};

const DOCUMENTS: &[&str] = &["README.md", "ARCHITECTURE.md"];

/// Folders of the repository; a name in backticks that begins with one is a path.
const FOLDERS: &[&str] = &["kernel/", "sim/", "replay/", "fuzz/", "seeds/", ".ci/", ".github/"];

/// A block of commands in a document: what the marker above it calls it, and its lines.
struct Block {
    name: Option<String>,
    line: usize,
    commands: Vec<String>,
}

#[test]
fn every_command_of_the_readme_is_run_by_ci() {
    let script = read(".ci/run");
    let mut violations = Vec::new();
    for block in blocks(&read("README.md")) {
        match block.name {
            None => violations.push(format!("README.md:{}: no `<!-- ci: NAME -->` above the block", block.line)),
            Some(name) if !script.lines().any(|line| line.trim() == format!("readme_block {name}")) => {
                violations.push(format!("README.md:{}: .ci/run does not say `readme_block {name}`", block.line));
            }
            Some(_) => {}
        }
    }
    refuse(&violations);
}

#[test]
fn every_block_that_ci_runs_stands_once_in_the_readme() {
    let named: Vec<String> = blocks(&read("README.md")).into_iter().filter_map(|block| block.name).collect();
    let unique: BTreeSet<&String> = named.iter().collect();
    assert_eq!(named.len(), unique.len(), "each name once: {named:?}");
    let script = read(".ci/run");
    let wanted: Vec<&str> = script.lines().filter_map(|line| line.trim().strip_prefix("readme_block ")).collect();
    let missing: Vec<_> = wanted.iter().filter(|name| !named.iter().any(|named| named == *name)).collect();
    assert!(missing.is_empty(), "README.md has no block for {missing:?}");
}

#[test]
fn the_readmes_test_command_tests_the_whole_workspace() {
    let blocks = blocks(&read("README.md"));
    let test = blocks.iter().find(|block| block.name.as_deref() == Some("test")).expect("a block `<!-- ci: test -->`");
    assert_eq!(test.commands, ["cargo test --workspace"]);
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut violations = Vec::new();
    for document in DOCUMENTS {
        for (number, line) in read(document).lines().enumerate() {
            for path in quoted_paths(line).chain(linked_paths(line)) {
                if !root().join(&path).exists() {
                    violations.push(format!("{document}:{}: there is no {path}", number + 1));
                }
            }
        }
    }
    refuse(&violations);
}

#[test]
fn every_section_that_the_sources_refer_to_exists() {
    let text = read("ARCHITECTURE.md");
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut violations = Vec::new();
    for file in ["kernel", "sim", "replay/src", "fuzz"].into_iter().flat_map(rust_files) {
        for reference in file.text.split("ARCHITECTURE.md, \"").skip(1) {
            let section = reference.split('"').next().unwrap_or_default();
            if !headings.contains(&section) {
                violations.push(format!("{}: ARCHITECTURE.md has no section \"{section}\"", file.path));
            }
        }
    }
    refuse(&violations);
}

/// The fenced `sh` blocks of a document.
fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut marker, mut is_open) = (None, false);
    for (number, line) in document.lines().enumerate() {
        if is_open {
            is_open = line != "```";
            if is_open {
                blocks.last_mut().expect("an open block").commands.push(line.to_string());
            }
        } else if line == "```sh" {
            is_open = true;
            blocks.push(Block { name: marker.take(), line: number + 1, commands: Vec::new() });
        } else if !line.is_empty() {
            marker = line.strip_prefix("<!-- ci: ").and_then(|line| line.strip_suffix(" -->")).map(str::to_string);
        }
    }
    blocks
}

/// Paths in backticks. One with a capitalised word or a star in it (`seeds/mutants/NN-slug.patch`) is a pattern.
fn quoted_paths(line: &str) -> impl Iterator<Item = String> {
    let is_path = |quoted: &&str| FOLDERS.iter().any(|folder| quoted.starts_with(folder));
    let is_pattern =
        |quoted: &str| quoted.contains(['*', ' ', '<']) || quoted.split(['/', '-', '.']).any(is_placeholder);
    line.split('`').skip(1).step_by(2).filter(is_path).filter(move |quoted| !is_pattern(quoted)).map(str::to_string)
}

fn is_placeholder(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|character| character.is_ascii_uppercase())
}

/// Targets of links that stay in the repository.
fn linked_paths(line: &str) -> impl Iterator<Item = String> {
    let target = |rest: &str| rest.split([')', '#']).next().unwrap_or_default().to_string();
    let is_local = |target: &String| !target.is_empty() && !target.contains("://");
    line.split("](").skip(1).map(target).filter(is_local)
}

#[test]
fn blocks_are_found_with_the_names_above_them() {
    let document = "text\n<!-- ci: test -->\n\n```sh\na\nb\n```\n\n```sh\nc\n```\n```text\nd\n```\n";
    let found: Vec<_> = blocks(document).into_iter().map(|block| (block.name, block.line, block.commands)).collect();
    assert_eq!(
        found,
        [(Some("test".to_string()), 4, vec!["a".to_string(), "b".to_string()]), (None, 9, vec!["c".to_string()])]
    );
}

#[test]
fn paths_are_told_from_patterns_and_prose() {
    let line =
        "`sim/src`, `seeds/mutants/NN-slug.patch`, `cargo test`, `seeds/*.toml`, [the code](kernel/src/lib.rs#L3)";
    let found: Vec<String> = quoted_paths(line).chain(linked_paths(line)).collect();
    assert_eq!(found, ["sim/src", "kernel/src/lib.rs"]);
}
