//! What cannot be done is refused with one clear sentence that names the mend, and help teaches.

use crate::support::Place;

#[test]
fn what_makes_no_sense_is_refused_with_its_mend() {
    let place = Place::new("usage");
    place.write("folder/inner", "");
    place.write("empty", "");
    place.write("text.toml", "this is no schedule");
    place.write("foreign.toml", "scenario = \"swarm\"\nspeed = 3\n");
    place.write("nameless.toml", "seed = 3\n");
    place.write("elsewhere.toml", "scenario = \"swam\"\n");
    place.write("short.toml", "scenario = \"swarm\"\n");
    let cases: &[(&[&str], &str)] = &[
        (&["run", "--scenario", "swam"], "there is no scenario `swam`; did you mean `swarm`?"),
        (&["seed", "1", "--scenario", "nowhere"], "list` shows all"),
        (
            &["seed", "9223372036854775808"],
            "seed 9223372036854775808 is out of range: seeds go from 0 to 9223372036854775807",
        ),
        (&["seed", "99999999999999999999999"], "is out of range: seeds go from 0 to"),
        (&["seed", "missing.toml"], "there is no file missing.toml; name a seed, or a schedule"),
        (&["seed", "text.toml"], "text.toml, line 1, column 6: "),
        (
            &["seed", "foreign.toml"],
            "foreign.toml, line 2, column 1: there is no key `speed` here; did you mean `seed`? Mend it",
        ),
        (&["seed", "elsewhere.toml"], "elsewhere.toml: there is no scenario `swam`; did you mean `swarm`?"),
        (
            &["seed", "short.toml"],
            "short.toml, line 1, column 1: the key `format` is missing; mend it, or write one anew",
        ),
        (&["seed", "nameless.toml"], "it names no `scenario`"),
        (&["seed", "1", "--faults", "fire"], "there is no fault family `fire`; `list` shows all"),
        (&["seed", "1", "--replicas", "7"], "a cluster has 1 to 6 replicas and not 7"),
        (&["run", "--seeds", "0"], "at least 1"),
        (&["run", "--seeds", "many"], "not a whole number"),
        (&["run", "--start", "9223372036854775808"], "seeds go from 0 to 9223372036854775807"),
        (&["run", "--start", "9223372036854775807", "--seeds", "2"], "from 9223372036854775807 on there are 1"),
        (&["run", "--start", "9223372036854775807"], "there are 1; ask for so many with --seeds"),
        (&["run", "--seeds", "-1"], "not a whole number"),
        (&["run", "--keep-going", "0"], "at least 1"),
        (&["run", "--replicas", "300"], "more than any cluster has"),
        (&["run", "--for", "0s"], "a duration is more than nothing"),
        (&["run", "--traces", "text.toml"], "text.toml is no folder; name one with --traces, or one that can be made"),
        (&["run", "--report", "folder"], "folder is a folder; name a file to write"),
        (&["seed", "1", "--trace", "folder"], "folder is a folder; name a file to write"),
        (&["seed", "5", "--trace", "x", "--schedule", "x"], "x cannot be both the trace and the schedule; name two"),
        (&["seed", "-5"], "seed -5 is out of range: seeds go from 0 to 9223372036854775807"),
        (&["seed", "folder"], "folder is a folder; name a seed, or a schedule"),
        (&["seed", "empty"], "empty: it is empty; mend it, or write one anew"),
        (&["seed", ""], "a file's name is not empty; name a seed, or a schedule"),
        (&["verify", "folder"], "folder is a folder; name a trace, which `seed SEED --trace FILE` writes"),
        (&["run", "--jobs", "0"], "--jobs"),
        (&["run", "--for", "5"], "a duration is numbers with units, as in 90s, 5m or 1h30m"),
        (&["run", "--sedes", "5"], "--seeds"),
        (&["frob"], "frob"),
        (&["verify", "missing.trace"], "there is no file missing.trace; name a trace, which `seed SEED --trace FILE`"),
        (&["diff", "missing.trace", "text.toml"], "there is no file missing.trace"),
    ];
    for (arguments, mend) in cases {
        let ran = place.replay(arguments);
        assert_eq!(ran.status, Some(2), "{arguments:?}: {ran:#?}");
        assert!(ran.err.contains(mend), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
        assert!(ran.err.lines().count() == 1 || !ran.err.starts_with("replay: "), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn what_the_machine_refuses_is_told_from_what_the_user_did() {
    let place = Place::new("infrastructure");
    let ran = place.replay(&["run", "--seeds", "1", "--report", "no/such/folder/report.json"]).ends_with(3);
    let sentence = "no/such/folder/report.json cannot be written: there is no folder no/such/folder; make it first";
    assert!(ran.err.contains(sentence), "{}", ran.err);
    let ran = place.example("own_protocol", &["seed", "1", "--trace", "no/such/folder/a.trace"]).ends_with(3);
    assert!(ran.err.contains("no/such/folder/a.trace cannot be written"), "{}", ran.err);
}

#[test]
fn help_teaches() {
    let place = Place::new("help");
    let ran = place.replay(&["--help"]).ends_with(0);
    for word in
        ["EXAMPLES", "EXIT STATUS", "replay seed 42", "run ", "list", "seed", "verify", "diff", "bench", "mutants"]
    {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    for command in ["run", "list", "seed", "verify", "diff", "bench", "mutants"] {
        let ran = place.replay(&[command, "--help"]).ends_with(0);
        assert!(ran.out.lines().count() > 6, "{}", ran.out);
    }
    let ran = place.replay(&["--version"]).ends_with(0);
    assert!(ran.out.starts_with("replay 0.1.0 (commit "), "{}", ran.out);
    let own = place.example("own_protocol", &["--help"]).ends_with(0);
    assert!(own.out.contains("own_protocol seed 42") && !own.out.contains("mutants "), "{}", own.out);
}

#[test]
fn list_shows_what_there_is_to_choose_from() {
    let place = Place::new("list");
    let ran = place.replay(&["list"]).ends_with(0);
    for word in ["swarm", "fault-free", "partition", "clock", "view_started"] {
        assert!(ran.out.contains(&format!("  {word}")), "{word}: {}", ran.out);
    }
    let json = place.replay(&["list", "--json"]).ends_with(0).json();
    assert_eq!(json["scenarios"][0]["name"], "swarm");
    for kind in ["scenarios", "faults", "probes"] {
        assert!(json[kind].as_array().is_some_and(|items| !items.is_empty()), "{kind}");
    }
}

#[test]
fn what_is_larger_than_it_can_be_is_not_read() {
    let place = Place::new("large_files");
    for (name, mib) in [("large.toml", 4), ("large.trace", 1024)] {
        // Nothing is written, and so it takes no room on a disk.
        let file = std::fs::File::create(place.path(name)).expect("a file");
        file.set_len((mib << 20) + 1).expect("a length");
    }
    for (arguments, sentence) in [
        (["seed", "large.toml"], "large.toml is larger than 4 MiB, which a schedule never is; name a seed, or"),
        (["seed", "/dev/zero"], "/dev/zero is larger than 4 MiB, which a schedule never is; name a seed, or"),
        (["verify", "large.trace"], "large.trace is larger than 1024 MiB, which a trace never is; name a trace, which"),
    ] {
        let ran = place.replay(&arguments).ends_with(2);
        assert!(ran.err.contains(sentence), "{}", ran.err);
    }
}
