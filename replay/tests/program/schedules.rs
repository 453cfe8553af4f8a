//! `seed`: what happens in a seed, and its schedule as a file that can be edited.

use serde_json::Value;

use crate::support::Place;

#[test]
fn a_seed_and_its_schedule_are_the_same_run() {
    let place = Place::new("schedule");
    for seed in ["0", "5"] {
        let told = place.replay(&["seed", seed, "--schedule", "it.toml"]).ends_with(0);
        let again = place.replay(&["seed", "it.toml", "--schedule", "again.toml"]).ends_with(0);
        assert_eq!(told.out, again.out);
        assert_eq!(place.read("it.toml"), place.read("again.toml"));
    }
    let chosen = ["--scenario", "crashes", "--replicas", "5", "--faults", "kill,pause"];
    let told =
        place.replay(&[&["seed", "9", "--schedule", "chosen.toml", "--trace", "chosen.trace"], &chosen[..]].concat());
    let told = told.ends_with(0);
    assert!(told.out.starts_with("scenario crashes, seed 9: 5 replicas, "), "{}", told.out);
    assert_eq!(told.digest(), place.replay(&["seed", "chosen.toml"]).ends_with(0).digest());
    place.replay(&["verify", "chosen.trace"]).ends_with(0);
    let ran = place.replay(&["seed", "chosen.toml", "--replicas", "3"]).ends_with(2);
    assert!(ran.err.contains("edit it rather than give flags"), "{}", ran.err);
}

#[test]
fn an_edited_schedule_is_another_run() {
    let place = Place::new("edited");
    let told = place.replay(&["seed", "5", "--schedule", "it.toml"]).ends_with(0);
    let toml = String::from_utf8(place.read("it.toml")).expect("text");
    let (head, _) = toml.split_once("[[steps]]").expect("seed 5 has faults");
    place.write("calm.toml", head);
    let calm = place.replay(&["seed", "calm.toml"]).ends_with(0);
    assert!(calm.out.lines().next().is_some_and(|line| line.ends_with(" 0 faults")), "{}", calm.out);
    assert_ne!(calm.digest(), told.digest());
}

#[test]
fn a_seed_is_told_in_columns_by_replica() {
    let place = Place::new("told");
    let ran = place.replay(&["seed", "5", "--replicas", "3"]).ends_with(0);
    assert!(ran.out.contains("\n       seconds  r0 r1 r2  what happens\n"), "{}", ran.out);
    assert!(ran.out.lines().any(|line| line.starts_with("   0.000000000  ○  ○  ○ ")), "{}", ran.out);
    assert!(ran.out.contains("step 1: "), "{}", ran.out);
    assert!(ran.out.contains("\nverdict: clean\ndigest: "), "{}", ran.out);
    let json = place.replay(&["seed", "5", "--replicas", "3", "--json"]).ends_with(0).json();
    assert_eq!(json["digest"].as_str(), Some(ran.digest()));
    assert_eq!(json["columns"], Value::from(vec!["r0", "r1", "r2"]));
    assert!(json["failure"].is_null());
    let transitions = json["transitions"].as_array().expect("transitions");
    assert!(transitions.iter().any(|one| one["kind"] == "note" && one["at_ns"].is_u64() && one["step"].is_u64()));
    assert!(json["schedule"].as_str().is_some_and(|toml| toml.contains("scenario = \"swarm\"")));
}

#[test]
fn a_schedule_that_waits_for_a_probe_that_there_is_not_is_refused() {
    let place = Place::new("probe_names");
    place.replay(&["seed", "5", "--schedule", "it.toml"]).ends_with(0);
    let toml = String::from_utf8(place.read("it.toml")).expect("text");
    let (head, _) = toml.split_once("[[steps]]").expect("seed 5 has faults");
    let step = "[[steps]]\npatience_ns = 1\n\n[steps.after]\nkind = \"probe\"\ncount = 1\nname = \"NAME\"\n\n\
                [steps.fault]\nkind = \"kill\"\ntarget = \"primary\"\ndown_ns = 1\n";
    for (name, hint) in
        [("view_startd", "did you mean `view_started`? `list` shows all"), ("fire", "not; `list` shows")]
    {
        place.write("wrong.toml", format!("{head}{}", step.replace("NAME", name)));
        let ran = place.replay(&["seed", "wrong.toml"]).ends_with(2);
        assert!(ran.err.contains(&format!("step 1 waits for a probe `{name}` that there is not")), "{}", ran.err);
        assert!(ran.err.contains(hint), "{}", ran.err);
    }
    place.write("right.toml", format!("{head}{}", step.replace("NAME", "view_started")));
    place.replay(&["seed", "right.toml"]).ends_with(0);
}

#[test]
fn a_schedule_does_not_say_how_large_a_disk_is() {
    let place = Place::new("capacity");
    place.replay(&["seed", "5", "--schedule", "it.toml"]).ends_with(0);
    let toml = String::from_utf8(place.read("it.toml")).expect("text");
    assert!(!toml.contains("capacity"), "{toml}");
    let disk = "[disk.read]";
    assert!(toml.contains(disk), "{toml}");
    place.write("wrong.toml", toml.replace(disk, &format!("[disk]\ncapacity = 4096\n\n{disk}")));
    let ran = place.replay(&["seed", "wrong.toml"]).ends_with(2);
    assert!(ran.err.contains(": a disk is as large as the cluster's slots and messages make it; take `capacity` out"));
    assert!(ran.err.starts_with("replay: wrong.toml, line "), "{}", ran.err);
}

#[test]
fn a_transition_says_which_view_and_which_op() {
    let place = Place::new("particulars");
    let mut missing = vec![
        ("view_proposed", " v"),
        ("view_left", " v"),
        ("view_started", " v"),
        ("view_joined", " v"),
        ("log_truncated", " op"),
        ("op_dropped", " op"),
        ("log_adopted", " up to op"),
    ];
    // Which seed takes which path changes with whatever is drawn: those are looked for that take them.
    for seed in 0..2_000 {
        let ran = place.replay(&["seed", &seed.to_string()]).ends_with(0);
        missing.retain(|(probe, about)| {
            let mut lines = ran.out.lines().filter(|line| line.contains(probe)).peekable();
            let absent = lines.peek().is_none();
            assert!(lines.all(|line| line.contains(&format!("{probe}{about}"))), "{probe}: {}", ran.out);
            absent
        });
        if missing.is_empty() {
            return;
        }
    }
    panic!("2,000 seeds take none of {missing:?}");
}

#[test]
fn a_schedule_that_would_end_in_no_verdict_of_worth_is_refused() {
    let place = Place::new("schedule_bounds");
    place.replay(&["seed", "5", "--schedule", "it.toml"]).ends_with(0);
    let toml = String::from_utf8(place.read("it.toml")).expect("text");
    for (key, value, sentence) in [
        ("calls", "1000000", "the calls of all clients together must be at most 1000000"),
        ("corruption_bits_max", "4294967295", "network.corruption_bits_max must be at most 1024"),
        ("patience_ns", "9223372036854775807", "step 1 must wait for at most an hour"),
    ] {
        let line = toml.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("the key");
        place.write("wrong.toml", toml.replacen(line, &format!("{key} = {value}"), 1));
        let ran = place.replay(&["seed", "wrong.toml"]).ends_with(2);
        assert!(ran.err.contains(sentence), "{}", ran.err);
    }
}
