//! `mutants`, over a workspace of one small program that stands for the real one: its `run` finds what is planted in it.

use std::process::Command;

use serde_json::Value;

use crate::support::Place;

const MANIFEST: &str = r#"[package]
name = "chronon-replay"
version = "0.0.0"
edition = "2024"

[[bin]]
name = "replay"
path = "main.rs"

[workspace]
"#;

/// Takes the arguments of `run`, and writes a report with a failure if anything is planted.
const PROGRAM: &str = r##"fn planted() -> u64 {
    0
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().position(|argument| argument == flag).map(|at| arguments[at + 1].clone());
    assert_eq!(after("--scenario").as_deref(), Some(if planted() == 1 { "crashes" } else { "swarm" }));
    let failure = r#"{"seed": 1, "verdict": "safety", "oracle": "commits", "violation": "two and two are five"}"#;
    let (status, failures) = if planted() > 0 { (1, failure) } else { (0, "") };
    let report = r#"{"seeds_run": 2, "cpu_ns": 1500000000, "failures": [FAILURES]}"#.replace("FAILURES", failures);
    std::fs::write(after("--report").unwrap(), report).unwrap();
    std::process::exit(status);
}
"##;

fn patch(from: &str, to: &str) -> String {
    format!(
        "diff --git a/main.rs b/main.rs\n--- a/main.rs\n+++ b/main.rs\n@@ -1,3 +1,3 @@\n fn planted() -> u64 {{\n\
         -    {from}\n+    {to}\n }}\n"
    )
}

fn workspace(test: &str) -> Place {
    let place = Place::new(test);
    place.write("Cargo.toml", MANIFEST);
    place.write("main.rs", PROGRAM);
    place.write(".gitignore", "target\n");
    place.write("seeds/mutants/01-crashes.patch", format!("A story.\nScenario: crashes\n\n{}", patch("0", "1")));
    place.write("seeds/mutants/02-swarm.patch", format!("Another story.\n\n{}", patch("0", "2")));
    place.write("seeds/mutants/03-nothing.patch", format!("Nothing is planted.\n\n{}", patch("0", "0 * 3")));
    let git = Command::new("git").arg("init").arg("--quiet").current_dir(place.path("")).status();
    assert!(git.expect("git starts").success());
    place
}

#[test]
fn planted_bugs_are_found_and_what_is_not_found_is_a_failure() {
    let place = workspace("mutants_found");
    let ran = place.replay(&["mutants", "--json", "--budget", "1s"]).ends_with(1);
    let json = ran.json();
    let mutants = json["mutants"].as_array().expect("mutants");
    let slugs: Vec<_> = mutants.iter().map(|mutant| mutant["slug"].as_str().expect("a slug")).collect();
    assert_eq!(slugs, ["crashes", "swarm", "nothing"], "{ran:#?}");
    let found: Vec<_> = mutants.iter().map(|mutant| mutant["found"].as_bool().expect("yes or no")).collect();
    assert_eq!(found, [true, true, false], "{ran:#?}");
    for mutant in mutants {
        assert_eq!((&mutant["seeds"], &mutant["cpu_seconds"]), (&Value::from(2), &Value::from(2)));
    }
    assert_eq!((&mutants[0]["oracle"], &mutants[2]["oracle"]), (&Value::from("commits"), &Value::Null));

    let ran = place.replay(&["mutants", "--only", "02-swarm"]).ends_with(0);
    assert!(ran.out.contains("02-swarm") && ran.out.contains("commits: two and two are five"), "{}", ran.out);
    assert!(ran.out.ends_with("1 of 1 found\n"), "{}", ran.out);
    let ran = place.replay(&["mutants", "--only", "swam"]).ends_with(2);
    assert!(ran.err.contains("did you mean `swarm`? there are crashes, swarm, nothing"), "{}", ran.err);
    let source = String::from_utf8(place.read("main.rs")).expect("text");
    assert!(source.contains("    0\n"), "the workspace itself is left as it is");
}

#[test]
fn a_patch_that_does_not_apply_or_build_is_told() {
    let place = workspace("mutants_broken");
    place.write("seeds/mutants/01-crashes.patch", format!("A story.\n\n{}", patch("4", "5")));
    place.write("seeds/mutants/02-swarm.patch", format!("A story.\n\n{}", patch("0", "no number")));
    let ran = place.replay(&["mutants", "--json"]).ends_with(3);
    let trouble = |at: usize| ran.json()["mutants"][at]["trouble"].as_str().unwrap_or_default().to_owned();
    assert!(trouble(0).contains("the patch does not apply; make it anew"), "{}", trouble(0));
    assert!(trouble(1).starts_with("the patched workspace does not build: error: "), "{}", trouble(1));
    place.write("seeds/mutants/04-silent.patch", patch("0", "1"));
    let ran = place.replay(&["mutants"]).ends_with(2);
    assert!(ran.err.contains("04-silent.patch: a mutant begins with its story"), "{}", ran.err);
}
