//! That the determinism bans bite: for each thing that is banned, code that uses it is given to clippy, under the lints and
//! the `clippy.toml` that the kernel and the simulator are built with, and must be refused for that reason.
//!
//! What clippy cannot see is stated too, as code that it accepts (`snippets::UNSEEN`): so that it is noticed when that
//! changes. It is closed twice. What is stored or hashed goes through `chronon::wire::Stored`, which `usize`, floats and
//! pointers do not implement (proven beside it); and `sources.rs` refuses the tokens that such code cannot be written without.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    read, refuse,
    snippets::{LINTS, MACROS, METHODS, UNSEEN},
    sources,
};

/// The lints that determinism rests on. An exception from one is an exception from determinism.
const DETERMINISM: &[&str] = &[
    "disallowed_types",
    "disallowed_methods",
    "disallowed_macros",
    "float_arithmetic",
    "float_cmp",
    "pointer_format",
    "ref_as_ptr",
    "borrow_as_ptr",
    "fn_to_numeric_cast_any",
    "host_endian_bytes",
    "iter_over_hash_type",
    "unpredictable_function_pointer_comparisons",
];

pub(crate) fn is_determinism_lint(name: &str) -> bool {
    DETERMINISM.contains(&name)
}

/// Code that must be refused: by which lint, and with which words in its message.
struct Case {
    lint: String,
    says: String,
    code: String,
}

/// What a `clippy.toml` disallows.
#[derive(Default)]
struct Bans {
    types: Vec<String>,
    methods: Vec<String>,
    macros: Vec<String>,
}

#[test]
fn the_kernel_and_the_simulator_ban_the_same() {
    let body = |path: &str| -> Vec<String> {
        read(path).lines().skip_while(|line| line.starts_with('#')).map(str::to_string).collect()
    };
    let (kernel, sim) = (body("kernel/clippy.toml"), body("sim/clippy.toml"));
    let only_in = |one: &[String], other: &[String], name: &str| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).map(|line| format!("only in {name}: {}", line.trim())).collect()
    };
    refuse(&[only_in(&kernel, &sim, "kernel/clippy.toml"), only_in(&sim, &kernel, "sim/clippy.toml")].concat());
    assert!(kernel == sim, "below their first comment the two files are one, in one order");
}

#[test]
fn every_ban_bites_and_what_clippy_cannot_see_is_stated() {
    let mut cases = BTreeMap::new();
    cases.insert("world", cases_of("kernel/clippy.toml", "kernel"));
    cases.insert("program", cases_of("replay/clippy.toml", "replay"));
    let lints = LINTS.iter().map(|(lint, code)| Case { lint: lint.to_string(), says: String::new(), code: body(code) });
    cases.get_mut("world").expect("inserted above").extend(lints);
    let unseen =
        UNSEEN.iter().map(|(what, code)| Case { lint: what.to_string(), says: String::new(), code: body(code) });
    cases.insert("unseen", unseen.collect());

    let scratch = Scratch::new();
    for (name, cases) in &cases {
        let bans = if *name == "program" { "replay/clippy.toml" } else { "kernel/clippy.toml" };
        scratch.member(name, &read(bans), cases);
    }
    let said = scratch.clippy(cases.keys().copied());

    let mut violations = said.of_no_case.clone();
    for (name, cases) in &cases {
        for (number, case) in cases.iter().enumerate() {
            let none = Vec::new();
            let errors = said.by_case.get(&(name.to_string(), number)).unwrap_or(&none);
            if let Some((code, message)) = errors.iter().find(|(code, _)| code.starts_with('E') || code.is_empty()) {
                violations.push(format!("a snippet does not compile: {code} {message}\n    {}", case.code));
            } else if *name == "unseen" {
                if let Some((code, _)) = errors.first() {
                    violations.push(format!("{} is seen by {code} now: take it out of UNSEEN", case.lint));
                }
            } else if !errors.iter().any(|(code, message)| *code == case.lint && message.contains(&case.says)) {
                violations.push(format!("{} lets pass, in `{name}`: {}", case.lint, case.code));
            }
        }
    }
    refuse(&violations);
}

#[test]
fn what_clippy_cannot_see_is_refused_by_its_tokens() {
    for (what, code) in UNSEEN {
        assert!(!sources::unseen(code).is_empty(), "{what} passes: {code}");
    }
    for code in ["a * b", "&mut a", "0..9", "pair.0.1", "const A: u64 = 1_000;", "// 1.5\n\"2.5\"", "x.is_some_and(f)"]
    {
        assert_eq!(sources::unseen(code), [], "{code}");
    }
}

#[test]
fn every_denied_lint_has_a_snippet() {
    let manifest = read("Cargo.toml");
    let lints = manifest.split("[workspace.lints.").skip(1).flat_map(|section| {
        let (tool, lines) = section.split_once("]\n").expect("a section's lines");
        let prefix = if tool == "rust" { String::new() } else { format!("{tool}::") };
        let lines = lines.lines().take_while(|line| !line.starts_with('['));
        let denied = lines.filter_map(|line| line.strip_suffix(" = \"deny\""));
        denied.map(|name| format!("{prefix}{name}")).collect::<Vec<_>>()
    });
    let denied: BTreeSet<String> = lints.collect();
    let proven: BTreeSet<String> = LINTS.iter().map(|(lint, _)| lint.to_string()).collect();
    let mut violations = Vec::new();
    violations.extend(denied.difference(&proven).map(|lint| format!("{lint} is denied and has no snippet")));
    violations.extend(proven.difference(&denied).map(|lint| format!("{lint} has a snippet and is not denied")));
    refuse(&violations);
    for lint in DETERMINISM {
        assert!(denied.iter().any(|denied| denied.ends_with(lint)), "{lint} is denied in Cargo.toml");
    }
}

/// A case for each ban of a `clippy.toml`; `folder` is whose it is.
fn cases_of(path: &str, folder: &str) -> Vec<Case> {
    let bans = bans(&read(path));
    let mut cases = Vec::new();
    for path in &bans.types {
        // A crate of std's parts, `alloc`, has no name unless it is asked for.
        let named = path.replace("alloc::", "std::");
        let code = if path.contains("::") {
            format!("pub use {named} as Banned;")
        } else {
            format!("pub type Banned = {path};")
        };
        cases.push(Case { lint: "clippy::disallowed_types".to_string(), says: format!("`{path}`"), code });
    }
    for (lint, paths, snippets) in
        [("clippy::disallowed_methods", &bans.methods, METHODS), ("clippy::disallowed_macros", &bans.macros, MACROS)]
    {
        for path in paths {
            let (_, code) = snippets
                .iter()
                .find(|(snippet, _)| snippet == path)
                .unwrap_or_else(|| panic!("{folder}/clippy.toml disallows {path}: give it a snippet"));
            cases.push(Case { lint: lint.to_string(), says: format!("`{path}`"), code: body(code) });
        }
        if folder == "kernel" {
            let unused = snippets.iter().find(|(path, _)| !paths.iter().any(|banned| banned == path));
            assert!(unused.is_none(), "{unused:?} is not disallowed in {folder}/clippy.toml");
        }
    }
    assert!(!cases.is_empty(), "{folder}/clippy.toml disallows something");
    cases
}

/// The paths that a `clippy.toml` disallows, one entry a line.
fn bans(text: &str) -> Bans {
    let mut bans = Bans::default();
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if let Some(entry) = line.strip_prefix("{ path = \"") {
            let (path, rest) = entry.split_once('"').expect("a closed path");
            assert!(rest.contains("reason = \""), "{path} is disallowed for a reason");
            match section {
                "disallowed-types" => bans.types.push(path.to_string()),
                "disallowed-methods" => bans.methods.push(path.to_string()),
                "disallowed-macros" => bans.macros.push(path.to_string()),
                _ => panic!("{path} stands in no section"),
            }
        } else if let Some((name, "[")) = line.split_once(" = ") {
            section = name;
        } else {
            assert!(line.is_empty() || line == "]" || line.starts_with('#'), "one entry a line: {line}");
        }
    }
    bans
}

fn body(code: &str) -> String {
    format!("pub fn offends() {{ {code} }}")
}

/// A workspace of crates with no dependencies, each case a module of its own.
struct Scratch {
    folder: PathBuf,
}

/// What clippy said: the errors of each case, as lint and message; and what belongs to none.
#[derive(Default)]
struct Said {
    by_case: BTreeMap<(String, usize), Vec<(String, String)>>,
    of_no_case: Vec<String>,
}

impl Scratch {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("determinism_bans");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).expect("an earlier run's folder goes");
        }
        Self { folder }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn member(&self, name: &str, bans: &str, cases: &[Case]) {
        self.write(
            &format!("{name}/Cargo.toml"),
            &format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[lints]\nworkspace = true\n"),
        );
        self.write(&format!("{name}/clippy.toml"), bans);
        let mut modules = String::new();
        for (number, case) in cases.iter().enumerate() {
            writeln!(modules, "pub mod case_{number};").expect("a String grows");
            self.write(&format!("{name}/src/case_{number}.rs"), &case.code);
        }
        self.write(&format!("{name}/src/lib.rs"), &modules);
    }

    /// Runs clippy once over all members.
    fn clippy<'a>(&self, members: impl Iterator<Item = &'a str>) -> Said {
        let manifest = read("Cargo.toml");
        let start = manifest.find("[workspace.lints").expect("the workspace's lints");
        let end = manifest.find("[profile").expect("the profiles, behind the lints");
        let members: Vec<&str> = members.collect();
        self.write(
            "Cargo.toml",
            &format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n{}", &manifest[start..end]),
        );

        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args([
                "clippy",
                "--workspace",
                "--offline",
                "--keep-going",
                "--message-format=json",
                "--target-dir",
                "target",
            ])
            .current_dir(&self.folder);
        for name in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CLIPPY_ARGS", "CLIPPY_CONF_DIR"] {
            command.env_remove(name);
        }
        let output = command.output().expect("cargo runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !errors.contains("no such command") && !errors.contains("is not installed"),
            "clippy is missing; `rustup component add clippy` installs it:\n{errors}"
        );
        let mut said = Said::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let value: Value = serde_json::from_str(line).expect("a message of cargo's");
            if value["reason"] == "compiler-message" {
                said.take(&value["message"]);
            }
        }
        assert!(!said.by_case.is_empty(), "clippy said nothing:\n{errors}");
        said
    }
}

impl Said {
    fn take(&mut self, message: &Value) {
        let text = message["message"].as_str().unwrap_or_default().to_string();
        let files = message["spans"].as_array().into_iter().flatten().filter_map(|span| span["file_name"].as_str());
        let files: Vec<&str> = files.collect();
        if files.iter().any(|file| file.ends_with("clippy.toml")) {
            self.of_no_case.push(format!("clippy.toml: {text}"));
        }
        if message["level"] != "error" {
            return;
        }
        let code = message["code"]["code"].as_str().unwrap_or_default().to_string();
        if let Some(case) = files.iter().find_map(|file| case_of(file)) {
            self.by_case.entry(case).or_default().push((code, text));
        } else if files.iter().any(|file| !file.starts_with("/rustc/")) {
            self.of_no_case.push(format!("{code} {text} in {files:?}"));
        }
    }
}

/// `world/src/case_12.rs` is the case ("world", 12).
fn case_of(file: &str) -> Option<(String, usize)> {
    let (member, rest) = file.split_once("/src/case_")?;
    let number = rest.strip_suffix(".rs")?.parse().ok()?;
    Some((member.rsplit('/').next()?.to_string(), number))
}
