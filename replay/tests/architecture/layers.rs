//! Who may import whom: the kernel's layers, and what the simulator's engine may know of the kernel.
//!
//! Imports are read off the tokens of a file: `crate::`, `super::` and `chronon::` paths, grouped or not. What a macro of
//! another crate expands to is not seen; there is none that names a layer.

use std::collections::BTreeSet;

use crate::{
    lexer::{Kind, Token, tokens},
    refuse,
    sources::{File, rust_files},
};

/// The boundary: what a process is, and what it is bound to.
const BOUNDARY: &[&str] = &["frame", "effect", "process", "env", "node"];

/// The kernel's layers from the bottom up, each with those that it may import beside itself.
///
/// `vsr` stands above `app` and must not know it: it says "committed op". `replica` composes the two. A client knows of the
/// protocol what goes over the wire, and of an application what its answers look like.
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("digest", &["types"]),
    ("map", &[]),
    ("frame", &["types"]),
    ("effect", &["types", "frame"]),
    ("process", &["types", "frame", "effect"]),
    ("env", &["types", "frame", "effect", "process"]),
    ("node", &["types", "frame", "effect", "process", "env"]),
    ("wire", &["types", "BOUNDARY"]),
    ("storage", &["types", "BOUNDARY", "wire"]),
    ("app", &["types", "digest", "map", "BOUNDARY", "wire", "storage"]),
    ("vsr", &["types", "digest", "map", "BOUNDARY", "wire", "storage"]),
    ("replica", &["types", "digest", "BOUNDARY", "wire", "storage", "app", "vsr"]),
    ("client", &["types", "BOUNDARY", "wire", "app"]),
];

/// The simulator's engine, by the beginning of its files' paths: it runs any process, and knows of the kernel the boundary
/// alone.
const ENGINE: &[&str] = &[
    "sim/src/rng.rs",
    "sim/src/queue.rs",
    "sim/src/clock.rs",
    "sim/src/network.rs",
    "sim/src/disk",
    "sim/src/trace",
    "sim/src/world",
    "sim/src/verdict.rs",
    "sim/src/service.rs",
    "sim/src/oracle/mod.rs",
];

#[test]
fn each_layer_of_the_kernel_imports_only_those_below_it() {
    let mut violations = Vec::new();
    for file in rust_files("kernel/src") {
        let modules = modules_of(&file.path, "kernel/src/");
        let Some(layer) = modules.first().cloned() else { continue };
        let Some(allowed) = allowed(&layer) else {
            violations.push(format!("{}: `{layer}` is no layer; give it a place in LAYERS", file.path));
            continue;
        };
        if modules.iter().any(|module| module == "tests") {
            continue;
        }
        for import in imports(&tokens(&file.text), &modules, "crate") {
            if import.name != layer && !allowed.contains(import.name.as_str()) {
                violations.push(format!("{}:{}: `{layer}` may not import `{}`", file.path, import.line, import.name));
            }
        }
    }
    refuse(&violations);
}

#[test]
fn the_simulators_engine_knows_the_boundary_and_no_protocol() {
    let mut violations = Vec::new();
    let is_engine = |file: &File| ENGINE.iter().any(|part| file.path.starts_with(part));
    for file in rust_files("sim/src").into_iter().filter(is_engine) {
        for import in imports(&tokens(&file.text), &modules_of(&file.path, "sim/src/"), "chronon") {
            if import.name != "types" && !BOUNDARY.contains(&import.name.as_str()) {
                violations.push(format!("{}:{}: the engine may not import `{}`", file.path, import.line, import.name));
            }
        }
    }
    refuse(&violations);
}

#[test]
fn the_simulator_knows_neither_replay_nor_production() {
    let mut violations = Vec::new();
    for file in rust_files("sim") {
        forbid(&file, &["chronon_replay", "chronon_production"], &mut violations);
    }
    for file in rust_files("kernel") {
        let forbidden: &[&str] = if file.path == "kernel/production/tests/conformance.rs" {
            // The suites that both are held to.
            &["chronon_replay"]
        } else if file.path.starts_with("kernel/production/") {
            &["chronon_replay", "chronon_sim"]
        } else {
            &["chronon_replay", "chronon_production", "chronon_sim"]
        };
        forbid(&file, forbidden, &mut violations);
    }
    refuse(&violations);
}

#[test]
fn the_kernel_is_no_std_and_forbids_unsafe_code() {
    let text = crate::read("kernel/src/lib.rs");
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        assert!(text.lines().any(|line| line == attribute), "kernel/src/lib.rs says {attribute}");
    }
}

fn forbid(file: &File, names: &[&str], violations: &mut Vec<String>) {
    for token in tokens(&file.text).iter().filter(|token| names.contains(&token.text.as_str())) {
        violations.push(format!("{}:{}: `{}` is not known here", file.path, token.line, token.text));
    }
}

fn allowed(layer: &str) -> Option<BTreeSet<&'static str>> {
    let (_, below) = LAYERS.iter().find(|(name, _)| *name == layer)?;
    Some(
        below
            .iter()
            .flat_map(|name| if *name == "BOUNDARY" { BOUNDARY } else { std::slice::from_ref(name) })
            .copied()
            .collect(),
    )
}

/// The modules that a file's path names: `kernel/src/wire/mod.rs` is `wire`, `lib.rs` is the root.
fn modules_of(path: &str, source_folder: &str) -> Vec<String> {
    let inner = path.strip_prefix(source_folder).expect("the file lies in the folder");
    let inner = inner.strip_suffix(".rs").expect("the file is Rust");
    let mut modules: Vec<String> = inner.split('/').map(str::to_string).collect();
    if matches!(modules.last().map(String::as_str), Some("mod" | "lib")) {
        modules.pop();
    }
    modules
}

#[derive(Debug)]
struct Import {
    name: String,
    line: usize,
}

/// The root modules that `tokens`, the code of module `modules`, names by a path from `root` or by `super`. Unit tests may
/// name any.
fn imports(tokens: &[Token], modules: &[String], root: &str) -> Vec<Import> {
    let mut found = Vec::new();
    // Inline modules that are open, with the depth of braces that each was opened at.
    let mut inline: Vec<(&str, usize)> = Vec::new();
    let mut depth = 0_usize;
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut at = 0;
    while at < tokens.len() {
        match text(at) {
            "{" => {
                if at >= 2 && text(at - 2) == "mod" {
                    inline.push((text(at - 1), depth));
                }
                depth += 1;
            }
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last().is_some_and(|(_, opened)| *opened == depth) {
                    inline.pop();
                }
            }
            _ if inline.iter().any(|(name, _)| *name == "tests") => {}
            word if word == root && is_path(tokens, at) && !is_continued(tokens, at) => {
                branches(tokens, at + 3, &mut found)
            }
            "super" if root == "crate" && is_path(tokens, at) && !is_continued(tokens, at) => {
                let mut supers = 1;
                while text(at + 3) == "super" {
                    supers += 1;
                    at += 3;
                }
                if is_path(tokens, at) && supers == modules.len() + inline.len() {
                    branches(tokens, at + 3, &mut found);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether the token is followed by `::`.
fn is_path(tokens: &[Token], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(|token| token.text == ":")
        && tokens.get(at + 2).is_some_and(|token| token.text == ":")
}

/// Whether the token is preceded by `::`, and so begins no path.
fn is_continued(tokens: &[Token], at: usize) -> bool {
    at >= 2 && tokens[at - 1].text == ":" && tokens[at - 2].text == ":"
}

/// The first name of each branch of the path or use tree that begins at `at`.
fn branches(tokens: &[Token], at: usize, found: &mut Vec<Import>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        found.push(Import { name: first.text.clone(), line: first.line });
        return;
    }
    let (mut depth, mut is_first) = (0, false);
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                is_first = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
            "," => is_first = depth == 1,
            _ if is_first && token.kind == Kind::Identifier => {
                found.push(Import { name: token.text.clone(), line: token.line });
                is_first = false;
            }
            _ => {}
        }
    }
}

#[test]
fn imports_are_read_off_every_form_of_a_path() {
    let names = |source: &str, modules: &[&str]| -> Vec<String> {
        let modules: Vec<String> = modules.iter().map(ToString::to_string).collect();
        imports(&tokens(source), &modules, "crate").into_iter().map(|import| import.name).collect()
    };
    assert_eq!(names("use crate::wire::Header; let x = crate::vsr::quorum(3);", &["app"]), ["wire", "vsr"]);
    assert_eq!(
        names("use crate::{frame::{Frame, FramePool}, types, process::Event as E};", &["app"]),
        ["frame", "types", "process"]
    );
    assert_eq!(names("pub(crate) fn f() {} pub(in crate::wire) fn g() {}", &["wire"]), ["wire"]);
    assert_eq!(names("use super::journal;", &["storage", "layout"]), [""; 0]);
    assert_eq!(names("use super::super::vsr::State;", &["storage", "layout"]), ["vsr"]);
    assert_eq!(names("use super::{types::Op, vsr::State};", &["client"]), ["types", "vsr"]);
    assert_eq!(
        names("mod inner { use super::*; use super::super::app::Outbox; } use super::wire;", &["vsr"]),
        ["app", "wire"]
    );
    assert_eq!(names("mod tests { use crate::app::Outbox; } use super::wire;", &["vsr"]), ["wire"]);
    assert_eq!(names("/// See [`crate::vsr`].\nfn f() { \"crate::app\"; }", &["wire"]), [""; 0]);
}
