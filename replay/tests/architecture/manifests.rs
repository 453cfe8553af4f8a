//! What the manifests promise: which packages each crate builds on, which crate may use which, one toolchain.

use std::collections::{BTreeMap, BTreeSet};

use crate::{read, refuse, root};

/// The packages that each crate may build on. One more needs its reason in ARCHITECTURE.md, "Dependencies".
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("kernel", &["bincode", "blake3", "rand_chacha", "serde", "zerocopy"]),
    // The simulator's conformance suites, for its tests.
    (
        "kernel/production",
        &[
            "chronon",
            "chronon-sim",
            "clap",
            "ctrlc",
            "h2",
            "http",
            "indicatif",
            "io-uring",
            "mimalloc",
            "prometheus-client",
            "rustix",
            "serde",
            "serde_json",
            "tokio",
            "toml",
            "tracing",
            "tracing-subscriber",
            "ureq",
        ],
    ),
    ("sim", &["blake3", "chronon", "rand_chacha", "serde", "toml"]),
    (
        "replay",
        &[
            "blake3",
            "chronon",
            "chronon-sim",
            "clap",
            "ctrlc",
            "indicatif",
            "mimalloc",
            "rustix",
            "serde",
            "serde_json",
            "toml",
        ],
    ),
    ("fuzz", &["arbitrary", "chronon", "chronon-sim", "libfuzzer-sys"]),
];

#[test]
fn each_crate_builds_on_the_packages_that_are_named_and_no_other() {
    let mut violations = Vec::new();
    for (folder, named) in DEPENDENCIES {
        for package in packages(folder) {
            if !named.contains(&package.as_str()) {
                violations
                    .push(format!("{folder}/Cargo.toml: `{package}`: give its reason, then name it in DEPENDENCIES"));
            }
        }
    }
    refuse(&violations);
}

#[test]
fn the_kernel_builds_on_exactly_five_packages() {
    assert_eq!(packages("kernel").into_iter().collect::<Vec<_>>(), DEPENDENCIES[0].1);
}

#[test]
fn every_package_has_its_reason_in_the_architecture() {
    let text = read("ARCHITECTURE.md");
    let reasons: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let mut violations = Vec::new();
    for (folder, _) in DEPENDENCIES {
        for package in packages(folder).iter().filter(|package| !package.starts_with("chronon")) {
            if !reasons.iter().any(|line| line.starts_with(&format!("| `{package}` "))) {
                violations.push(format!("ARCHITECTURE.md, \"Dependencies\", has no row for `{package}`"));
            }
        }
    }
    refuse(&violations);
}

#[test]
fn every_crate_of_the_workspace_shares_its_lints_and_states_its_bans() {
    let mut violations = Vec::new();
    for folder in members() {
        let manifest = sections(&read(&format!("{folder}/Cargo.toml")));
        if manifest.get("lints").is_none_or(|lines| !lines.contains(&"workspace = true".to_string())) {
            violations.push(format!("{folder}/Cargo.toml does not say `[lints] workspace = true`"));
        }
        if !root().join(&folder).join("clippy.toml").is_file() {
            violations.push(format!("{folder}/clippy.toml: the nearest one wins, so each crate has its own"));
        }
    }
    refuse(&violations);
}

#[test]
fn one_toolchain_builds_everything() {
    let toolchain = read("rust-toolchain.toml");
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a rust-version");
    let version = version.trim_matches('"');
    assert!(
        toolchain.lines().any(|line| line.starts_with(&format!("channel = \"{version}"))),
        "rust-toolchain.toml and `rust-version = \"{version}\"` name one release"
    );
}

#[test]
fn the_fuzz_targets_are_a_workspace_of_their_own() {
    if let Ok(manifest) = std::fs::read_to_string(root().join("fuzz/Cargo.toml")) {
        assert_eq!(sections(&manifest).get("workspace").map(Vec::len), Some(0), "an empty [workspace]");
    }
}

/// The workspace's member folders.
fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("members, on one line");
    line.trim_matches(['[', ']']).split(',').map(|member| member.trim().trim_matches('"').to_string()).collect()
}

/// The packages that a crate names, under whatever kind of dependency.
fn packages(folder: &str) -> BTreeSet<String> {
    let Ok(manifest) = std::fs::read_to_string(root().join(folder).join("Cargo.toml")) else { return BTreeSet::new() };
    let mut packages = BTreeSet::new();
    for (section, lines) in sections(&manifest) {
        if let Some((_, package)) = section.split_once("dependencies.") {
            packages.insert(package.to_string());
        } else if section.ends_with("dependencies") {
            packages.extend(lines.iter().filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_string));
        }
    }
    packages
}

/// A manifest's sections, each with its lines, without comments and blank lines.
fn sections(manifest: &str) -> BTreeMap<String, Vec<String>> {
    let mut sections = BTreeMap::new();
    let mut section = String::new();
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim_matches(['[', ']']).to_string();
            sections.entry(section.clone()).or_insert_with(Vec::new);
        } else {
            sections.entry(section.clone()).or_insert_with(Vec::new).push(line.to_string());
        }
    }
    sections
}
