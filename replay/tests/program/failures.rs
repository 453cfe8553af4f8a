//! Failure output is a feature: what is printed, in which order, for each verdict.

use crate::support::Place;

#[test]
fn the_failure_screen_tells_everything_in_order_on_one_screen() {
    let place = Place::new("screen");
    let ran = place.example("own_protocol", &["run", "--scenario", "hasty"]).ends_with(1);
    let (screen, summary) = ran.out.split_once("\nscenario hasty: ").expect("the summary comes last");
    let lines: Vec<&str> = screen.lines().collect();
    assert!(
        lines[0].starts_with("SAFETY: ") && lines[0].contains(" was acknowledged and the store holds "),
        "{screen}"
    );
    assert_eq!(lines[1], "");
    let parts = [
        "replay     own_protocol seed ",
        "build      ",
        "when       ",
        "schedule   ",
        "last transitions",
        "trace      .replay/",
    ];
    let places: Vec<usize> = parts
        .iter()
        .map(|part| lines.iter().position(|line| line.starts_with(part)).unwrap_or_else(|| panic!("{part}: {screen}")))
        .collect();
    assert!(places.is_sorted(), "{screen}");
    assert!(lines.len() <= 45, "one screen: {screen}");
    assert!(lines.iter().all(|line| line.chars().count() <= 120), "{screen}");
    assert!(lines.iter().any(|line| line.contains("✕     │       store loses power")), "{screen}");
    assert!(summary.contains("1 failed; stopped there"), "{summary}");
    let trace = lines[places[5]].trim_start_matches("trace").trim();
    place.example("own_protocol", &["verify", trace]).ends_with(0);
}

#[test]
fn every_verdict_is_told_apart() {
    let place = Place::new("verdicts");
    for (scenario, verdict, violation) in [
        ("panics", "crash", "p0 panicked at replay/examples/misbehaving.rs:"),
        ("silent", "liveness", "p0 has not answered within 1 ms"),
        ("spins", "stuck", "1000 steps were taken at one virtual instant"),
        ("explodes", "crash", "the simulator panicked at replay/examples/misbehaving.rs:"),
    ] {
        let ran = place.example("misbehaving", &["run", "--scenario", scenario, "--report", "r.json"]).ends_with(1);
        assert!(ran.out.starts_with(&format!("{}: {violation}", verdict.to_uppercase())), "{}", ran.out);
        assert!(!ran.err.contains("thread '"), "the default hook is silent: {}", ran.err);
        let failure = &place.json("r.json")["failures"][0];
        assert_eq!((failure["seed"].as_u64(), failure["verdict"].as_str()), (Some(7), Some(verdict)));
        assert!(failure["violation"].as_str().is_some_and(|text| text.starts_with(violation) && !text.contains('\n')));
        assert_eq!(failure["fingerprint"].as_str().map(str::len), Some(16));
    }
}

#[test]
fn a_process_that_panics_fails_its_seed_and_ends_no_campaign() {
    let place = Place::new("panics");
    let ran =
        place.example("misbehaving", &["run", "--scenario", "panics", "--seeds", "40", "--keep-going"]).ends_with(1);
    assert!(ran.out.contains("scenario panics: 40 seeds (0 to 39), 4 failed"), "{}", ran.out);
    assert!(ran.out.contains("4 seeds failed, in 1 different way\n"), "{}", ran.out);
    let seed = place.example("misbehaving", &["seed", "17", "--scenario", "panics"]).ends_with(1);
    assert!(seed.out.contains("verdict: crash: p0 panicked at "), "{}", seed.out);
}

#[test]
fn a_campaign_notices_that_a_seed_is_not_the_same_twice() {
    let place = Place::new("drifts");
    let ran = place.example("misbehaving", &["run", "--scenario", "drifts", "--report", "r.json"]).ends_with(1);
    assert!(ran.out.starts_with("NONDETERMINISM: seed 0 gave digest "), "{}", ran.out);
    assert_eq!(place.json("r.json")["failures"][0]["verdict"], "nondeterminism");
}
